"""Blob by blob: how far values are apart, and where they begin to be."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from caffe2lrp.layers.base import Shape

TOLERANCE = 1e-4
"""Of two programs in single precision: largest difference in a blob, divided by the blob's largest value."""

_LOWEST = 1e30  # from here on values stand for "nothing" (Caffe's -FLT_MAX) and are no measure of the others
_AT_ONCE = 1 << 20  # values: blobs may be large, and double precision makes them larger


@dataclass(frozen=True)
class Difference:
    """One blob in two programs.

    Attributes
    ----------
    blob
        Its name.
    origin
        The layer that writes it and where that was defined, as far as known.
    shape
        Its shape in the first program.
    largest
        Largest finite absolute value in the first program.
    absolute
        Largest absolute difference; infinite if one of two values is no number, or if the shapes differ.
    relative
        ``absolute / largest``, or ``absolute`` where all values are 0.
    """

    blob: str
    origin: str
    shape: Shape
    largest: float
    absolute: float
    relative: float


@dataclass(frozen=True)
class Report:
    """The comparison of two programs.

    Attributes
    ----------
    differences
        One for each blob that both have, in the order of execution.
    optimised
        The outputs of the second program as it is run in practice, if it was run so, too.
    tolerance
        What `Difference.relative` may be.
    only
        Blobs that only the first and only the second program has.
    """

    differences: tuple[Difference, ...]
    tolerance: float
    optimised: tuple[Difference, ...] = ()
    only: tuple[tuple[str, ...], tuple[str, ...]] = ((), ())

    @property
    def first(self) -> Difference | None:
        """The first blob that departs: its layer is where to look. None if all agree."""
        return next((d for d in (*self.differences, *self.optimised) if not d.relative <= self.tolerance), None)

    @property
    def passed(self) -> bool:
        """Whether no blob departs."""
        return self.first is None

    @property
    def worst(self) -> list[Difference]:
        """The blobs, those with the largest relative difference first."""
        return sorted(self.differences, key=lambda d: -d.relative)

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {
            "passed": self.passed,
            "tolerance": self.tolerance,
            "first_departing": None if self.first is None else asdict(self.first),
            "blobs": [asdict(d) for d in self.differences],
            "optimised": [asdict(d) for d in self.optimised],
            "only_in_first": list(self.only[0]),
            "only_in_second": list(self.only[1]),
        }


def compare(
    first: Mapping[str, np.ndarray],
    second: Mapping[str, np.ndarray],
    names: Iterable[str],
    origins: Mapping[str, str],
) -> tuple[Difference, ...]:
    """Compare the blobs of these names; `origins` tells which layer a blob is from."""
    return tuple(difference(name, origins.get(name, ""), first[name], second[name]) for name in names)


def difference(blob: str, origin: str, first: np.ndarray, second: np.ndarray) -> Difference:
    """Compare two arrays; axes of size 1 do not count, as in Caffe's files."""
    same = [d for d in first.shape if d != 1] == [d for d in second.shape if d != 1]
    a, b = first.reshape(-1), second.reshape(-1)
    starts = range(0, a.size, _AT_ONCE)
    largest = max((_largest(a[i : i + _AT_ONCE]) for i in starts), default=0.0)
    absolute = np.inf
    if same:
        absolute = max((_apart(a[i : i + _AT_ONCE], b[i : i + _AT_ONCE]) for i in starts), default=0.0)
    return Difference(blob, origin, first.shape, largest, absolute, absolute / (largest or 1.0))


def _largest(a: np.ndarray) -> float:
    size = np.abs(a.astype(np.float64))
    return float(np.max(size, where=size < _LOWEST, initial=0.0))


def _apart(first: np.ndarray, second: np.ndarray) -> float:
    """Largest difference; values that are equal, infinite or no number in both do not differ."""
    a, b = first.astype(np.float64), second.astype(np.float64)
    with np.errstate(invalid="ignore"):
        apart = np.abs(a - b)
    apart[(a == b) | (np.isnan(a) & np.isnan(b))] = 0
    apart[np.isnan(apart)] = np.inf
    return float(apart.max())


def merged(reports: Sequence[Report]) -> Report:
    """One report of several runs of the same programs: the larger difference of each blob."""
    whole, *others = reports
    for other in others:
        whole = Report(
            _larger(whole.differences, other.differences),
            whole.tolerance,
            _larger(whole.optimised, other.optimised),
            whole.only,
        )
    return whole


def _larger(a: tuple[Difference, ...], b: tuple[Difference, ...]) -> tuple[Difference, ...]:
    return tuple(y if y.relative > x.relative else x for x, y in zip(a, b, strict=True))
