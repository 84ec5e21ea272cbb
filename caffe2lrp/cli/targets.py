"""What ``--target`` says: a number, a class name or ``topN``."""

from __future__ import annotations

import difflib
import re
from collections.abc import Sequence

import numpy as np

from caffe2lrp.classes import highest
from caffe2lrp.errors import OptionError

_LISTED = 6
"""At most so many class names are listed in a message."""


class Targets:
    """The classes to explain, some of which depend on the outputs.

    Parameters
    ----------
    texts
        What was given; nothing is the highest class.
    count
        Number of values of the start blob.
    labels
        Names of the classes, if they are known.
    option
        What they were given by, for messages.

    Raises
    ------
    OptionError
        If a class does not exist or a name stands for several.
    """

    def __init__(
        self, texts: Sequence[str], count: int, labels: Sequence[str] | None, option: str = "--target"
    ) -> None:
        self._items = [_parse(text, count, labels, option) for text in texts or ("top1",)]
        self.name = "+".join(item if isinstance(item, str) else str(item) for item in self._items)
        """For file names: ``top3``, ``284``, ``284+281``."""

    def of(self, outputs: np.ndarray) -> list[int]:
        """The classes for one picture with these outputs (a flat array), each once."""
        chosen: list[int] = []
        for item in self._items:
            chosen += highest(outputs, int(item[3:])) if isinstance(item, str) else [item]
        return list(dict.fromkeys(chosen))

    def against(self, index: int, outputs: np.ndarray) -> list[int]:
        """The classes that a class is explained against: all but itself.

        Raises
        ------
        OptionError
            If no other class is left.
        """
        others = [other for other in self.of(outputs) if other != index]
        if not others:
            raise OptionError(f"class {index} cannot be explained against itself: give another one with --against")
        return others


def _parse(text: str, count: int, labels: Sequence[str] | None, option: str) -> int | str:
    if re.fullmatch(r"-?\d+", text):
        index = int(text)
        if not 0 <= index < count:
            raise OptionError(f"{option} {text}: there are {count} classes, from 0 to {count - 1}")
        return index
    top = re.fullmatch(r"top-?(\d+)", text, re.IGNORECASE)
    if top:
        if int(top[1]) < 1:
            raise OptionError(f"{option} top0 is nothing to explain; top1 is the highest class")
        return f"top{min(int(top[1]), count)}"
    if labels is None:
        raise OptionError(
            f"{option} '{text}': the class names of this network are not known; give a number, topN, or --labels FILE"
        )
    return _find(text, labels, option)


def _find(text: str, labels: Sequence[str], option: str) -> int:
    """The class of a name: one that has exactly this name among its names, else one that contains it."""
    wanted = text.strip().casefold()
    if not wanted:
        raise OptionError(f"{option} is empty; give a number, a class name or topN")
    whole = [i for i, label in enumerate(labels) if label.casefold() == wanted]
    exact = [i for i, label in enumerate(labels) if wanted in _names(label)]
    part = [i for i, label in enumerate(labels) if wanted in label.casefold()]
    found = next((matches for matches in (whole, exact, part) if matches), [])
    if len(found) == 1:
        return found[0]
    if not found:
        near = _near(wanted, labels)
        hint = f"; near: {_listed(near, labels)}" if near else ""
        raise OptionError(f"there is no class '{text}'{hint}")
    raise OptionError(f"{option} '{text}' stands for {len(found)} classes; give the number of one: "
                      f"{_listed(found, labels)}")  # fmt: skip


def _names(label: str) -> list[str]:
    """``Siamese cat, Siamese`` are two names of one class."""
    return [name.strip() for name in label.casefold().split(",")]


def _near(wanted: str, labels: Sequence[str]) -> list[int]:
    owners: dict[str, int] = {}
    for i, label in enumerate(labels):
        for name in _names(label):
            owners.setdefault(name, i)
    return list(dict.fromkeys(owners[name] for name in difflib.get_close_matches(wanted, owners, _LISTED)))


def _listed(indices: Sequence[int], labels: Sequence[str]) -> str:
    names = [f"{i} {labels[i]}" for i in indices[:_LISTED]]
    return "; ".join([*names, "..."] if len(indices) > _LISTED else names)
