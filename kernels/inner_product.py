"""Fully connected layers. At batch 1 they are bound by reading the weights, which is done once per pass.

`Part` numbers (see `caffe2lrp.rules`) choose which part of a weight takes part in a product:
f(w) = full * w + positive * max(w, 0) + square * w^2 + one. They are formed in registers.
"""

from __future__ import annotations

from caffe2lrp.kernels.launch import F1, F2, Float, Int, kernel
from caffe2lrp.kernels.share import share


@kernel
def inner_product(part: Int, parts: Int, w: F2, x: F2, bias: F1, y: F2, rectify: Int) -> None:
    """y[n, j] = sum_i w[j, i] x[n, i] + bias[j], and max(., 0) of it if `rectify`."""
    start, stop = share(w.shape[0], part, parts)
    zero = w.dtype.type(0)
    for j in range(start, stop):
        for n in range(x.shape[0]):
            total = zero
            for i in range(w.shape[1]):
                total += w[j, i] * x[n, i]
            total += bias[j]
            y[n, j] = zero if rectify != 0 and total < zero else total


@kernel
def part_product(
    part: Int, parts: Int, w: F2, full: Float, positive: Float, square: Float, one: Float, x: F2, y: F2
) -> None:
    """y[n, j] += sum_i f(w[j, i]) x[n, i]."""
    start, stop = share(w.shape[0], part, parts)
    zero = w.dtype.type(0)
    for j in range(start, stop):
        for n in range(x.shape[0]):
            total = zero
            for i in range(w.shape[1]):
                value = w[j, i]
                total += (full * value + positive * max(value, zero) + square * value * value + one) * x[n, i]
            y[n, j] += total


@kernel
def transposed_part_product(
    part: Int, parts: Int, w: F2, full: Float, positive: Float, square: Float, one: Float, s: F2, c: F2
) -> None:
    """c[n, i] = sum_j f(w[j, i]) s[n, j]; outputs without relevance are not read."""
    start, stop = share(w.shape[1], part, parts)
    zero = w.dtype.type(0)
    for n in range(s.shape[0]):
        for i in range(start, stop):
            c[n, i] = zero
        for j in range(w.shape[0]):
            factor = s[n, j]
            if factor != zero:
                for i in range(start, stop):
                    value = w[j, i]
                    c[n, i] += (full * value + positive * max(value, zero) + square * value * value + one) * factor


@kernel
def signed_product(part: Int, parts: Int, w: F2, x: F2, plus: F2, minus: F2) -> None:
    """plus[n, j] += sum of the positive w[j, i] x[n, i], minus[n, j] += sum of the negative ones."""
    start, stop = share(w.shape[0], part, parts)
    zero = w.dtype.type(0)
    for j in range(start, stop):
        for n in range(x.shape[0]):
            above, below = zero, zero
            for i in range(w.shape[1]):
                product = w[j, i] * x[n, i]
                above += max(product, zero)
                below += min(product, zero)
            plus[n, j] += above
            minus[n, j] += below


@kernel
def signed_relevance(part: Int, parts: Int, w: F2, x: F2, s_plus: F2, s_minus: F2, r: F2) -> None:
    """r[n, i] = sum_j (w x)+ s_plus[n, j] + (w x)- s_minus[n, j]; outputs without relevance are not read."""
    start, stop = share(w.shape[1], part, parts)
    zero = w.dtype.type(0)
    for n in range(x.shape[0]):
        for i in range(start, stop):
            r[n, i] = zero
        for j in range(w.shape[0]):
            above, below = s_plus[n, j], s_minus[n, j]
            if above != zero or below != zero:
                for i in range(start, stop):
                    product = w[j, i] * x[n, i]
                    r[n, i] += max(product, zero) * above + min(product, zero) * below
