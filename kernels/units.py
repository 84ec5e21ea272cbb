"""How threads share a product: units are tiles of pixels, each with all blocks of rows, one after the other.

So a tile of pixels stays in the cache for all rows. The shares are equal, and end within a tile where they have to:
then two threads read all pixels of it. Where there is little more than one tile, each thread takes some rows of all
tiles instead, for then it need not read the weights of the others.
"""

from __future__ import annotations

import numpy as np

from caffe2lrp.kernels.compiling import device
from caffe2lrp.kernels.share import share

# Threads share rows if each gets so many blocks of them: it may have one more or less than the others.
_BLOCKS = 4


def share_rows(halves: np.ndarray, images: int, blocks: int, threads: int) -> bool:
    """Whether threads share rows, for tiles of so many half vectors: there is a whole one, and a short one behind."""
    return images == 1 and len(halves) == 2 and halves[0] > 2 * halves[1] and blocks >= _BLOCKS * threads


@device
def units_of(part, parts, images, table, halves, blocks, by_rows):  # type: ignore[no-untyped-def]
    """First unit of a thread and the one behind its last; by rows, the same of its blocks.

    `halves` is the column of the table that tells the half vectors of tiles, and column 1 of the blocks tells their
    rows.
    """
    if by_rows != 0:
        return share(blocks.shape[0], part, parts)
    start = unit_after(part, parts, images, table, halves, blocks)
    return start, unit_after(part + 1, parts, images, table, halves, blocks)


@device
def tiles_of(start, stop, tiles, blocks, by_rows):  # type: ignore[no-untyped-def]
    """First tile of a thread among those of all images, and the one behind its last."""
    if by_rows != 0:
        return 0, tiles
    return start // blocks, (stop + blocks - 1) // blocks


@device
def blocks_of(tile, start, stop, blocks, by_rows):  # type: ignore[no-untyped-def]
    """A thread's first block of a tile, and the one behind its last."""
    if by_rows != 0:
        return start, stop
    return max(start - tile * blocks, 0), min(stop - tile * blocks, blocks)


@device
def unit_after(share_of, parts, images, table, halves, blocks):  # type: ignore[no-untyped-def]
    """The unit that comes after `share_of` of `parts` equal shares: a unit is worth its rows times its columns."""
    columns, rows = 0, 0
    for t in range(table.shape[0]):
        columns += _worth(table[t, halves])
    for i in range(blocks.shape[0]):
        rows += blocks[i, 1]
    left = images * rows * columns * share_of // parts
    done, left = left // (rows * columns), left % (rows * columns)
    t, i = 0, 0
    while left >= _worth(table[t, halves]) * rows:
        left -= _worth(table[t, halves]) * rows
        t += 1
    left //= _worth(table[t, halves])
    while left >= blocks[i, 1]:
        left -= blocks[i, 1]
        i += 1
    return (done * table.shape[0] + t) * blocks.shape[0] + i


@device
def _worth(halves):  # type: ignore[no-untyped-def]
    """Half a vector takes as long as a whole one."""
    return max(halves, 2)
