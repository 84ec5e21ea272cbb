"""What ``--rule`` and ``--composite`` say: names with parameters, such as ``alphabeta:beta=2``."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from caffe2lrp.composites import COMPOSITES, Composite
from caffe2lrp.errors import OptionError
from caffe2lrp.explanation import DEFAULT_COMPOSITE, choose_composite
from caffe2lrp.rules import RULES


def read_settings(rules: Sequence[str], composites: Sequence[str], shared: Mapping[str, float]) -> list[Composite]:
    """The composites to explain by, rules first, in their order; the default if nothing is given.

    Parameters
    ----------
    rules, composites
        Names, each with parameters behind a colon if there are any: ``epsilon:epsilon=0.01``. A composite may be a
        TOML file.
    shared
        Parameters for all that take them.

    Raises
    ------
    OptionError, FileFormatError
        If a name or parameter is unknown, or something is given twice.
    """
    texts = [("rule", text) for text in rules] + [("composite", text) for text in composites]
    if not texts and shared:
        raise OptionError(f"--{next(iter(shared))} goes with --rule or --composite, for example --rule alphabeta")
    chosen: list[Composite] = []
    unused = set(shared)
    for kind, text in texts or [("composite", DEFAULT_COMPOSITE)]:
        name, parameters = _split(text)
        takes = inspect.signature(known).parameters if (known := _function(kind, name)) else {}
        fitting = {key: value for key, value in shared.items() if key in takes}
        unused -= set(fitting)
        made = choose_composite(**_by_kind(kind, name), parameters={**fitting, **parameters})
        if any(made.name == other.name for other in chosen):
            raise OptionError(f"{made.name} is given twice")
        chosen.append(made)
    if unused:
        names = " and ".join(f"{kind} '{_split(text)[0]}'" for kind, text in texts)
        raise OptionError(f"{names} {'does' if len(texts) == 1 else 'do'} not take {', '.join(sorted(unused))}")
    return chosen


def slug(composite: Composite) -> str:
    """Its name for file names."""
    return "".join(c if c.isalnum() or c in "._+-" else "-" for c in composite.name)


def _by_kind(kind: str, name: str) -> dict[str, Any]:
    return {"rule": name, "composite": None} if kind == "rule" else {"rule": None, "composite": name}


def _function(kind: str, name: str) -> Callable[..., Any] | None:
    return RULES.get(name) if kind == "rule" else COMPOSITES.get(name)


def _split(text: str) -> tuple[str, dict[str, float]]:
    """``alphabeta:beta=2`` is a name and parameters."""
    name, _, rest = text.partition(":")
    if name.endswith(".toml") or "/" in text or "\\" in text:
        return text, {}
    parameters = {}
    for part in filter(None, rest.split(",")):
        key, _, value = part.partition("=")
        try:
            parameters[key.strip()] = float(value)
        except ValueError:
            raise OptionError(
                f"'{text}': parameters are numbers, such as {name}:{key.strip() or 'epsilon'}=1"
            ) from None
    return name, parameters
