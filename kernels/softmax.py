"""Softmax and its logarithm along the middle one of three axes."""

from __future__ import annotations

import math

from caffe2lrp.kernels.launch import F3, Int, kernel
from caffe2lrp.kernels.share import share


@kernel
def softmax(part: Int, parts: Int, x: F3, y: F3) -> None:
    """y = exp(x - max) / sum over the second axis, for x of shape (outer, classes, inner)."""
    inner = x.shape[2]
    start, stop = share(x.shape[0] * inner, part, parts)
    for unit in range(start, stop):
        o, i = unit // inner, unit % inner
        highest = x[o, 0, i]
        for c in range(x.shape[1]):
            highest = max(highest, x[o, c, i])
        for c in range(x.shape[1]):
            y[o, c, i] = math.exp(x[o, c, i] - highest)
        # Summed apart: in one loop the order of the sum depends on how far x and y lie from each other in memory.
        total = x.dtype.type(0)
        for c in range(x.shape[1]):
            total += y[o, c, i]
        for c in range(x.shape[1]):
            y[o, c, i] /= total


@kernel
def log_softmax(part: Int, parts: Int, x: F3, y: F3) -> None:
    """y = x - max - log of the sum of exp(x - max) over the second axis, for x of shape (outer, classes, inner)."""
    inner = x.shape[2]
    start, stop = share(x.shape[0] * inner, part, parts)
    for unit in range(start, stop):
        o, i = unit // inner, unit % inner
        highest = x[o, 0, i]
        for c in range(x.shape[1]):
            highest = max(highest, x[o, c, i])
        total = x.dtype.type(0)
        for c in range(x.shape[1]):
            y[o, c, i] = x[o, c, i] - highest
            total += math.exp(y[o, c, i])
        total = math.log(total)
        for c in range(x.shape[1]):
            y[o, c, i] -= total  # of differences: highest + total would lose digits of the smaller one


@kernel
def softmax_gradient(part: Int, parts: Int, y: F3, r: F3, r_in: F3) -> None:
    """r_in = y (r - sum over the classes of r y), for (outer, classes, inner)."""
    inner = y.shape[2]
    start, stop = share(y.shape[0] * inner, part, parts)
    for unit in range(start, stop):
        o, i = unit // inner, unit % inner
        total = y.dtype.type(0)
        for c in range(y.shape[1]):
            total += r[o, c, i] * y[o, c, i]
        for c in range(y.shape[1]):
            r_in[o, c, i] = y[o, c, i] * (r[o, c, i] - total)


@kernel
def log_softmax_gradient(part: Int, parts: Int, y: F3, r: F3, r_in: F3) -> None:
    """r_in = r - exp(y) * sum over the classes of r, for (outer, classes, inner)."""
    inner = y.shape[2]
    start, stop = share(y.shape[0] * inner, part, parts)
    for unit in range(start, stop):
        o, i = unit // inner, unit % inner
        total = y.dtype.type(0)
        for c in range(y.shape[1]):
            total += r[o, c, i]
        for c in range(y.shape[1]):
            r_in[o, c, i] = r[o, c, i] - math.exp(y[o, c, i]) * total
