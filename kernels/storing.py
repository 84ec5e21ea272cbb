"""Where sums of products end up: the way from a buffer to the rows of a blob."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from caffe2lrp.kernels.compiling import device
from caffe2lrp.kernels.gemm import STORE_BOTH, STORE_RELU, STORE_TIMES
from caffe2lrp.kernels.rows import both_row, copy_row, rectify_row, times_row


def along_memory(arrays: Sequence[np.ndarray]) -> tuple[np.ndarray, list[int]]:
    """A line that begins with the first value in memory of some arrays, and where on it each begins.

    The arrays need not lie in one piece of memory: the line is only what kernels count their places from.
    """
    addresses = [array.ctypes.data for array in arrays]
    first = arrays[addresses.index(min(addresses))]
    line = np.lib.stride_tricks.as_strided(first, (first.size,), (first.itemsize,))
    return line, [(address - min(addresses)) // first.itemsize for address in addresses]


@device
def finish(tile, apart, columns, rows, dst, x, base, plane, gw, pitch, width, sx, sy, x0, y0, j0, limit, mode):  # type: ignore[no-untyped-def]
    """Copy the valid pixels of a tile, whose rows lie `apart`, to where they belong."""
    zero = dst.dtype.type(0)
    gy = j0 // pitch
    gx = j0 - gy * pitch
    i = 0
    while i < columns and j0 + i < limit:
        run = min(gw - gx, columns - i)
        at = base + (gy * sy + y0) * width + gx * sx + x0
        for r in range(rows):
            source, to = r * apart + i, at + r * plane
            if sx > 1:
                for q in range(run):
                    value = tile[source + q]
                    value = zero if mode == STORE_RELU and value < zero else value
                    dst[to + q * sx] = value * x[to + q * sx] if mode == STORE_TIMES else value
            elif mode == STORE_TIMES:
                times_row(tile, source, x, to, dst, to, run)
            elif mode == STORE_RELU:
                rectify_row(tile, source, dst, to, run)
            elif mode == STORE_BOTH:
                both_row(tile, source, dst, to, x, to, run)
            else:
                copy_row(tile, source, dst, to, run)
        i += pitch - gx
        gx = 0
        gy += 1
