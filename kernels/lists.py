"""Matrices as lists of what is not zero, pair by pair of rows, for products that leave the rest out (see `sparse`)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from caffe2lrp.kernels.compiling import device
from caffe2lrp.kernels.launch import F1, F3, I1, Int, Program, kernel
from caffe2lrp.kernels.share import share


@dataclass(frozen=True)
class Blocking:
    """How pixels are copied to the cache.

    Attributes
    ----------
    sides
        As in `Geometry`: 0 for one source.
    columns
        From one line of pixels to the next. There is one for each term of the sum and source, source by source.
    deep
        Terms of a block.
    """

    sides: int
    columns: int
    deep: int


class SparseMatrix:
    """Matrices (group, M, K) as lists of what is not zero.

    Attributes
    ----------
    group, rows, k
        Groups, and rows of each: M for each of the sides; and K.
    block
        How pixels lie that the values are multiplied with.
    values
        Block by block of K, pair by pair of rows, all groups one after the other: the values of both in turn where both
        meet the same pixels, then the others of the first row, and those of the second.
    places
        Where in a block the pixels begin that each value is multiplied with: numbers of 16 bits, four in each element.
    ends
        Where the three lists of each pair begin in each block, and the last one ends.
    """

    def __init__(self, matrices: np.ndarray, block: Blocking) -> None:
        self.group, m, self.k = matrices.shape
        self.block, times = block, max(block.sides, 1)
        self.rows = m * times
        by_term = times * np.count_nonzero(matrices, axis=1)
        counts = np.add.reduceat(by_term, range(0, self.k, block.deep), axis=1)
        starts = np.concatenate([[0], np.cumsum(counts)])
        total = int(starts[-1])
        self.values = np.empty(total + 1, matrices.dtype)  # the last is for what is left out
        self.places = np.empty(total // 4 + 1, np.int64)
        self.ends = np.full(3 * -(-self.rows // 2) * counts.size + 1, total, np.int64)
        program = Program(matrices.dtype)
        program.add(
            list_values, np.ascontiguousarray(matrices), starts, block.sides, block.deep, block.columns, self.values,
            self.places, self.ends, label="lists",
        )  # fmt: skip
        program.run()


@kernel
def list_values(
    part: Int, parts: Int, matrices: F3, starts: I1, sides: Int, deep: Int, columns: Int, values: F1, places: I1,
    ends: I1,
) -> None:  # fmt: skip
    """Fill the lists of a `SparseMatrix`; `starts` tells where those of each block begin, and the last one ends."""
    _, m, k = matrices.shape
    rows, blocks = m * max(sides, 1), (k + deep - 1) // deep
    pairs, apart = (rows + 1) // 2, deep * columns if sides != 0 else 0
    first, stop = share(starts.size - 1, part, parts)
    for at in range(first, stop):
        k0, end, limit = at % blocks * deep, starts[at], starts[at + 1]
        block = matrices[at // blocks, :, k0 : min(k0 + deep, k)]
        for pair in range(pairs):
            lists, row = ends[3 * (at * pairs + pair) :], 2 * pair
            paired = row + 1 < rows
            for chosen in range(3):
                lists[chosen] = end
                first, second = (row + 1, row) if chosen == 2 else (row, row + 1)
                if first < rows:
                    end = _append(
                        block[first % m], block[second % m], first // m, second // m, paired, chosen == 0, columns,
                        apart, values, places, end, limit,
                    )  # fmt: skip


@device
def _append(one, other, side, other_side, paired, both, columns, apart, values, places, end, limit):  # type: ignore[no-untyped-def]
    """Append a list: the values of both rows where they meet the same pixels, or those of one where not; its end.

    There are no branches, which the processor would not foresee: what does not belong to the list is written, too, and
    then overwritten. Only where all lists of a block are full it goes to the last place of all.
    """
    short, nowhere = places.view(np.uint16), values.size - 1
    for i in range(one.size):
        place = i * columns + _source(one[i], side) * apart
        met = i * columns + _source(other[i], other_side) * apart
        shared = paired & (one[i] != 0) & (other[i] != 0) & (place == met)
        at, following = end if end < limit else nowhere, end + 1 if end + 1 < limit else nowhere
        values[at], short[at] = one[i], place
        values[following], short[following] = other[i], met
        end += (2 if shared else 0) if both else (1 if (one[i] != 0) & (not shared) else 0)
    return end


@device
def _source(value, side):  # type: ignore[no-untyped-def]
    """Which source a value meets: on the second side, they have changed places."""
    return (1 if value < 0 else 0) ^ side
