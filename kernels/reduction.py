"""Sums of rows: x is (rows, values), y one number for each row."""

from __future__ import annotations

from caffe2lrp.kernels.compiling import device
from caffe2lrp.kernels.launch import F1, F2, Float, Int, kernel
from caffe2lrp.kernels.share import share

# What is summed up.
PLAIN = 0  # x
ABSOLUTE = 1  # |x|
SQUARE = 2  # x^2


@device
def _term(x, kind):  # type: ignore[no-untyped-def]
    return x if kind == PLAIN else abs(x) if kind == ABSOLUTE else x * x


@kernel
def reduction(part: Int, parts: Int, x: F2, y: F1, kind: Int, factor: Float) -> None:
    """y = factor * sum of the terms of a row."""
    start, stop = share(x.shape[0], part, parts)
    for row in range(start, stop):
        total = x.dtype.type(0)
        for i in range(x.shape[1]):
            total += _term(x[row, i], kind)
        y[row] = factor * total


@kernel
def reduction_relevance(part: Int, parts: Int, x: F2, s: F1, r_in: F2, kind: Int, factor: Float) -> None:
    """r_in = factor * term * s, for s = relevance / y: in proportion to the terms."""
    start, stop = share(x.shape[0], part, parts)
    for row in range(start, stop):
        for i in range(x.shape[1]):
            r_in[row, i] = factor * _term(x[row, i], kind) * s[row]


@kernel
def reduction_gradient(part: Int, parts: Int, x: F2, r: F1, r_in: F2, kind: Int, factor: Float) -> None:
    """r_in = factor * r * (1, sign(x) or 2 x)."""
    start, stop = share(x.shape[0], part, parts)
    zero, one, two = x.dtype.type(0), x.dtype.type(1), x.dtype.type(2)
    for row in range(start, stop):
        value = factor * r[row]
        for i in range(x.shape[1]):
            slope = one
            if kind == ABSOLUTE:
                slope = one if x[row, i] > zero else -one if x[row, i] < zero else zero
            elif kind == SQUARE:
                slope = two * x[row, i]
            r_in[row, i] = value * slope
