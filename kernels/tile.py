"""Copies of runs of values, and their sum."""

from __future__ import annotations

from caffe2lrp.kernels.launch import F2, F3, Int, kernel
from caffe2lrp.kernels.share import share


@kernel
def tile(part: Int, parts: Int, x: F2, y: F3) -> None:
    """y[:, t] = x, for x (outer, inner) and y (outer, tiles, inner)."""
    start, stop = share(y.shape[0] * y.shape[1], part, parts)
    for row in range(start, stop):
        o, t = row // y.shape[1], row % y.shape[1]
        for i in range(x.shape[1]):
            y[o, t, i] = x[o, i]


@kernel
def sum_tiles(part: Int, parts: Int, r: F3, r_in: F2) -> None:
    """r_in = the sum of r (outer, tiles, inner) over the tiles."""
    start, stop = share(r.shape[2], part, parts)
    for o in range(r.shape[0]):
        for i in range(start, stop):
            r_in[o, i] = r[o, 0, i]
        for t in range(1, r.shape[1]):
            for i in range(start, stop):
                r_in[o, i] += r[o, t, i]
