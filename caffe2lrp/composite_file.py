"""Composites as small TOML files (docs/own-composite.md).

```toml
name = "mine"

[[layer]]                  # rows are tried from top to bottom
role = "first"
rule = "zbox"

[[layer]]
name = "inception_4*"      # role, name, position and depth: all that are given must hold
rule = "gamma"
gamma = 0.5

[[layer]]
depth = [0, 3]
rule = "alphabeta"
beta = 1

[[layer]]
rule = "epsilon"
epsilon = 0.01
```
"""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from caffe2lrp import rules
from caffe2lrp.composites import Composite, Span, Where
from caffe2lrp.errors import FileFormatError, OptionError
from caffe2lrp.rules import Rule

_WHERE = ("role", "name", "position", "depth")


def read_composite(path: str | os.PathLike[str]) -> Composite:
    """Read a composite.

    Parameters
    ----------
    path
        A TOML file of tables ``[[layer]]`` (docs/own-composite.md); without ``name`` the composite has the file's.

    Raises
    ------
    FileFormatError
        If the file cannot be read or is not such a file; the message names the row.
    """
    file = Path(path)
    try:
        content = tomllib.loads(file.read_text("utf-8"))
    except OSError as error:
        raise FileFormatError(f"cannot read the composite '{file}': {error.strerror or error}") from None
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise FileFormatError(f"'{file}' is not a TOML file: {error}") from None
    unknown = sorted(set(content) - {"name", "layer"})
    if unknown:
        raise FileFormatError(f"{file}: unknown key '{unknown[0]}'; a composite has a name and tables [[layer]]")
    rows = content.get("layer")
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        raise FileFormatError(f"{file}: a composite needs at least one table [[layer]] with a rule")
    name = content.get("name", file.stem)
    if not isinstance(name, str) or not name.strip():
        raise FileFormatError(f"{file}: name must be text")
    return Composite(name, tuple(_row(row, f"{file}: [[layer]] number {i}") for i, row in enumerate(rows, 1)))


def _row(row: Mapping[str, Any], place: str) -> tuple[Where, Rule]:
    if not isinstance(row.get("rule"), str):
        raise FileFormatError(f"{place} has no rule; known are {', '.join(rules.RULES)}")
    parameters = {key: value for key, value in row.items() if key not in (*_WHERE, "rule")}
    for key in ("role", "name"):
        if not isinstance(row.get(key, ""), str):
            raise FileFormatError(f"{place}: {key} must be text, not {row[key]!r}")
    try:
        where = Where(
            row.get("role"), row.get("name"), *(_span(row[k], k) if k in row else None for k in ("position", "depth"))
        )
        return where, rules.make(row["rule"], **parameters)
    except OptionError as error:
        raise FileFormatError(f"{place}: {error}") from None


def _span(value: Any, key: str) -> Span:
    numbers = value if isinstance(value, list) else [value]
    if not 1 <= len(numbers) <= 2 or not all(isinstance(n, int) and not isinstance(n, bool) for n in numbers):
        raise OptionError(f"{key} must be a whole number or the first and last of a range, not {value!r}")
    return (numbers[0], numbers[1]) if len(numbers) == 2 else int(numbers[0])
