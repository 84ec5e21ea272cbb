"""Larger images (planes, H, W): by the mask of a pooling layer, by repeating pixels, and bilinear; and back."""

from __future__ import annotations

from caffe2lrp.kernels.launch import F1, F3, I2, Int, kernel
from caffe2lrp.kernels.share import share


@kernel
def unpool(part: Int, parts: Int, x: F3, mask: F3, y: F3) -> None:
    """y = 0, and x at the pixel that its mask names; of several the last counts."""
    start, stop = share(y.shape[0], part, parts)
    for c in range(start, stop):
        y[c] = 0
        for iy in range(x.shape[1]):
            for ix in range(x.shape[2]):
                place = int(mask[c, iy, ix])
                if 0 <= place < y.shape[1] * y.shape[2]:
                    y[c, place // y.shape[2], place % y.shape[2]] = x[c, iy, ix]


@kernel
def unpool_back(part: Int, parts: Int, mask: F3, r: F3, room: F3, r_in: F3) -> None:
    """r_in = r at the pixel that the mask names, for the value that it came from; `room` is as large as r."""
    start, stop = share(r.shape[0], part, parts)
    for c in range(start, stop):
        for y in range(r.shape[1]):
            for x in range(r.shape[2]):
                room[c, y, x] = r[c, y, x]
        for iy in range(r_in.shape[1] - 1, -1, -1):
            for ix in range(r_in.shape[2] - 1, -1, -1):
                place = int(mask[c, iy, ix])
                r_in[c, iy, ix] = 0
                if 0 <= place < r.shape[1] * r.shape[2]:
                    y, x = place // r.shape[2], place % r.shape[2]
                    r_in[c, iy, ix] = room[c, y, x]
                    room[c, y, x] = 0


@kernel
def repeat(part: Int, parts: Int, x: F3, y: F3, sy: Int, sx: Int) -> None:
    """y = each pixel of x, sy times sx times."""
    start, stop = share(y.shape[0] * y.shape[1], part, parts)
    for row in range(start, stop):
        c, oy = row // y.shape[1], row % y.shape[1]
        for ix in range(x.shape[2]):
            value = x[c, oy // sy, ix]
            for k in range(sx):
                y[c, oy, ix * sx + k] = value


@kernel
def repeat_back(part: Int, parts: Int, r: F3, r_in: F3, sy: Int, sx: Int) -> None:
    """r_in = the sum of r over the copies of each pixel."""
    start, stop = share(r_in.shape[0] * r_in.shape[1], part, parts)
    for row in range(start, stop):
        c, iy = row // r_in.shape[1], row % r_in.shape[1]
        for ix in range(r_in.shape[2]):
            total = r.dtype.type(0)
            for ky in range(sy):
                for kx in range(sx):
                    total += r[c, iy * sy + ky, ix * sx + kx]
            r_in[c, iy, ix] = total


@kernel
def interpolate(part: Int, parts: Int, x: F3, y: F3, rows: I2, below: F1, columns: I2, beside: F1) -> None:
    """y = x between its pixels.

    Row p of y lies at the part below[p] of the way between the two rows[p] of x; columns alike.
    """
    start, stop = share(y.shape[0] * y.shape[1], part, parts)
    one = x.dtype.type(1)
    for row in range(start, stop):
        c, oy = row // y.shape[1], row % y.shape[1]
        v = below[oy]
        upper, lower = x[c, rows[oy, 0]], x[c, rows[oy, 1]]
        for ox in range(y.shape[2]):
            u, i, j = beside[ox], columns[ox, 0], columns[ox, 1]
            y[c, oy, ox] = (one - v) * ((one - u) * upper[i] + u * upper[j]) + v * ((one - u) * lower[i] + u * lower[j])


@kernel
def interpolate_back(part: Int, parts: Int, r: F3, r_in: F3, rows: I2, below: F1, columns: I2, beside: F1) -> None:
    """r_in = the transposed product of `interpolate`."""
    start, stop = share(r.shape[0], part, parts)
    one = r.dtype.type(1)
    for c in range(start, stop):
        r_in[c] = 0
        for oy in range(r.shape[1]):
            v = below[oy]
            upper, lower = r_in[c, rows[oy, 0]], r_in[c, rows[oy, 1]]
            for ox in range(r.shape[2]):
                u, i, j = beside[ox], columns[ox, 0], columns[ox, 1]
                value = r[c, oy, ox]
                upper[i] += (one - v) * (one - u) * value
                upper[j] += (one - v) * u * value
                lower[i] += v * (one - u) * value
                lower[j] += v * u * value
