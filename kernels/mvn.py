"""Mean and variance normalisation of groups of values: all arrays are (groups, values).

Sums are in double precision: with Caffe's epsilon of 1e-9, rounding in single precision would give a group of equal
values a deviation that matters.
"""

from __future__ import annotations

import math

from caffe2lrp.kernels.compiling import device
from caffe2lrp.kernels.launch import F2, Float, Int, kernel
from caffe2lrp.kernels.share import share


@device
def _mean(row):  # type: ignore[no-untyped-def]
    total = 0.0
    for i in range(row.size):
        total += row[i]
    return row.dtype.type(total / row.size)


@device
def _deviation(row, mean):  # type: ignore[no-untyped-def]
    total = 0.0
    for i in range(row.size):
        total += (row[i] - mean) ** 2
    return row.dtype.type(math.sqrt(total / row.size))


@kernel
def mvn(part: Int, parts: Int, x: F2, y: F2, normalize: Int, epsilon: Float) -> None:
    """y = (x - mean) / (deviation + epsilon), or without `normalize` x - mean."""
    start, stop = share(x.shape[0], part, parts)
    for g in range(start, stop):
        row, mean = x[g], _mean(x[g])
        divisor = _deviation(row, mean) + epsilon if normalize != 0 else x.dtype.type(1)
        for i in range(row.size):
            y[g, i] = (row[i] - mean) / divisor


@kernel
def mvn_relevance(part: Int, parts: Int, x: F2, s: F2, r_in: F2, normalize: Int, epsilon: Float) -> None:
    """r_in = x / (deviation + epsilon) (s - mean of s), for s = relevance / y.

    That is the sum over the outputs j of the term x_i (1[i = j] - 1 / n) / (deviation + epsilon) of y_j times s_j.
    """
    start, stop = share(x.shape[0], part, parts)
    for g in range(start, stop):
        row, mean = x[g], _mean(s[g])
        divisor = _deviation(row, _mean(row)) + epsilon if normalize != 0 else x.dtype.type(1)
        for i in range(row.size):
            r_in[g, i] = row[i] / divisor * (s[g, i] - mean)


@kernel
def mvn_gradient(part: Int, parts: Int, x: F2, r: F2, r_in: F2, normalize: Int, epsilon: Float) -> None:
    """r_in = (r - mean of r) / divisor - (x - mean) (mean of r (x - mean)) / (deviation divisor^2).

    `divisor` is deviation + epsilon; of equal values, whose deviation has no derivative, only the first term counts.
    """
    start, stop = share(x.shape[0], part, parts)
    zero = x.dtype.type(0)
    for g in range(start, stop):
        row, mean, own = x[g], _mean(x[g]), _mean(r[g])
        if normalize == 0:
            for i in range(row.size):
                r_in[g, i] = r[g, i] - own
            continue
        deviation = _deviation(row, mean)
        divisor = deviation + epsilon
        total = 0.0
        for i in range(row.size):
            total += r[g, i] * (row[i] - mean)
        slope = x.dtype.type(total / row.size / deviation) / divisor if deviation != zero else zero
        for i in range(row.size):
            r_in[g, i] = (r[g, i] - own - slope * (row[i] - mean)) / divisor
