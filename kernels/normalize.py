"""Values divided by the length of their vector: all of an image, or the channels of each pixel.

Arrays are (N, channels, pixels); lengths are (N, 1) or (N, pixels). `scale` has one value for each channel, or one.
"""

from __future__ import annotations

import math

from caffe2lrp.kernels.launch import F1, F2, F3, Float, Int, kernel
from caffe2lrp.kernels.share import share


@kernel
def lengths(part: Int, parts: Int, x: F3, epsilon: Float, norm: F2) -> None:
    """norm = sqrt(sum of x^2 + epsilon)."""
    if norm.shape[1] != x.shape[2]:
        start, stop = share(x.shape[0], part, parts)
        for n in range(start, stop):
            total = x.dtype.type(0)
            for c in range(x.shape[1]):
                for i in range(x.shape[2]):
                    total += x[n, c, i] * x[n, c, i]
            norm[n, 0] = math.sqrt(total + epsilon)
        return
    start, stop = share(x.shape[2], part, parts)
    for n in range(x.shape[0]):
        sums = norm[n]
        for i in range(start, stop):
            sums[i] = epsilon
        for c in range(x.shape[1]):
            for i in range(start, stop):
                sums[i] += x[n, c, i] * x[n, c, i]
        for i in range(start, stop):
            sums[i] = math.sqrt(sums[i])


@kernel
def normalize(part: Int, parts: Int, x: F3, norm: F2, scale: F1, y: F3) -> None:
    """y = scale x / norm."""
    start, stop = share(x.shape[0] * x.shape[1], part, parts)
    for row in range(start, stop):
        n, c = row // x.shape[1], row % x.shape[1]
        factor = scale[c % scale.size]
        if norm.shape[1] == x.shape[2]:
            for i in range(x.shape[2]):
                y[n, c, i] = factor * x[n, c, i] / norm[n, i]
        else:
            for i in range(x.shape[2]):
                y[n, c, i] = factor * x[n, c, i] / norm[n, 0]


@kernel
def products(part: Int, parts: Int, x: F3, r: F3, scale: F1, dot: F2) -> None:
    """dot = sum of scale x r over each vector, in the shape of its length."""
    if dot.shape[1] != x.shape[2]:
        start, stop = share(x.shape[0], part, parts)
        for n in range(start, stop):
            total = x.dtype.type(0)
            for c in range(x.shape[1]):
                factor = scale[c % scale.size]
                for i in range(x.shape[2]):
                    total += factor * x[n, c, i] * r[n, c, i]
            dot[n, 0] = total
        return
    start, stop = share(x.shape[2], part, parts)
    for n in range(x.shape[0]):
        for i in range(start, stop):
            dot[n, i] = 0
        for c in range(x.shape[1]):
            factor = scale[c % scale.size]
            for i in range(start, stop):
                dot[n, i] += factor * x[n, c, i] * r[n, c, i]


@kernel
def normalize_gradient(part: Int, parts: Int, x: F3, norm: F2, scale: F1, r: F3, dot: F2, r_in: F3) -> None:
    """r_in = scale r / norm - x dot / norm^3."""
    start, stop = share(x.shape[0] * x.shape[1], part, parts)
    each = norm.shape[1] == x.shape[2]
    for row in range(start, stop):
        n, c = row // x.shape[1], row % x.shape[1]
        factor = scale[c % scale.size]
        for i in range(x.shape[2]):
            k = i if each else 0
            length = norm[n, k]
            r_in[n, c, i] = (factor * r[n, c, i] - x[n, c, i] * dot[n, k] / (length * length)) / length
