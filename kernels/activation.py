"""Element-wise functions. All arrays are flat and of one size."""

from __future__ import annotations

import math

from caffe2lrp.kernels.launch import F1, F3, Float, Int, kernel
from caffe2lrp.kernels.share import share


@kernel
def relu(part: Int, parts: Int, x: F1, y: F1, slope: Float) -> None:
    """y = x where x > 0, else slope * x."""
    start, stop = share(x.size, part, parts)
    zero = x.dtype.type(0)
    for i in range(start, stop):
        y[i] = x[i] if x[i] > zero else slope * x[i]


@kernel
def prelu(part: Int, parts: Int, x: F3, slope: F1, y: F3) -> None:
    """y = x where x > 0, else slope * x, for x of shape (N, C, pixels) and one slope per channel, or one in all."""
    start, stop = share(x.shape[0] * x.shape[1], part, parts)
    zero = x.dtype.type(0)
    for row in range(start, stop):
        n, c = row // x.shape[1], row % x.shape[1]
        factor = slope[c % slope.size]
        for i in range(x.shape[2]):
            y[n, c, i] = x[n, c, i] if x[n, c, i] > zero else factor * x[n, c, i]


@kernel
def sigmoid(part: Int, parts: Int, x: F1, y: F1) -> None:
    """y = 1 / (1 + exp(-x)), by way of tanh, which cannot overflow."""
    start, stop = share(x.size, part, parts)
    half = x.dtype.type(0.5)
    for i in range(start, stop):
        y[i] = half * math.tanh(half * x[i]) + half


@kernel
def tanh(part: Int, parts: Int, x: F1, y: F1) -> None:
    """y = tanh(x)."""
    start, stop = share(x.size, part, parts)
    for i in range(start, stop):
        y[i] = math.tanh(x[i])


@kernel
def absval(part: Int, parts: Int, x: F1, y: F1) -> None:
    """y = |x|."""
    start, stop = share(x.size, part, parts)
    for i in range(start, stop):
        y[i] = abs(x[i])


@kernel
def elu(part: Int, parts: Int, x: F1, y: F1, alpha: Float) -> None:
    """y = x where x > 0, else alpha * (exp(x) - 1)."""
    start, stop = share(x.size, part, parts)
    zero = x.dtype.type(0)
    for i in range(start, stop):
        y[i] = x[i] if x[i] > zero else alpha * math.expm1(x[i])


@kernel
def power(part: Int, parts: Int, x: F1, y: F1, exponent: Float, scale: Float, shift: Float) -> None:
    """y = (shift + scale * x) ^ exponent."""
    start, stop = share(x.size, part, parts)
    if exponent == 1:
        for i in range(start, stop):
            y[i] = shift + scale * x[i]
    elif exponent == 2:
        for i in range(start, stop):
            y[i] = (shift + scale * x[i]) ** 2
    else:
        for i in range(start, stop):
            y[i] = (shift + scale * x[i]) ** exponent
