"""Axes of an array in another order."""

from __future__ import annotations

from caffe2lrp.kernels.launch import F1, I2, Int, kernel
from caffe2lrp.kernels.share import share


@kernel
def permute(part: Int, parts: Int, x: F1, y: F1, table: I2) -> None:
    """y = x with its axes in another order, both flat.

    A row of `table` for each axis of y: its size, and how far apart its values lie in x.
    """
    last = table.shape[0] - 1
    length, step = table[last, 0], table[last, 1]
    start, stop = share(y.size // length, part, parts)
    for row in range(start, stop):
        source, rest = 0, row
        for axis in range(last - 1, -1, -1):
            source += rest % table[axis, 0] * table[axis, 1]
            rest //= table[axis, 0]
        for i in range(length):
            y[row * length + i] = x[source + i * step]
