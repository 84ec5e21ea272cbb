"""Pooling over windows that are listed, whatever the number of axes; all arrays are (planes, places).

The cells of window j are ``cells[starts[j] : starts[j + 1]]``, in row-major order (`selection.Selection`).
"""

from __future__ import annotations

from caffe2lrp.kernels.launch import F1, F2, I1, Int, kernel
from caffe2lrp.kernels.share import share


@kernel
def window_max(part: Int, parts: Int, x: F2, starts: I1, cells: I1, y: F2) -> None:
    """y = largest value of each window; a NaN is passed over, as in Caffe."""
    start, stop = share(y.shape[0] * y.shape[1], part, parts)
    lowest = -x.dtype.type(3.4028234663852886e38)  # Caffe starts from -FLT_MAX, in double precision too
    for unit in range(start, stop):
        c, j = unit // y.shape[1], unit % y.shape[1]
        best = lowest
        for k in range(starts[j], starts[j + 1]):
            value = x[c, cells[k]]
            best = value if value > best else best
        y[c, j] = best


@kernel
def window_max_relevance(part: Int, parts: Int, x: F2, y: F2, r: F2, starts: I1, cells: I1, r_in: F2) -> None:
    """All relevance of a window goes to its first maximum."""
    start, stop = share(r.shape[0], part, parts)
    for c in range(start, stop):
        r_in[c] = 0
        for j in range(r.shape[1]):
            for k in range(starts[j], starts[j + 1]):
                if x[c, cells[k]] == y[c, j]:
                    r_in[c, cells[k]] += r[c, j]
                    break


@kernel
def window_average(part: Int, parts: Int, x: F2, starts: I1, cells: I1, divisor: F1, y: F2) -> None:
    """y = sum over the window / divisor."""
    start, stop = share(y.shape[0] * y.shape[1], part, parts)
    for unit in range(start, stop):
        c, j = unit // y.shape[1], unit % y.shape[1]
        total = x.dtype.type(0)
        for k in range(starts[j], starts[j + 1]):
            total += x[c, cells[k]]
        y[c, j] = total / divisor[j]


@kernel
def window_average_relevance(part: Int, parts: Int, x: F2, r: F2, starts: I1, cells: I1, r_in: F2) -> None:
    """Relevance in proportion to the values of each window; a window whose sum is 0 passes nothing."""
    start, stop = share(r.shape[0], part, parts)
    zero = x.dtype.type(0)
    for c in range(start, stop):
        r_in[c] = 0
        for j in range(r.shape[1]):
            total = zero
            for k in range(starts[j], starts[j + 1]):
                total += x[c, cells[k]]
            factor = r[c, j] / total if total != zero else zero
            for k in range(starts[j], starts[j + 1]):
                r_in[c, cells[k]] += factor * x[c, cells[k]]


@kernel
def window_average_gradient(part: Int, parts: Int, r: F2, starts: I1, cells: I1, divisor: F1, r_in: F2) -> None:
    """Each cell of a window gets the window's value divided by its divisor."""
    start, stop = share(r.shape[0], part, parts)
    for c in range(start, stop):
        r_in[c] = 0
        for j in range(r.shape[1]):
            for k in range(starts[j], starts[j + 1]):
                r_in[c, cells[k]] += r[c, j] / divisor[j]


@kernel
def window_expectation(part: Int, parts: Int, x: F2, starts: I1, cells: I1, y: F2) -> None:
    """y = sum of x^2 / sum of x over the window, 0 where the sum is not positive (Caffe's stochastic pooling)."""
    start, stop = share(y.shape[0] * y.shape[1], part, parts)
    zero = x.dtype.type(0)
    for unit in range(start, stop):
        c, j = unit // y.shape[1], unit % y.shape[1]
        total, squares = zero, zero
        for k in range(starts[j], starts[j + 1]):
            value = x[c, cells[k]]
            total += value
            squares += value * value
        y[c, j] = squares / total if total > zero else zero


@kernel
def window_expectation_relevance(part: Int, parts: Int, x: F2, r: F2, starts: I1, cells: I1, r_in: F2) -> None:
    """Relevance in proportion to the squares; a window whose sum is not positive passes nothing."""
    start, stop = share(r.shape[0], part, parts)
    zero = x.dtype.type(0)
    for c in range(start, stop):
        r_in[c] = 0
        for j in range(r.shape[1]):
            total, squares = zero, zero
            for k in range(starts[j], starts[j + 1]):
                value = x[c, cells[k]]
                total += value
                squares += value * value
            if total > zero and squares > zero:
                for k in range(starts[j], starts[j + 1]):
                    r_in[c, cells[k]] += r[c, j] / squares * x[c, cells[k]] * x[c, cells[k]]


@kernel
def window_expectation_gradient(part: Int, parts: Int, x: F2, y: F2, r: F2, starts: I1, cells: I1, r_in: F2) -> None:
    """dy/dx_k = (2 x_k - y) / sum of x."""
    start, stop = share(r.shape[0], part, parts)
    zero = x.dtype.type(0)
    for c in range(start, stop):
        r_in[c] = 0
        for j in range(r.shape[1]):
            total = zero
            for k in range(starts[j], starts[j + 1]):
                total += x[c, cells[k]]
            if total > zero:
                for k in range(starts[j], starts[j + 1]):
                    value = x[c, cells[k]]
                    r_in[c, cells[k]] += r[c, j] * (value + value - y[c, j]) / total
