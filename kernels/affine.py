"""A factor and an offset for each slice along one axis: BatchNorm, Scale and Bias."""

from __future__ import annotations

from caffe2lrp.kernels.launch import F1, F3, Int, kernel
from caffe2lrp.kernels.share import share


@kernel
def affine(part: Int, parts: Int, x: F3, factor: F1, offset: F1, y: F3) -> None:
    """y = factor * x + offset, for x of shape (outer, slices, inner)."""
    start, stop = share(x.shape[0] * x.shape[1], part, parts)
    for row in range(start, stop):
        o, c = row // x.shape[1], row % x.shape[1]
        for i in range(x.shape[2]):
            y[o, c, i] = factor[c] * x[o, c, i] + offset[c]


@kernel
def scale(part: Int, parts: Int, x: F3, factor: F1, y: F3) -> None:
    """y = factor * x, for x of shape (outer, slices, inner)."""
    start, stop = share(x.shape[0] * x.shape[1], part, parts)
    for row in range(start, stop):
        o, c = row // x.shape[1], row % x.shape[1]
        for i in range(x.shape[2]):
            y[o, c, i] = factor[c] * x[o, c, i]


@kernel
def sum_slices(part: Int, parts: Int, x: F3, y: F1) -> None:
    """y = the sum over outer and inner of x of shape (outer, slices, inner)."""
    start, stop = share(x.shape[1], part, parts)
    for c in range(start, stop):
        total = x.dtype.type(0)
        for o in range(x.shape[0]):
            for i in range(x.shape[2]):
                total += x[o, c, i]
        y[c] = total


@kernel
def spread(part: Int, parts: Int, x: F1, y: F3) -> None:
    """y[:, c, :] = x[c]."""
    start, stop = share(y.shape[0] * y.shape[1], part, parts)
    for row in range(start, stop):
        o, c = row // y.shape[1], row % y.shape[1]
        for i in range(y.shape[2]):
            y[o, c, i] = x[c]
