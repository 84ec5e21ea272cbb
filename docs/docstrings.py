"""Docstrings that describe several names together, ``phase, level, stages``: an entry of its own type for each."""

from __future__ import annotations

import re
from typing import Any

import griffe

_TOGETHER = re.compile(r"^(?P<names>\w+(?:, \w+)+)\n(?P<text>(?: {4}.*(?:\n|\Z))+)", re.MULTILINE)


class SeparateEntries(griffe.Extension):
    """Write such entries out, as readers of numpydoc's sections give all names the type of the first."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        """Change the docstring of a function or class before it is parsed."""
        if obj.docstring is not None:
            obj.docstring.value = _TOGETHER.sub(_separated, obj.docstring.value)


def _separated(found: re.Match[str]) -> str:
    text = found["text"].rstrip("\n")
    return "\n".join(f"{name}\n{text}" for name in found["names"].split(", ")) + "\n"
