"""Rows of an array, looked up by indices that are held as floating-point numbers: Embed, BatchReindex and Filter.

`bad` is a flag: 1 + the place of an index that is no whole number or lies outside, else 0 as before the call.
"""

from __future__ import annotations

from caffe2lrp.kernels.launch import F1, F2, I1, Int, kernel
from caffe2lrp.kernels.share import share


@kernel
def look_up(part: Int, parts: Int, x: F2, index: F1, y: F2, bad: I1) -> None:
    """y[n] = x[index[n]]."""
    start, stop = share(index.size, part, parts)
    for n in range(start, stop):
        inside = index[n] >= 0 and index[n] < x.shape[0]  # false for NaN, too
        row = int(index[n]) if inside else 0
        if not inside or row != index[n]:
            bad[0] = n + 1
        for i in range(x.shape[1]):
            y[n, i] = x[row, i]


@kernel
def add_to_rows(part: Int, parts: Int, x: F1, y: F2) -> None:
    """y[n] += x."""
    start, stop = share(y.shape[0], part, parts)
    for n in range(start, stop):
        for i in range(y.shape[1]):
            y[n, i] += x[i]


@kernel
def sum_rows(part: Int, parts: Int, r: F2, index: F1, r_in: F2) -> None:
    """r_in[m] = the sum of the r[n] with index[n] = m."""
    start, stop = share(r_in.shape[0], part, parts)
    zero = r.dtype.type(0)
    for m in range(start, stop):
        for i in range(r.shape[1]):
            r_in[m, i] = zero
        for n in range(r.shape[0]):
            if index[n] == m:
                for i in range(r.shape[1]):
                    r_in[m, i] += r[n, i]


@kernel
def weighted_rows(part: Int, parts: Int, x: F2, index: F1, s: F2, r_in: F1) -> None:
    """r_in[n] = the sum of x[index[n]] s[n]."""
    start, stop = share(index.size, part, parts)
    for n in range(start, stop):
        row = int(index[n])
        total = x.dtype.type(0)
        for i in range(x.shape[1]):
            total += x[row, i] * s[n, i]
        r_in[n] = total


@kernel
def all_chosen(part: Int, parts: Int, selector: F1, bad: I1) -> None:
    """Set `bad` to 1 + the place of a selector that is 0."""
    if part == 0:
        for n in range(selector.size):
            if selector[n] == 0:
                bad[0] = n + 1
