"""Rows of the table: how they are printed, stored, and compared with those of an earlier run."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Bounds = tuple[float | None, float | None]
"""Floor and aim."""


@dataclass(frozen=True)
class Row:
    """One measured number.

    Attributes
    ----------
    section, what
        What was measured; together they are unique.
    ours, unit
        The number. `ours` is None where it could not be measured.
    peer, theirs
        What it is held against, and that one's number in the same unit; None where it is missing.
    ratio
        How the two compare. Without a peer the number itself counts.
    floor, aim
        What the ratio (or the number) must reach and what it should.
    more
        Whether greater is better; else less is.
    share
        The time that the machine needs at least for the same arithmetic, as a part of the time measured.
    note
        What there is to say beside, such as why something is missing.
    """

    section: str
    what: str
    ours: float | None
    unit: str
    peer: str = ""
    theirs: float | None = None
    ratio: float | None = None
    floor: float | None = None
    aim: float | None = None
    more: bool = False
    share: float | None = None
    note: str = ""

    @property
    def value(self) -> float | None:
        """What floor and aim are about."""
        return self.ratio if self.peer else self.ours

    def meets(self, bound: float | None) -> bool | None:
        """Whether a bound is met; None where there is none, or no number."""
        if bound is None or self.value is None:
            return None
        return self.value >= bound if self.more else self.value <= bound


def against(
    section: str, what: str, ours: float, peer: str, theirs: float | None, bounds: Bounds, ratio: float | None = None,
    **more: Any,
) -> Row:  # fmt: skip
    """A row of milliseconds whose ratio is our time over that of a peer (or is given): less is better."""
    ratio = ours / theirs if ratio is None and theirs is not None else ratio
    return Row(section, what, ours, "ms", peer, theirs, ratio, *bounds, **more)


def times_faster(
    section: str, what: str, ours: float, peer: str, theirs: float | None, bounds: Bounds, ratio: float | None = None,
    **more: Any,
) -> Row:  # fmt: skip
    """A row of milliseconds whose ratio is a peer's time over ours (or is given): greater is better."""
    ratio = theirs / ours if ratio is None and theirs is not None else ratio
    return Row(section, what, ours, "ms", peer, theirs, ratio, *bounds, more=True, **more)


# -- the table -------------------------------------------------------------------------------------------------

_COLUMNS = (
    ("what", 46), ("ours", 9), ("unit", 5), ("peer", 24), ("theirs", 9), ("ratio", 7), ("floor", 7), ("met", 4),
    ("aim", 7), ("met", 4), ("of limit", 8),
)  # fmt: skip
_LEFT = {"what", "unit", "peer"}


def header() -> str:
    """The names of the columns."""
    return _line([name for name, _ in _COLUMNS])


def table_line(row: Row) -> str:
    """A row as a line of the table."""
    bound = "≥" if row.more else "≤"
    cells = [row.what, _number(row.ours), row.unit, row.peer, _number(row.theirs), _ratio(row.ratio)]
    for value in (row.floor, row.aim):
        cells += ["" if value is None else f"{bound} {value:g}", _MARKS[row.meets(value)] if value is not None else ""]
    cells.append("" if row.share is None else f"{100 * row.share:.0f} %")
    return _line(cells) + (f"  {row.note}" if row.note else "")


_MARKS = {True: "yes", False: "NO", None: "?"}


def _line(cells: Sequence[str]) -> str:
    parts = [
        cell.ljust(width) if name in _LEFT else cell.rjust(width)
        for cell, (name, width) in zip(cells, _COLUMNS, strict=True)
    ]
    return " ".join(parts).rstrip()


def _number(value: float | None) -> str:
    if value is None:
        return ""
    return f"{value:.0f}" if value >= 1000 else f"{value:.1f}" if value >= 10 else f"{value:.3g}"


def _ratio(value: float | None) -> str:
    return "" if value is None else f"{value:.2f}"


def summary(rows: Sequence[Row]) -> str:
    """How many floors and aims are met."""
    parts = []
    for name in ("floor", "aim"):
        met = [row.meets(getattr(row, name)) for row in rows if getattr(row, name) is not None]
        parts.append(f"{met.count(True)} of {len(met)} {name}s met")
        if None in met:
            parts[-1] += f" ({met.count(None)} not measured)"
    return ", ".join(parts)


# -- files, and earlier runs -----------------------------------------------------------------------------------


def as_json(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Rows as plain dictionaries, with what they meet."""
    return [
        {**dataclasses.asdict(row), "meets_floor": row.meets(row.floor), "meets_aim": row.meets(row.aim)}
        for row in rows
    ]


def comparison(rows: Sequence[Row], earlier: Mapping[str, Any]) -> list[str]:
    """Lines that say how the numbers and ratios differ from those of an earlier run.

    Parameters
    ----------
    rows
        Of this run.
    earlier
        What `--json` wrote.
    """
    before = {(row["section"], row["what"], row["peer"]): row for row in earlier["rows"]}
    lines = [f"{'compared with ' + str(earlier.get('commit')):71} {'before':>9} {'now':>9} {'now / before':>12}"]
    for row in rows:
        old = before.get((row.section, row.what, row.peer))
        if old is None or not old["ours"] or row.ours is None:
            continue
        name = f"{row.section}: {row.what}" + (f" / {row.peer}" if row.peer else "")
        line = f"{name:71} {_number(old['ours']):>9} {_number(row.ours):>9} {row.ours / old['ours']:12.3f}"
        if old["ratio"] is not None and row.ratio is not None:
            line += f"   ratio {old['ratio']:.2f}, now {row.ratio:.2f}"
        lines.append(line)
    return lines
