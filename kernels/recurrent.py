"""Steps of recurrent layers: arrays of one step, (N, D) or, for an LSTM's gates i, f, o and its input g, (N, 4 D)."""

from __future__ import annotations

import math

from caffe2lrp.kernels.compiling import device
from caffe2lrp.kernels.launch import F1, F2, Float, Int, kernel
from caffe2lrp.kernels.share import share


@device
def sigmoid(x):  # type: ignore[no-untyped-def]
    """1 / (1 + exp(-x)), by way of tanh, which cannot overflow."""
    half = type(x)(0.5)
    return half * math.tanh(half * x) + half


@device
def stabilised_ratio(r, z, epsilon):  # type: ignore[no-untyped-def]
    """r / (z + epsilon sign z) with sign 0 = 1, and 0 where that is 0 (mode ``SIGN`` of `relevance.ratio`)."""
    zero = type(z)(0)
    bottom = z - epsilon if z < zero else z + epsilon
    return r / bottom if bottom != zero else zero


@kernel
def add_product(part: Int, parts: Int, w: F2, x: F2, y: F2) -> None:
    """y[n, j] += sum_i w[j, i] x[n, i]."""
    start, stop = share(w.shape[0], part, parts)
    for j in range(start, stop):
        for n in range(x.shape[0]):
            total = w.dtype.type(0)
            for i in range(w.shape[1]):
                total += w[j, i] * x[n, i]
            y[n, j] += total


@kernel
def add_row_products(part: Int, parts: Int, a: F2, b: F2, y: F1) -> None:
    """y[n] += sum_d a[n, d] b[n, d]."""
    start, stop = share(y.size, part, parts)
    for n in range(start, stop):
        total = y.dtype.type(0)
        for d in range(a.shape[1]):
            total += a[n, d] * b[n, d]
        y[n] += total


@kernel
def lstm_unit(part: Int, parts: Int, z: F2, cont: F1, before: F2, c: F2, h: F2) -> None:
    """c = cont sigmoid(f) before + sigmoid(i) tanh(g), h = sigmoid(o) tanh(c); z holds i, f, o, g."""
    size = c.shape[1]
    start, stop = share(c.size, part, parts)
    for unit in range(start, stop):
        n, d = unit // size, unit % size
        kept = cont[n] * sigmoid(z[n, size + d]) * before[n, d]
        c[n, d] = kept + sigmoid(z[n, d]) * math.tanh(z[n, 3 * size + d])
        h[n, d] = sigmoid(z[n, 2 * size + d]) * math.tanh(c[n, d])


@kernel
def lstm_relevance(
    part: Int,
    parts: Int,
    z: F2,
    cont: F1,
    before: F2,
    c: F2,
    r_h: F2,
    r_next: F2,
    r_c: F2,
    r: F2,
    q: F2,
    r_g: F2,
    s: F2,
    epsilon: Float,
) -> None:
    """One step back by the rule of Arras et al. 2017: the gates take nothing, the two terms of c by the epsilon rule.

    The hidden state's relevance is `r_h` from the output and `r_next` from the next step, the cell's `r_c`. Written are
    their sum `r`, q = r / c, the relevance `r_c` of the cell before and `r_g` of the new input, and s = r_g / z_g.
    """
    size = c.shape[1]
    start, stop = share(c.size, part, parts)
    for unit in range(start, stop):
        n, d = unit // size, unit % size
        r[n, d] = r_h[n, d] + r_next[n, d] + r_c[n, d]
        q[n, d] = stabilised_ratio(r[n, d], c[n, d], epsilon)
        r_c[n, d] = cont[n] * sigmoid(z[n, size + d]) * before[n, d] * q[n, d]
        r_g[n, d] = sigmoid(z[n, d]) * math.tanh(z[n, 3 * size + d]) * q[n, d]
        s[n, d] = stabilised_ratio(r_g[n, d], z[n, 3 * size + d], epsilon)


@kernel
def lstm_gradient(
    part: Int,
    parts: Int,
    z: F2,
    cont: F1,
    before: F2,
    c: F2,
    g_h: F2,
    g_next: F2,
    g_c: F2,
    g_z: F2,
    g_cont: F1,
) -> None:
    """One step back of the derivative; arguments as in `lstm_relevance`, g_z of the gates' sums, g_cont is added to."""
    size = c.shape[1]
    one = z.dtype.type(1)
    start, stop = share(c.shape[0], part, parts)
    for n in range(start, stop):
        for d in range(size):
            i, f, o = sigmoid(z[n, d]), sigmoid(z[n, size + d]), sigmoid(z[n, 2 * size + d])
            g, out = math.tanh(z[n, 3 * size + d]), math.tanh(c[n, d])
            d_h = g_h[n, d] + g_next[n, d]
            d_c = g_c[n, d] + d_h * o * (one - out * out)
            g_z[n, d] = d_c * g * i * (one - i)
            g_z[n, size + d] = d_c * cont[n] * before[n, d] * f * (one - f)
            g_z[n, 2 * size + d] = d_h * out * o * (one - o)
            g_z[n, 3 * size + d] = d_c * i * (one - g * g)
            g_c[n, d] = d_c * cont[n] * f
            g_cont[n] += d_c * f * before[n, d]
