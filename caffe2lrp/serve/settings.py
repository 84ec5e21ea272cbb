"""Settings as the page sends them, what it can choose from, and the command line that does the same."""

from __future__ import annotations

import inspect
import math
import shlex
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, get_args

from caffe2lrp import composites, guide
from caffe2lrp.composites import COMPOSITES, Composite
from caffe2lrp.errors import OptionError
from caffe2lrp.explanation import DEFAULT_COMPOSITE, LRNRule, check_options
from caffe2lrp.pictures import DEFAULT_COLORMAP
from caffe2lrp.rules import RULES

MAX_SAMPLES = 50
"""Of baselines that average: more would keep everybody waiting."""

_KINDS: dict[str, Mapping[str, Callable[..., Any]]] = {"rule": RULES, "composite": COMPOSITES}


@dataclass(frozen=True)
class Setting:
    """One way to explain.

    Attributes
    ----------
    kind
        ``rule`` or ``composite``.
    name
        Its name.
    parameters
        Pairs of name and value, in alphabetical order.
    lrn
        The way through LRN layers.
    """

    kind: str
    name: str
    parameters: tuple[tuple[str, float], ...]
    lrn: LRNRule

    def composite(self) -> Composite:
        """What explains; the errors are those of `caffe2lrp.explain`."""
        make = composites.of_rule if self.kind == "rule" else composites.find
        return make(self.name, **dict(self.parameters))

    def arguments(self) -> list[str]:
        """The same as options of ``caffe2lrp explain``."""
        values = ",".join(f"{name}={_number(value)}" for name, value in self.parameters)
        lrn = ["--lrn", self.lrn] if self.lrn != "taylor" else []
        return [f"--{self.kind}", f"{self.name}:{values}" if values else self.name, *lrn]


def read_setting(query: Mapping[str, str]) -> Setting:
    """The setting of a query such as ``rule=alphabeta&beta=1&lrn=taylor``.

    Parameters
    ----------
    query
        ``rule`` or ``composite``, ``lrn``, and parameters; nothing is the default composite.

    Raises
    ------
    OptionError
        If something is unknown or no number.
    """
    rest = dict(query)
    lrn = rest.pop("lrn", "taylor")
    check_options(lrn, None)
    given = [kind for kind in _KINDS if kind in rest]
    if len(given) > 1:
        raise OptionError("give a rule or a composite, not both")
    kind = given[0] if given else "composite"
    name = rest.pop(kind, DEFAULT_COMPOSITE)
    parameters = tuple(sorted((key, _read_number(key, text)) for key, text in rest.items()))
    setting = Setting(kind, name, parameters, lrn)  # type: ignore[arg-type]  # checked above
    setting.composite()
    return setting


def _read_number(key: str, text: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise OptionError(f"{key} must be a number, not '{text}'")
    if key in ("samples", "steps") and value > MAX_SAMPLES:
        raise OptionError(f"{key} is at most {MAX_SAMPLES} here; use the command line for more")
    return value


def _number(value: float) -> str:
    """The shortest text that is read as the same number."""
    short = f"{value:g}"
    return short if float(short) == value else repr(value)


def command(image: str, model: Sequence[str], target: int, setting: Setting, cmap: str) -> str:
    """The command line that makes the same array and pictures, for a shell.

    Parameters
    ----------
    image
        Name of the picture file.
    model
        Options that name the model.
    target, setting, cmap
        What is explained, and how.
    """
    file = f"./{image}" if image.startswith("-") or image == "rules" else image
    colours = ["--cmap", cmap] if cmap != DEFAULT_COLORMAP else []
    return shlex.join(["caffe2lrp", "explain", file, *model, "--target", str(target), *setting.arguments(), *colours])


def choices() -> dict[str, Any]:
    """Everything that can be chosen: groups of rules with parameters and defaults, and ways through LRN layers."""
    # Composites of one rule for all layers are that rule.
    composite = [name for name in guide.COMPOSITE_TEXTS if name not in RULES]
    return {
        "groups": [
            {"title": "By layer", "items": [_choice("composite", n, guide.COMPOSITE_TEXTS[n][0]) for n in composite]},
            {"title": "One rule", "items": [_choice("rule", n, t[1]) for n, t in guide.RULE_TEXTS.items()]},
            {"title": "Baselines", "items": [_choice("composite", n, t[0]) for n, t in guide.BASELINE_TEXTS.items()]},
        ],
        "default": DEFAULT_COMPOSITE,
        "lrn": list(get_args(LRNRule)),
    }


def _choice(kind: str, name: str, text: str) -> dict[str, Any]:
    """None is the default of what need not be given, the bounds of pixels."""
    defaults = {key: p.default for key, p in inspect.signature(_KINDS[kind][name]).parameters.items()}
    return {"kind": kind, "name": name, "text": text, "parameters": defaults}
