"""Clipping, Swish and its piecewise linear relatives. All arrays are flat and of one size."""

from __future__ import annotations

import math

from caffe2lrp.kernels.launch import F1, Float, Int, kernel
from caffe2lrp.kernels.share import share


@kernel
def clip(part: Int, parts: Int, x: F1, y: F1, low: Float, high: Float) -> None:
    """y = min(max(x, low), high)."""
    start, stop = share(x.size, part, parts)
    for i in range(start, stop):
        y[i] = low if x[i] < low else (high if x[i] > high else x[i])


@kernel
def clip_gradient(part: Int, parts: Int, x: F1, r: F1, r_in: F1, low: Float, high: Float) -> None:
    """r_in = r where low <= x <= high, else 0."""
    start, stop = share(x.size, part, parts)
    zero = x.dtype.type(0)
    for i in range(start, stop):
        r_in[i] = r[i] if low <= x[i] <= high else zero


@kernel
def swish(part: Int, parts: Int, x: F1, y: F1, beta: Float) -> None:
    """y = x / (1 + exp(-beta x)), by way of tanh, which cannot overflow."""
    start, stop = share(x.size, part, parts)
    half = x.dtype.type(0.5)
    for i in range(start, stop):
        y[i] = x[i] * (half * math.tanh(half * beta * x[i]) + half)


@kernel
def swish_gradient(part: Int, parts: Int, x: F1, r: F1, r_in: F1, beta: Float) -> None:
    """r_in = r s (1 + beta x (1 - s)), s = 1 / (1 + exp(-beta x))."""
    start, stop = share(x.size, part, parts)
    half, one = x.dtype.type(0.5), x.dtype.type(1)
    for i in range(start, stop):
        s = half * math.tanh(half * beta * x[i]) + half
        r_in[i] = r[i] * s * (one + beta * x[i] * (one - s))


@kernel
def hard_sigmoid(part: Int, parts: Int, x: F1, y: F1, alpha: Float, beta: Float) -> None:
    """y = min(max(alpha x + beta, 0), 1)."""
    start, stop = share(x.size, part, parts)
    zero, one = x.dtype.type(0), x.dtype.type(1)
    for i in range(start, stop):
        value = alpha * x[i] + beta
        y[i] = zero if value < zero else (one if value > one else value)


@kernel
def hard_sigmoid_gradient(part: Int, parts: Int, x: F1, r: F1, r_in: F1, alpha: Float, beta: Float) -> None:
    """r_in = alpha r where 0 < alpha x + beta < 1, else 0."""
    start, stop = share(x.size, part, parts)
    zero, one = x.dtype.type(0), x.dtype.type(1)
    for i in range(start, stop):
        r_in[i] = alpha * r[i] if zero < alpha * x[i] + beta < one else zero


@kernel
def hard_swish(part: Int, parts: Int, x: F1, y: F1) -> None:
    """y = x min(max(x + 3, 0), 6) / 6."""
    start, stop = share(x.size, part, parts)
    zero, three, six = x.dtype.type(0), x.dtype.type(3), x.dtype.type(6)
    for i in range(start, stop):
        gate = x[i] + three
        gate = zero if gate < zero else (six if gate > six else gate)
        y[i] = x[i] * gate / six


@kernel
def hard_swish_gradient(part: Int, parts: Int, x: F1, r: F1, r_in: F1) -> None:
    """r_in = 0 for x <= -3, r for x >= 3, else r (2 x + 3) / 6."""
    start, stop = share(x.size, part, parts)
    zero, two, three, six = x.dtype.type(0), x.dtype.type(2), x.dtype.type(3), x.dtype.type(6)
    for i in range(start, stop):
        if x[i] <= -three:
            r_in[i] = zero
        elif x[i] >= three:
            r_in[i] = r[i]
        else:
            r_in[i] = r[i] * (two * x[i] + three) / six
