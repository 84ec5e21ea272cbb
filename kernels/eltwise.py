"""Sums, products and maxima of arrays of one shape, and plain copies. All arrays are flat."""

from __future__ import annotations

from caffe2lrp.kernels.launch import F1, F3, Float, Int, kernel
from caffe2lrp.kernels.share import share


@kernel
def fill(part: Int, parts: Int, y: F1, value: Float) -> None:
    """y = value."""
    start, stop = share(y.size, part, parts)
    for i in range(start, stop):
        y[i] = value


@kernel
def scaled(part: Int, parts: Int, x: F1, factor: Float, y: F1) -> None:
    """y = factor * x."""
    start, stop = share(y.size, part, parts)
    for i in range(start, stop):
        y[i] = factor * x[i]


@kernel
def add_scaled(part: Int, parts: Int, x: F1, factor: Float, y: F1) -> None:
    """y = y + factor * x."""
    start, stop = share(y.size, part, parts)
    for i in range(start, stop):
        y[i] += factor * x[i]


@kernel
def times(part: Int, parts: Int, a: F1, b: F1, y: F1) -> None:
    """y = a * b."""
    start, stop = share(y.size, part, parts)
    for i in range(start, stop):
        y[i] = a[i] * b[i]


@kernel
def add_times(part: Int, parts: Int, a: F1, b: F1, y: F1) -> None:
    """y = y + a * b."""
    start, stop = share(y.size, part, parts)
    for i in range(start, stop):
        y[i] += a[i] * b[i]


@kernel
def maximum(part: Int, parts: Int, a: F1, b: F1, y: F1) -> None:
    """y = max(a, b)."""
    start, stop = share(y.size, part, parts)
    for i in range(start, stop):
        y[i] = a[i] if a[i] >= b[i] else b[i]


@kernel
def take_winner(part: Int, parts: Int, x: F1, y: F1, remaining: F1, taken: F1) -> None:
    """Where x reaches the maximum y: taken = remaining, remaining = 0; elsewhere taken = 0."""
    start, stop = share(y.size, part, parts)
    zero = x.dtype.type(0)
    for i in range(start, stop):
        wins = x[i] == y[i]
        taken[i] = remaining[i] if wins else zero
        remaining[i] = zero if wins else remaining[i]


@kernel
def copy_slice(part: Int, parts: Int, src: F3, src_start: Int, dst: F3, dst_start: Int, count: Int) -> None:
    """dst[:, dst_start:][:count] = src[:, src_start:][:count], for arrays (outer, slices, inner)."""
    start, stop = share(src.shape[0] * count, part, parts)
    for row in range(start, stop):
        o, c = row // count, row % count
        for i in range(src.shape[2]):
            dst[o, dst_start + c, i] = src[o, src_start + c, i]


@kernel
def split_sign(part: Int, parts: Int, x: F3, y: F3) -> None:
    """Positive and negative part side by side: x (N, groups, n) -> y (N, groups, 2 n)."""
    n = x.shape[2]
    start, stop = share(n, part, parts)
    zero = x.dtype.type(0)
    for b in range(x.shape[0]):
        for g in range(x.shape[1]):
            values, above, below = x[b, g, start:stop], y[b, g, start:stop], y[b, g, n + start : n + stop]
            for i in range(values.size):
                above[i] = values[i] if values[i] > zero else zero
                below[i] = values[i] if values[i] < zero else zero


@kernel
def paste(part: Int, parts: Int, src: F3, dst: F3, top: Int, left: Int) -> None:
    """dst[:, top:, left:] = src, for planes (n, H, W); the rest stays as it is."""
    start, stop = share(src.shape[0], part, parts)
    for n in range(start, stop):
        for y in range(src.shape[1]):
            for x in range(src.shape[2]):
                dst[n, top + y, left + x] = src[n, y, x]


@kernel
def crop(part: Int, parts: Int, src: F3, dst: F3, top: Int, left: Int) -> None:
    """dst = src[:, top:, left:], for planes (n, H, W)."""
    start, stop = share(dst.shape[0], part, parts)
    for n in range(start, stop):
        for y in range(dst.shape[1]):
            for x in range(dst.shape[2]):
                dst[n, y, x] = src[n, top + y, left + x]
