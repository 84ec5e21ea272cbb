"""The step that all rules of linear layers share: relevance divided by what it is shared out by."""

from __future__ import annotations

from caffe2lrp.kernels.launch import F1, F2, F3, Float, Int, kernel
from caffe2lrp.kernels.share import share

# How a denominator z is stabilised.
SIGN = 0  # z + epsilon * sign(z), sign(0) = 1; a zero that remains drops the term
TOOLBOX = 1  # as the LRP Toolbox's epsilon rule: z = 0 exactly is not divided by
THRESHOLD = 2  # as the LRP Toolbox's z^B rule: not divided where |z| <= epsilon


@kernel
def ratio(part: Int, parts: Int, r: F2, z: F3, group: Int, factor: Float, epsilon: Float, mode: Int, s: F3) -> None:
    """s[:, group] = factor * r / stabilised z[:, group], for r (outer, n) and z, s (outer, groups, n)."""
    start, stop = share(r.shape[1], part, parts)
    zero, one = r.dtype.type(0), r.dtype.type(1)
    for o in range(r.shape[0]):
        above, below, result = r[o], z[o, group], s[o, group]
        if mode == SIGN:
            for i in range(start, stop):
                bottom = below[i] - epsilon if below[i] < zero else below[i] + epsilon
                result[i] = factor * above[i] / bottom if bottom != zero else zero
        elif mode == TOOLBOX:
            for i in range(start, stop):
                bottom = below[i] - epsilon if below[i] < zero else below[i] + epsilon
                result[i] = factor * above[i] / (bottom if below[i] != zero else one)
        else:
            for i in range(start, stop):
                result[i] = factor * above[i] / (below[i] if abs(below[i]) > epsilon else one)


@kernel
def of_sign(part: Int, parts: Int, r: F1, z: F1, sign: Int, out: F1) -> None:
    """out = r where z >= 0 (sign 1) or z < 0 (sign -1), else 0."""
    start, stop = share(r.size, part, parts)
    zero = r.dtype.type(0)
    for i in range(start, stop):
        out[i] = r[i] if (z[i] >= zero) == (sign > 0) else zero


@kernel
def ratio_rows(part: Int, parts: Int, r: F3, z: F1, factor: Float, s: F3) -> None:
    """s = factor * r / z where z is one number for each row, and 0 where it is 0; r is (N, rows, pixels)."""
    start, stop = share(r.shape[0] * r.shape[1], part, parts)
    zero = r.dtype.type(0)
    for unit in range(start, stop):
        n, row = unit // r.shape[1], unit % r.shape[1]
        scale = factor / z[row] if z[row] != zero else zero
        for i in range(r.shape[2]):
            s[n, row, i] = r[n, row, i] * scale


@kernel
def sum_sources(part: Int, parts: Int, c: F3, r: F2) -> None:
    """r = the sum of c (outer, sources, n) over the sources."""
    start, stop = share(r.shape[1], part, parts)
    for o in range(r.shape[0]):
        for i in range(start, stop):
            r[o, i] = c[o, 0, i]
        for a in range(1, c.shape[1]):
            for i in range(start, stop):
                r[o, i] += c[o, a, i]
