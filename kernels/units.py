"""How threads share a product: units are blocks of rows of a tile of pixels, all of one tile before the next.

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
def units_of(part, parts, pieces, images, table, halves, blocks, by_rows):  # type: ignore[no-untyped-def]
    """First unit of a part, the one behind its last, and the range of blocks that units are made of.

    `halves` is the column of the table that tells the half vectors of tiles, and column 1 of the blocks tells their
    rows. By rows, each thread has its own blocks, and its parts are pieces of all tiles with these.
    """
    low, high = 0, blocks.shape[0]
    if by_rows != 0:
        threads = max(parts // pieces, 1)
        parts = parts // threads
        low, high = share(high, part // parts, threads)
        part = part % parts
    mine = blocks[low:high]
    start = unit_after(part, parts, images, table, halves, mine)
    return start, unit_after(part + 1, parts, images, table, halves, mine), low, high


@device
def tiles_of(start, stop, low, high):  # type: ignore[no-untyped-def]
    """First tile of the units of a part, and the one behind its last; none where it has no units."""
    count = high - low
    return start // count, (stop + count - 1) // count if start < stop else start // count


@device
def blocks_of(tile, start, stop, low, high):  # type: ignore[no-untyped-def]
    """First block of a tile that is in a part, and the one behind its last."""
    first = tile * (high - low)
    return low + max(start - first, 0), low + min(stop - first, high - low)


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
