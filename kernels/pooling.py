"""Maximum and average pooling over images (planes, H, W), and their relevance.

A window is (top, left) = output position * stride - pad and kernel size, clipped to the image.
"""

from __future__ import annotations

from caffe2lrp.kernels.launch import F2, F3, Float, Int, kernel
from caffe2lrp.kernels.share import share


@kernel
def max_pooling(
    part: Int, parts: Int, x: F3, y: F3, room: F2, kh: Int, kw: Int, sy: Int, sx: Int, py: Int, px: Int
) -> None:
    """y = largest value of each window; a NaN is passed over, as in Caffe.

    First down the columns of a window row, then along it: both run over whole rows of pixels. A row of
    `room` for each thread holds the image row with the padding and overhang that windows reach into.
    """
    start, stop = share(y.shape[0] * y.shape[1], part, parts)
    lowest = -x.dtype.type(3.4028234663852886e38)  # Caffe starts from -FLT_MAX, in double precision too
    wide = room[part]
    wide[:] = lowest
    row = wide[px : px + x.shape[2]]
    for unit in range(start, stop):
        c, oy = unit // y.shape[1], unit % y.shape[1]
        row[:] = lowest
        for iy in range(max(oy * sy - py, 0), min(oy * sy - py + kh, x.shape[1])):
            source = x[c, iy]
            for ix in range(row.size):
                row[ix] = source[ix] if source[ix] > row[ix] else row[ix]
        out = y[c, oy]
        if kw == 3 and sx == 2:
            for ox in range(out.size):
                a, b, d = wide[2 * ox], wide[2 * ox + 1], wide[2 * ox + 2]
                a = b if b > a else a
                out[ox] = d if d > a else a
        elif kw == 3 and sx == 1:
            for ox in range(out.size):
                a, b, d = wide[ox], wide[ox + 1], wide[ox + 2]
                a = b if b > a else a
                out[ox] = d if d > a else a
        else:
            for ox in range(out.size):
                best = lowest
                for kx in range(kw):
                    value = wide[ox * sx + kx]
                    best = value if value > best else best
                out[ox] = best


def row_length(width: int, out_width: int, kw: int, sx: int, px: int) -> int:
    """Length of the row of `max_pooling`: whatever the windows reach."""
    return max(px + width, (out_width - 1) * sx + kw)


@kernel
def max_pooling_relevance(
    part: Int, parts: Int, x: F3, y: F3, r: F3, r_in: F3, kh: Int, kw: Int, sy: Int, sx: Int, py: Int, px: Int
) -> None:
    """All relevance of a window goes to its first maximum in row-major order, which is found again here."""
    start, stop = share(y.shape[0], part, parts)
    zero = x.dtype.type(0)
    for c in range(start, stop):
        for iy in range(x.shape[1]):
            for ix in range(x.shape[2]):
                r_in[c, iy, ix] = zero
        for oy in range(y.shape[1]):
            top, bottom = max(oy * sy - py, 0), min(oy * sy - py + kh, x.shape[1])
            for ox in range(y.shape[2]):
                value = r[c, oy, ox]
                if value == zero:
                    continue
                left, right = max(ox * sx - px, 0), min(ox * sx - px + kw, x.shape[2])
                highest = y[c, oy, ox]
                found = False
                for iy in range(top, bottom):
                    for ix in range(left, right):
                        if x[c, iy, ix] == highest:
                            r_in[c, iy, ix] += value
                            found = True
                            break
                    if found:
                        break


@kernel
def average_pooling(part: Int, parts: Int, x: F3, y: F3, kh: Int, kw: Int, sy: Int, sx: Int, py: Int, px: Int) -> None:
    """y = sum over the window / size of the window clipped to the padded image."""
    start, stop = share(y.shape[0] * y.shape[1], part, parts)
    for row in range(start, stop):
        c, oy = row // y.shape[1], row % y.shape[1]
        top, bottom = oy * sy - py, min(oy * sy - py + kh, x.shape[1] + py)
        for ox in range(y.shape[2]):
            left, right = ox * sx - px, min(ox * sx - px + kw, x.shape[2] + px)
            total = x.dtype.type(0)
            for iy in range(max(top, 0), min(bottom, x.shape[1])):
                for ix in range(max(left, 0), min(right, x.shape[2])):
                    total += x[c, iy, ix]
            y[c, oy, ox] = total / x.dtype.type((bottom - top) * (right - left))


@kernel
def average_pooling_relevance(
    part: Int, parts: Int, x: F3, r: F3, r_in: F3,
    kh: Int, kw: Int, sy: Int, sx: Int, py: Int, px: Int, least: Float, spread: Int,
) -> None:  # fmt: skip
    """Relevance in proportion to the inputs of each window (the z-rule for equal weights).

    Windows whose sum is not larger than `least` in size pass nothing; with `spread` they add the
    inputs themselves, as the LRP Toolbox does.
    """
    start, stop = share(r.shape[0], part, parts)
    zero = x.dtype.type(0)
    for c in range(start, stop):
        for iy in range(x.shape[1]):
            for ix in range(x.shape[2]):
                r_in[c, iy, ix] = zero
        for oy in range(r.shape[1]):
            top, bottom = max(oy * sy - py, 0), min(oy * sy - py + kh, x.shape[1])
            for ox in range(r.shape[2]):
                left, right = max(ox * sx - px, 0), min(ox * sx - px + kw, x.shape[2])
                total = zero
                for iy in range(top, bottom):
                    for ix in range(left, right):
                        total += x[c, iy, ix]
                if abs(total) > least:
                    factor = r[c, oy, ox] / total
                elif spread != 0:
                    factor = x.dtype.type(1)
                else:
                    factor = zero
                if factor != zero:
                    for iy in range(top, bottom):
                        for ix in range(left, right):
                            r_in[c, iy, ix] += factor * x[c, iy, ix]


@kernel
def average_pooling_gradient(
    part: Int, parts: Int, r: F3, r_in: F3, kh: Int, kw: Int, sy: Int, sx: Int, py: Int, px: Int
) -> None:
    """Each cell of a window gets the window's value divided by its size."""
    start, stop = share(r.shape[0], part, parts)
    for c in range(start, stop):
        r_in[c] = 0
        for oy in range(r.shape[1]):
            top, bottom = oy * sy - py, min(oy * sy - py + kh, r_in.shape[1] + py)
            for ox in range(r.shape[2]):
                left, right = ox * sx - px, min(ox * sx - px + kw, r_in.shape[2] + px)
                value = r[c, oy, ox] / r.dtype.type((bottom - top) * (right - left))
                for iy in range(max(top, 0), min(bottom, r_in.shape[1])):
                    for ix in range(max(left, 0), min(right, r_in.shape[2])):
                        r_in[c, iy, ix] += value


@kernel
def pooling_mask(
    part: Int, parts: Int, x: F3, y: F3, mask: F3, kh: Int, kw: Int, sy: Int, sx: Int, py: Int, px: Int
) -> None:
    """mask = pixel (row-major number) of the first value of each window that equals its maximum y; -1 if none does."""
    start, stop = share(y.shape[0] * y.shape[1], part, parts)
    for unit in range(start, stop):
        c, oy = unit // y.shape[1], unit % y.shape[1]
        top, bottom = max(oy * sy - py, 0), min(oy * sy - py + kh, x.shape[1])
        for ox in range(y.shape[2]):
            left, right = max(ox * sx - px, 0), min(ox * sx - px + kw, x.shape[2])
            place = -1
            for iy in range(top, bottom):
                for ix in range(left, right):
                    if place < 0 and x[c, iy, ix] == y[c, oy, ox]:
                        place = iy * x.shape[2] + ix
            mask[c, oy, ox] = place
