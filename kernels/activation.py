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


@kernel
def exponential(part: Int, parts: Int, x: F1, y: F1, inner: Float, outer: Float) -> None:
    """y = outer * exp(inner * x)."""
    start, stop = share(x.size, part, parts)
    for i in range(start, stop):
        y[i] = outer * math.exp(inner * x[i])


@kernel
def logarithm(part: Int, parts: Int, x: F1, y: F1, scale: Float, shift: Float, outer: Float) -> None:
    """y = outer * log(scale * x + shift)."""
    start, stop = share(x.size, part, parts)
    for i in range(start, stop):
        y[i] = outer * math.log(scale * x[i] + shift)


@kernel
def bnll(part: Int, parts: Int, x: F1, y: F1) -> None:
    """y = log(1 + exp(x)), written such that nothing can overflow."""
    start, stop = share(x.size, part, parts)
    zero = x.dtype.type(0)
    for i in range(start, stop):
        y[i] = (x[i] if x[i] > zero else zero) + math.log1p(math.exp(-abs(x[i])))


@kernel
def threshold(part: Int, parts: Int, x: F1, y: F1, least: Float) -> None:
    """y = 1 where x > least, else 0."""
    start, stop = share(x.size, part, parts)
    zero, one = x.dtype.type(0), x.dtype.type(1)
    for i in range(start, stop):
        y[i] = one if x[i] > least else zero


@kernel
def rectify(part: Int, parts: Int, x: F1, r: F1, r_in: F1, guided: Int) -> None:
    """r_in = max(r, 0), for deconvolution; with `guided` only where x > 0."""
    start, stop = share(x.size, part, parts)
    zero = x.dtype.type(0)
    for i in range(start, stop):
        r_in[i] = r[i] if r[i] > zero and (guided == 0 or x[i] > zero) else zero


@kernel
def prelu_gradient(part: Int, parts: Int, x: F3, slope: F1, r: F3, r_in: F3) -> None:
    """r_in = r where x > 0, else slope * r, for (N, C, pixels); ReLU is the case of one slope."""
    start, stop = share(x.shape[0] * x.shape[1], part, parts)
    zero = x.dtype.type(0)
    for row in range(start, stop):
        n, c = row // x.shape[1], row % x.shape[1]
        factor = slope[c % slope.size]
        for i in range(x.shape[2]):
            r_in[n, c, i] = r[n, c, i] if x[n, c, i] > zero else factor * r[n, c, i]


@kernel
def sigmoid_gradient(part: Int, parts: Int, y: F1, r: F1, r_in: F1) -> None:
    """r_in = r y (1 - y)."""
    start, stop = share(y.size, part, parts)
    one = y.dtype.type(1)
    for i in range(start, stop):
        r_in[i] = r[i] * y[i] * (one - y[i])


@kernel
def tanh_gradient(part: Int, parts: Int, y: F1, r: F1, r_in: F1) -> None:
    """r_in = r (1 - y^2)."""
    start, stop = share(y.size, part, parts)
    one = y.dtype.type(1)
    for i in range(start, stop):
        r_in[i] = r[i] * (one - y[i] * y[i])


@kernel
def absval_gradient(part: Int, parts: Int, x: F1, r: F1, r_in: F1) -> None:
    """r_in = r sign(x)."""
    start, stop = share(x.size, part, parts)
    zero = x.dtype.type(0)
    for i in range(start, stop):
        r_in[i] = r[i] if x[i] > zero else (-r[i] if x[i] < zero else zero)


@kernel
def elu_gradient(part: Int, parts: Int, x: F1, r: F1, r_in: F1, alpha: Float) -> None:
    """r_in = r where x > 0, else r alpha exp(x)."""
    start, stop = share(x.size, part, parts)
    zero = x.dtype.type(0)
    for i in range(start, stop):
        r_in[i] = r[i] if x[i] > zero else r[i] * alpha * math.exp(x[i])


@kernel
def power_gradient(part: Int, parts: Int, x: F1, r: F1, r_in: F1, exponent: Float, scale: Float, shift: Float) -> None:
    """r_in = r exponent scale (shift + scale x)^(exponent - 1)."""
    start, stop = share(x.size, part, parts)
    one = x.dtype.type(1)
    for i in range(start, stop):
        r_in[i] = r[i] * exponent * scale
    if exponent != one:
        for i in range(start, stop):
            r_in[i] *= (shift + scale * x[i]) ** (exponent - one)


@kernel
def exponential_gradient(part: Int, parts: Int, y: F1, r: F1, r_in: F1, inner: Float) -> None:
    """r_in = r inner y."""
    start, stop = share(y.size, part, parts)
    for i in range(start, stop):
        r_in[i] = r[i] * inner * y[i]


@kernel
def logarithm_gradient(part: Int, parts: Int, x: F1, r: F1, r_in: F1, scale: Float, shift: Float, outer: Float) -> None:
    """r_in = r outer scale / (scale x + shift)."""
    start, stop = share(x.size, part, parts)
    for i in range(start, stop):
        r_in[i] = r[i] * outer * scale / (scale * x[i] + shift)


@kernel
def bnll_gradient(part: Int, parts: Int, x: F1, r: F1, r_in: F1) -> None:
    """r_in = r / (1 + exp(-x))."""
    start, stop = share(x.size, part, parts)
    half = x.dtype.type(0.5)
    for i in range(start, stop):
        r_in[i] = r[i] * (half * math.tanh(half * x[i]) + half)
