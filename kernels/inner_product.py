"""Fully connected layers. At batch 1 they are bound by reading the weights, which is done once per pass.

`Part` numbers (see `caffe2lrp.rules`) choose which part of a weight takes part in a product:
f(w) = full * w + positive * max(w, 0) + square * w^2 + one. They are formed in registers.
"""

from __future__ import annotations

import numpy as np

from caffe2lrp.kernels.compiling import device
from caffe2lrp.kernels.launch import F1, F2, Float, Int, kernel
from caffe2lrp.kernels.share import pieces_of, share

# Rows, and images of a batch, whose sums are formed together, in the registers of AVX-512. Each column of an image that
# is loaded counts for six rows: from the caches they come slower than they are multiplied.
_TILE = 6, 4
# Columns that are summed up before the sum of all: long sums round more, the more so where vectors are short and there
# are few partial sums.
_COLUMNS = 1024
# So many images' columns stay in the cache while the rows of the weights pass by; the longer the rows, the sooner the
# processor has what comes next.
_CACHED = 64
# To read a weight takes as long as so many multiplications.
_READING = 16


def pieces_of_rows(w: np.ndarray, images: int) -> int:
    """How many pieces to cut each thread's rows of the weights into, on the way there."""
    return pieces_of(w.size * max(_READING, images))


@device
def _next(s, t, j):  # type: ignore[no-untyped-def]
    """The first output from j on with relevance in any image, in s or t; the number of outputs if there is none."""
    zero = s.dtype.type(0)
    while j < s.shape[1]:
        for n in range(s.shape[0]):
            if s[n, j] != zero or t[n, j] != zero:
                return j
        j += 1
    return j


@device
def _next_four(s, t, j):  # type: ignore[no-untyped-def]
    """The first four such outputs: their sums of products are loaded and stored once for all."""
    j0 = _next(s, t, j)
    j1 = _next(s, t, j0 + 1)
    j2 = _next(s, t, j1 + 1)
    return j0, j1, j2, _next(s, t, j2 + 1)


@device
def _rows_of(w, j, first, last):  # type: ignore[no-untyped-def]
    """Columns of four rows; beyond the end it is the first of them once more, which does not count then."""
    j0, j1, j2, j3 = j
    n = w.shape[0]
    return (
        w[j0, first:last], w[j1 if j1 < n else j0, first:last], w[j2 if j2 < n else j0, first:last],
        w[j3 if j3 < n else j0, first:last],
    )  # fmt: skip


@device
def _factors_of(values, j):  # type: ignore[no-untyped-def]
    """Values at four places, zeros beyond the end."""
    zero, n = values.dtype.type(0), values.size
    j0, j1, j2, j3 = j
    return (
        values[j0], values[j1] if j1 < n else zero, values[j2] if j2 < n else zero, values[j3] if j3 < n else zero,
    )  # fmt: skip


@device
def _chunk(start, stop, images):  # type: ignore[no-untyped-def]
    """Columns at a time: all for a single image, else such that sums of all images stay in the cache."""
    return max(stop - start, 1) if images == 1 else _COLUMNS


@device
def _four_from(j, stop, rows):  # type: ignore[no-untyped-def]
    """Four rows from j on; the number of rows in place of those from `stop` on."""
    return j, j + 1 if j + 1 < stop else rows, j + 2 if j + 2 < stop else rows, j + 3 if j + 3 < stop else rows


@device
def _add_at(values, j, sums):  # type: ignore[no-untyped-def]
    """Add to the values at four places, of which only the first must be there."""
    j0, j1, j2, j3 = j
    s0, s1, s2, s3 = sums
    values[j0] += s0
    if j1 < values.size:
        values[j1] += s1
    if j2 < values.size:
        values[j2] += s2
    if j3 < values.size:
        values[j3] += s3


@device
def _sums(rows, x):  # type: ignore[no-untyped-def]
    """Sums of products of four rows, which are read side by side: fewer do not keep the memory busy."""
    w0, w1, w2, w3 = rows
    zero = x.dtype.type(0)
    s0, s1, s2, s3 = zero, zero, zero, zero
    for i in range(x.size):
        s0 += w0[i] * x[i]
        s1 += w1[i] * x[i]
        s2 += w2[i] * x[i]
        s3 += w3[i] * x[i]
    return s0, s1, s2, s3


@kernel
def inner_product(part: Int, parts: Int, w: F2, x: F2, bias: F1, y: F2, rectify: Int) -> None:
    """y[n, j] = sum_i w[j, i] x[n, i] + bias[j], and max(., 0) of it if `rectify`."""
    start, stop = share(w.shape[0], part, parts)
    zero = w.dtype.type(0)
    images = x.shape[0]
    tiled = images - images % _TILE[1]
    y[:, start:stop] = zero
    for j in range(start, stop, 4):
        four = _four_from(j, stop, w.shape[0])
        for n in range(tiled, images):
            for first in range(0, w.shape[1], _COLUMNS):
                last = min(first + _COLUMNS, w.shape[1])
                _add_at(y[n], four, _sums(_rows_of(w, four, first, last), x[n, first:last]))
    if tiled > 0:
        wide = _COLUMNS * max(_CACHED // images, 1)
        for begin in range(0, w.shape[1], wide):
            end = min(begin + wide, w.shape[1])
            for j in range(start, stop, _TILE[0]):
                for n in range(0, tiled, _TILE[1]):
                    for first in range(begin, end, _COLUMNS):
                        _add_tile(w, x, y, j, n, first, min(first + _COLUMNS, end), stop)
    for n in range(images):
        for j in range(start, stop):
            total = y[n, j] + bias[j]
            y[n, j] = zero if rectify != 0 and total < zero else total


@device
def _add_tile(w, x, y, j, n, first, last, stop):  # type: ignore[no-untyped-def]
    """Add the products of six rows and four images over some columns; rows from `stop` on are not stored."""
    w0, w1, w2, w3 = _rows_of(w, (j, j + 1, j + 2, j + 3), first, last)
    w4, w5, _, _ = _rows_of(w, (min(j + 4, stop - 1), j + 5, j + 5, j + 5), first, last)
    x0, x1, x2, x3 = x[n, first:last], x[n + 1, first:last], x[n + 2, first:last], x[n + 3, first:last]
    zero = w.dtype.type(0)
    s00, s01, s02, s03 = zero, zero, zero, zero
    s10, s11, s12, s13 = zero, zero, zero, zero
    s20, s21, s22, s23 = zero, zero, zero, zero
    s30, s31, s32, s33 = zero, zero, zero, zero
    s40, s41, s42, s43 = zero, zero, zero, zero
    s50, s51, s52, s53 = zero, zero, zero, zero
    for i in range(x0.size):
        a, b, c, d = x0[i], x1[i], x2[i], x3[i]
        s00, s01, s02, s03 = s00 + w0[i] * a, s01 + w0[i] * b, s02 + w0[i] * c, s03 + w0[i] * d
        s10, s11, s12, s13 = s10 + w1[i] * a, s11 + w1[i] * b, s12 + w1[i] * c, s13 + w1[i] * d
        s20, s21, s22, s23 = s20 + w2[i] * a, s21 + w2[i] * b, s22 + w2[i] * c, s23 + w2[i] * d
        s30, s31, s32, s33 = s30 + w3[i] * a, s31 + w3[i] * b, s32 + w3[i] * c, s33 + w3[i] * d
        s40, s41, s42, s43 = s40 + w4[i] * a, s41 + w4[i] * b, s42 + w4[i] * c, s43 + w4[i] * d
        s50, s51, s52, s53 = s50 + w5[i] * a, s51 + w5[i] * b, s52 + w5[i] * c, s53 + w5[i] * d
    _add_four(y, n, j, s00, s01, s02, s03)
    if j + 1 < stop:
        _add_four(y, n, j + 1, s10, s11, s12, s13)
    if j + 2 < stop:
        _add_four(y, n, j + 2, s20, s21, s22, s23)
    if j + 3 < stop:
        _add_four(y, n, j + 3, s30, s31, s32, s33)
    if j + 4 < stop:
        _add_four(y, n, j + 4, s40, s41, s42, s43)
    if j + 5 < stop:
        _add_four(y, n, j + 5, s50, s51, s52, s53)


@device
def _add_four(y, n, j, s0, s1, s2, s3):  # type: ignore[no-untyped-def]
    y[n, j] += s0
    y[n + 1, j] += s1
    y[n + 2, j] += s2
    y[n + 3, j] += s3


@kernel
def part_product(
    part: Int, parts: Int, w: F2, full: Float, positive: Float, square: Float, one: Float, x: F2, y: F2
) -> None:
    """y[n, j] += sum_i f(w[j, i]) x[n, i]."""
    start, stop = share(w.shape[0], part, parts)
    zero = w.dtype.type(0)
    for j in range(start, stop):
        for n in range(x.shape[0]):
            for first in range(0, w.shape[1], _COLUMNS):
                row, values = w[j, first : first + _COLUMNS], x[n, first : first + _COLUMNS]
                piece = zero
                for i in range(row.size):
                    value = row[i]
                    piece += (full * value + positive * max(value, zero) + square * value * value + one) * values[i]
                y[n, j] += piece


@kernel
def transposed_part_product(
    part: Int, parts: Int, w: F2, full: Float, positive: Float, square: Float, one: Float, s: F2, c: F2
) -> None:
    """c[n, i] = sum_j f(w[j, i]) s[n, j]; rows without relevance are not read."""
    start, stop = share(w.shape[1], part, parts)
    zero = w.dtype.type(0)
    c[:, start:stop] = zero
    step = _chunk(start, stop, s.shape[0])
    for first in range(start, stop, step):
        last = min(first + step, stop)
        four = _next_four(s, s, 0)
        while four[0] < w.shape[0]:
            w0, w1, w2, w3 = _rows_of(w, four, first, last)
            for n in range(s.shape[0]):
                s0, s1, s2, s3 = _factors_of(s[n], four)
                if s0 != zero or s1 != zero or s2 != zero or s3 != zero:
                    out = c[n, first:last]
                    for i in range(out.size):
                        out[i] += (
                            (full * w0[i] + positive * max(w0[i], zero) + square * w0[i] * w0[i] + one) * s0
                            + (full * w1[i] + positive * max(w1[i], zero) + square * w1[i] * w1[i] + one) * s1
                            + (full * w2[i] + positive * max(w2[i], zero) + square * w2[i] * w2[i] + one) * s2
                            + (full * w3[i] + positive * max(w3[i], zero) + square * w3[i] * w3[i] + one) * s3
                        )
            four = _next_four(s, s, four[3] + 1)


@kernel
def signed_product(part: Int, parts: Int, w: F2, x: F2, plus: F2, minus: F2) -> None:
    """plus[n, j] += sum of the positive w[j, i] x[n, i], minus[n, j] += sum of the negative ones."""
    start, stop = share(w.shape[0], part, parts)
    for j in range(start, stop, 4):
        four = _four_from(j, stop, w.shape[0])
        for n in range(x.shape[0]):
            for first in range(0, w.shape[1], _COLUMNS):
                last = min(first + _COLUMNS, w.shape[1])
                above, below = _signed_sums(_rows_of(w, four, first, last), x[n, first:last])
                _add_at(plus[n], four, above)
                _add_at(minus[n], four, below)


@device
def _signed_sums(rows, x):  # type: ignore[no-untyped-def]
    """Sums of the positive and of the negative products of four rows, which are read side by side."""
    w0, w1, w2, w3 = rows
    zero = x.dtype.type(0)
    p0, p1, p2, p3 = zero, zero, zero, zero
    m0, m1, m2, m3 = zero, zero, zero, zero
    for i in range(x.size):
        a, b, c, d = w0[i] * x[i], w1[i] * x[i], w2[i] * x[i], w3[i] * x[i]
        p0, p1, p2, p3 = p0 + max(a, zero), p1 + max(b, zero), p2 + max(c, zero), p3 + max(d, zero)
        m0, m1, m2, m3 = m0 + min(a, zero), m1 + min(b, zero), m2 + min(c, zero), m3 + min(d, zero)
    return (p0, p1, p2, p3), (m0, m1, m2, m3)


@kernel
def signed_relevance(part: Int, parts: Int, w: F2, x: F2, s_plus: F2, s_minus: F2, r: F2) -> None:
    """r[n, i] = sum_j (w x)+ s_plus[n, j] + (w x)- s_minus[n, j]; rows without relevance are not read."""
    start, stop = share(w.shape[1], part, parts)
    zero = w.dtype.type(0)
    r[:, start:stop] = zero
    step = _chunk(start, stop, x.shape[0])
    for first in range(start, stop, step):
        last = min(first + step, stop)
        four = _next_four(s_plus, s_minus, 0)
        while four[0] < w.shape[0]:
            w0, w1, w2, w3 = _rows_of(w, four, first, last)
            for n in range(x.shape[0]):
                a0, a1, a2, a3 = _factors_of(s_plus[n], four)
                b0, b1, b2, b3 = _factors_of(s_minus[n], four)
                above = a0 != zero or a1 != zero or a2 != zero or a3 != zero
                if above or b0 != zero or b1 != zero or b2 != zero or b3 != zero:
                    value, out = x[n, first:last], r[n, first:last]
                    for i in range(out.size):
                        t0, t1, t2, t3 = w0[i] * value[i], w1[i] * value[i], w2[i] * value[i], w3[i] * value[i]
                        out[i] += (
                            max(t0, zero) * a0 + min(t0, zero) * b0 + max(t1, zero) * a1 + min(t1, zero) * b1
                            + max(t2, zero) * a2 + min(t2, zero) * b2 + max(t3, zero) * a3 + min(t3, zero) * b3
                        )  # fmt: skip
            four = _next_four(s_plus, s_minus, four[3] + 1)
