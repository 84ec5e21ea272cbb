"""The largest values along the middle one of three axes, and where they are."""

from __future__ import annotations

import math

from caffe2lrp.kernels.launch import F3, Int, kernel
from caffe2lrp.kernels.share import share


@kernel
def argmax(part: Int, parts: Int, x: F3, y: F3, top_k: Int, indices: Int, values: Int) -> None:
    """y[:, indices + j] = the place and y[:, values + j] = the value of the j-th largest x, for j < top_k.

    Pairs of value and place are ordered, so that of equal values the last comes first, as in Caffe. A start of -1
    leaves that output out. Where only NaN are left both are NaN.
    """
    inner = x.shape[2]
    start, stop = share(x.shape[0] * inner, part, parts)
    for unit in range(start, stop):
        o, i = unit // inner, unit % inner
        last = -1  # place of the one before
        for j in range(top_k):
            best = -1
            for c in range(x.shape[1]):
                value = x[o, c, i]
                below = last < 0 or value < x[o, last, i] or (value == x[o, last, i] and c < last)
                if below and not math.isnan(value) and (best < 0 or value >= x[o, best, i]):
                    best = c
            found = best >= 0
            if indices >= 0:
                y[o, indices + j, i] = best if found else math.nan
            if values >= 0:
                y[o, values + j, i] = x[o, best, i] if found else math.nan
            last = best if found else last
