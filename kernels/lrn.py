"""Local response normalisation, and its relevance.

Relevance follows Binder et al. 2016 (arXiv 1604.00825): the first-order Taylor expansion of
y_k = x_k s_k^(-beta), s_k = k0 + a sum_j x_j^2, has the terms

    t_kk = x_k (k0 + a x_k^2)^(-beta)        t_kj = -2 a beta x_k x_j^2 s_k^(-beta - 1)   (j != k)

A term's share is t_kj / sum_j t_kj (the z-rule), so relevance is conserved; the LRP Toolbox leaves out
that division.
"""

from __future__ import annotations

import math

from caffe2lrp.kernels.compiling import device
from caffe2lrp.kernels.launch import F2, F3, Float, Int, kernel
from caffe2lrp.kernels.share import share

# Pixels that one thread takes at a time: all channels of them stay in the cache.
BLOCK = 256
# To normalise a value takes as long as so many multiplications.
NORMALISING = 32


@device
def _negative_power(s, beta, one):  # type: ignore[no-untyped-def]
    """s ^ (-beta); the exponent of all published networks is 3/4, where two square roots do."""
    if beta == 0.75:
        root = math.sqrt(s)
        return one / (root * math.sqrt(root))
    return s ** (-beta)


@device
def _negative_powers(s, beta):  # type: ignore[no-untyped-def]
    """s = s ^ (-beta) for a row."""
    one = s.dtype.type(1)
    if beta == 0.75:
        for p in range(s.size):
            root = math.sqrt(s[p])
            s[p] = one / (root * math.sqrt(root))
    else:
        for p in range(s.size):
            s[p] = s[p] ** (-beta)


@device
def _add_squares(x, factor, s):  # type: ignore[no-untyped-def]
    """s += factor * x^2 for a row."""
    for p in range(s.size):
        s[p] += factor * x[p] * x[p]


@device
def _normalise_among_five(x, first, after, a, beta, k0, y):  # type: ignore[no-untyped-def]
    """A row of pixels of `lrn_across` with five channels around it, and an exponent of 3/4: one pass over all."""
    one = y.dtype.type(1)
    left, before, own = x[0, first:after], x[1, first:after], x[2, first:after]
    behind, right = x[3, first:after], x[4, first:after]
    for p in range(y.size):
        s = k0 + a * left[p] * left[p]
        s += a * before[p] * before[p]
        s += a * own[p] * own[p]
        s += a * behind[p] * behind[p]
        s += a * right[p] * right[p]
        y[p] = _negative_power(s, beta, one) * own[p]


@kernel
def lrn_across(part: Int, parts: Int, x: F3, y: F3, size: Int, a: Float, beta: Float, k0: Float) -> None:
    """y = x (k0 + a * sum over `size` channels of x^2)^(-beta), for x of shape (N, C, pixels)."""
    channels, pixels = x.shape[1], x.shape[2]
    blocks = (pixels + BLOCK - 1) // BLOCK
    start, stop = share(x.shape[0] * blocks, part, parts)
    for unit in range(start, stop):
        n, first = unit // blocks, unit % blocks * BLOCK
        last = min(first + BLOCK, pixels)
        for c in range(channels):
            if size == 5 and beta == 0.75 and 2 <= c < channels - 2:
                _normalise_among_five(x[n, c - 2 : c + 3], first, last, a, beta, k0, y[n, c, first:last])
                continue
            s, own = y[n, c, first:last], x[n, c, first:last]
            s[:] = k0
            for j in range(max(c - size // 2, 0), min(c + size // 2 + 1, channels)):
                _add_squares(x[n, j, first:last], a, s)
            _negative_powers(s, beta)
            for p in range(s.size):
                s[p] *= own[p]


@kernel
def lrn_across_relevance(
    part: Int, parts: Int, x: F3, r: F3, r_in: F3, u: F3, room: F2,
    size: Int, a: Float, beta: Float, k0: Float, conserve: Int,
) -> None:  # fmt: skip
    """Relevance through `lrn_across`; u is room for an array like x, `room` for 3 rows of pixels a thread.

    First r_in gets the own terms' shares and u what each output k sends to its neighbours, then the
    neighbours collect it.
    """
    channels, pixels = x.shape[1], x.shape[2]
    zero, one, two = x.dtype.type(0), x.dtype.type(1), x.dtype.type(2)
    blocks = (pixels + BLOCK - 1) // BLOCK
    start, stop = share(x.shape[0] * blocks, part, parts)
    for unit in range(start, stop):
        n, first = unit // blocks, unit % blocks * BLOCK
        last = min(first + BLOCK, pixels)
        others, own, gain = room[3 * part], room[3 * part + 1], room[3 * part + 2]
        others, own, gain = others[: last - first], own[: last - first], gain[: last - first]
        for c in range(channels):
            value, above = x[n, c, first:last], r[n, c, first:last]
            result, sent = r_in[n, c, first:last], u[n, c, first:last]
            others[:] = zero
            for j in range(max(c - size // 2, 0), min(c + size // 2 + 1, channels)):
                if j != c:
                    _add_squares(x[n, j, first:last], one, others)
            for p in range(own.size):
                own[p] = k0 + a * value[p] * value[p]
                gain[p] = own[p] + a * others[p]
                sent[p] = gain[p]
            _negative_powers(own, beta)
            _negative_powers(gain, beta)
            for p in range(own.size):
                own_term = value[p] * own[p]
                rate = value[p] * gain[p] / sent[p]
                total = own_term - two * a * beta * rate * others[p] if conserve != 0 else one
                share_out = above[p] / total if total != zero else zero
                result[p] = share_out * own_term
                sent[p] = share_out * rate
        for c in range(channels):
            value, result = x[n, c, first:last], r_in[n, c, first:last]
            others[:] = zero
            for j in range(max(c - size // 2, 0), min(c + size // 2 + 1, channels)):
                if j != c:
                    sent = u[n, j, first:last]
                    for p in range(others.size):
                        others[p] += sent[p]
            for p in range(others.size):
                result[p] -= two * a * beta * value[p] * value[p] * others[p]


@device
def _square_sum(x, c, y, x0, half):  # type: ignore[no-untyped-def]
    """Sum of squares over a window clipped to the image."""
    total = x.dtype.type(0)
    for iy in range(max(y - half, 0), min(y + half + 1, x.shape[1])):
        for ix in range(max(x0 - half, 0), min(x0 + half + 1, x.shape[2])):
            total += x[c, iy, ix] * x[c, iy, ix]
    return total


@kernel
def lrn_within(part: Int, parts: Int, x: F3, y: F3, size: Int, a: Float, beta: Float) -> None:
    """y = x (1 + a * sum over a size x size window of x^2)^(-beta), for planes (N C, H, W).

    The mean over the window always divides by size^2: with stride 1 and (size - 1) / 2 of padding no
    window reaches beyond the padded image.
    """
    one = x.dtype.type(1)
    start, stop = share(x.shape[0] * x.shape[1], part, parts)
    for row in range(start, stop):
        c, iy = row // x.shape[1], row % x.shape[1]
        for ix in range(x.shape[2]):
            y[c, iy, ix] = x[c, iy, ix] * _negative_power(one + a * _square_sum(x, c, iy, ix, size // 2), beta, one)


@kernel
def lrn_within_relevance(
    part: Int, parts: Int, x: F3, r: F3, r_in: F3, u: F3, size: Int, a: Float, beta: Float, conserve: Int
) -> None:
    """Relevance through `lrn_within`; u is room for an array like x."""
    zero, one, two = x.dtype.type(0), x.dtype.type(1), x.dtype.type(2)
    half = size // 2
    start, stop = share(x.shape[0], part, parts)
    for c in range(start, stop):
        for iy in range(x.shape[1]):
            for ix in range(x.shape[2]):
                value = x[c, iy, ix]
                others = _square_sum(x, c, iy, ix, half) - value * value
                own_sum = one + a * value * value
                s = own_sum + a * others
                own = value * _negative_power(own_sum, beta, one)
                gain = value * _negative_power(s, beta, one) / s
                total = own - two * a * beta * gain * others if conserve != 0 else one
                share_out = r[c, iy, ix] / total if total != zero else zero
                r_in[c, iy, ix] = share_out * own
                u[c, iy, ix] = share_out * gain
        for iy in range(x.shape[1]):
            for ix in range(x.shape[2]):
                around = -u[c, iy, ix]
                for jy in range(max(iy - half, 0), min(iy + half + 1, x.shape[1])):
                    for jx in range(max(ix - half, 0), min(ix + half + 1, x.shape[2])):
                        around += u[c, jy, jx]
                r_in[c, iy, ix] -= two * a * beta * x[c, iy, ix] * x[c, iy, ix] * around


@kernel
def lrn_across_gradient(
    part: Int, parts: Int, x: F3, r: F3, r_in: F3, u: F3, size: Int, a: Float, beta: Float, k0: Float
) -> None:
    """Derivative of `lrn_across`; u is room for an array like x."""
    channels, pixels = x.shape[1], x.shape[2]
    two = x.dtype.type(2)
    blocks = (pixels + BLOCK - 1) // BLOCK
    start, stop = share(x.shape[0] * blocks, part, parts)
    for unit in range(start, stop):
        n, first = unit // blocks, unit % blocks * BLOCK
        last = min(first + BLOCK, pixels)
        for c in range(channels):
            s, power = u[n, c, first:last], r_in[n, c, first:last]
            value, above = x[n, c, first:last], r[n, c, first:last]
            s[:] = k0
            for j in range(max(c - size // 2, 0), min(c + size // 2 + 1, channels)):
                _add_squares(x[n, j, first:last], a, s)
            for p in range(s.size):
                power[p] = s[p]
            _negative_powers(power, beta)
            for p in range(s.size):
                power[p] *= above[p]
                s[p] = power[p] * value[p] / s[p]
        for c in range(channels):
            value, result = x[n, c, first:last], r_in[n, c, first:last]
            for j in range(max(c - size // 2, 0), min(c + size // 2 + 1, channels)):
                sent = u[n, j, first:last]
                for p in range(result.size):
                    result[p] -= two * a * beta * value[p] * sent[p]


@kernel
def lrn_within_gradient(part: Int, parts: Int, x: F3, r: F3, r_in: F3, u: F3, size: Int, a: Float, beta: Float) -> None:
    """Derivative of `lrn_within`; u is room for an array like x."""
    one, two = x.dtype.type(1), x.dtype.type(2)
    half = size // 2
    start, stop = share(x.shape[0], part, parts)
    for c in range(start, stop):
        for iy in range(x.shape[1]):
            for ix in range(x.shape[2]):
                s = one + a * _square_sum(x, c, iy, ix, half)
                r_in[c, iy, ix] = r[c, iy, ix] * _negative_power(s, beta, one)
                u[c, iy, ix] = r_in[c, iy, ix] * x[c, iy, ix] / s
        for iy in range(x.shape[1]):
            for ix in range(x.shape[2]):
                around = x.dtype.type(0)
                for jy in range(max(iy - half, 0), min(iy + half + 1, x.shape[1])):
                    for jx in range(max(ix - half, 0), min(ix + half + 1, x.shape[2])):
                        around += u[c, jy, jx]
                r_in[c, iy, ix] -= two * a * beta * x[c, iy, ix] * around
