"""Maximum and average pooling over images (planes, H, W), and their relevance.

A window is (top, left) = output position * stride - pad and kernel size, clipped to the image.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from caffe2lrp.kernels.compiling import device
from caffe2lrp.kernels.flat import flat
from caffe2lrp.kernels.launch import F2, F3, Float, Int, kernel
from caffe2lrp.kernels.rows import copy_row
from caffe2lrp.kernels.share import share
from caffe2lrp.kernels.windows import LOWEST, find_maxima, pass_to_maxima

# Values of an image, with its padding, that one thread takes at a time: they stay in its cache.
_BAND = 4096
_LONG_ROW = 48
# To pool a value, and to lead relevance back to it, takes as long as so many multiplications.
POOLING, LEADING_BACK = 16, 32


@dataclass(frozen=True)
class Bands:
    """How maximum pooling cuts images into bands: `height` rows of windows, which see `rows` of `pitch` values."""

    height: int
    count: int
    rows: int
    pitch: int

    @property
    def room(self) -> int:
        """Values of a band."""
        return self.rows * self.pitch


def bands_of(x: np.ndarray, y: np.ndarray, window: tuple[int, ...], whole: bool = False) -> Bands:
    """Bands for images (planes, H, W) and (kernel, stride, padding); `whole` images are not cut."""
    kh, kw, sy, sx, py, px = window
    pitch = max(px + x.shape[2], (y.shape[2] - 1) * sx + kw)
    height = y.shape[1] if whole else min(max((_BAND // pitch - kh) // sy + 1, 1), y.shape[1])
    rows = (height - 1) * sy + kh
    return Bands(height, -(-y.shape[1] // height), max(rows, py + x.shape[1]) if whole else rows, pitch)


@device
def _set_all(values, value):  # type: ignore[no-untyped-def]
    for i in range(values.size):
        values[i] = value


@device
def _copy(source, values):  # type: ignore[no-untyped-def]
    for i in range(values.size):
        values[i] = source[i]


@device
def _spread(source, at, n, step, values, start):  # type: ignore[no-untyped-def]
    """Copy n values to each `step`-th place from `start` on."""
    if step == 1:
        copy_row(source, at, values, start, n)
    else:
        for i in range(n):
            values[start + i * step] = source[at + i]


@device
def _keep_larger(values, others):  # type: ignore[no-untyped-def]
    for i in range(values.size):
        values[i] = others[i] if others[i] > values[i] else values[i]


@device
def _keep_largest_of_three(first, second, third, lowest, values):  # type: ignore[no-untyped-def]
    """The same for three at once, from the lowest value on."""
    for i in range(values.size):
        value = first[i] if first[i] > lowest else lowest
        value = second[i] if second[i] > value else value
        values[i] = third[i] if third[i] > value else value


@device
def _keep_largest_of_next(values, found):  # type: ignore[no-untyped-def]
    """The largest of three neighbours at every second place, where windows of most networks start."""
    for i in range(found.size):
        value = values[2 * i]
        value = values[2 * i + 1] if values[2 * i + 1] > value else value
        found[i] = values[2 * i + 2] if values[2 * i + 2] > value else value


@device
def _mark(places, values, wanted, cell):  # type: ignore[no-untyped-def]
    """Note a cell as the place of the windows whose maximum it is."""
    for i in range(places.size):
        places[i] = cell if values[i] == wanted[i] else places[i]


@device
def _mark_three(places, values, wanted, cell):  # type: ignore[no-untyped-def]
    """The same for a cell and the two to its right; the leftmost counts."""
    one = places.dtype.type(1)
    second, third = values[1:], values[2:]
    for i in range(places.size):
        place = cell + one + one if third[i] == wanted[i] else places[i]
        place = cell + one if second[i] == wanted[i] else place
        places[i] = cell if values[i] == wanted[i] else place


@device
def _collect(sums, places, given, cell):  # type: ignore[no-untyped-def]
    """Add what is given to the windows that have their place in a cell."""
    zero = sums.dtype.type(0)
    for i in range(places.size):
        sums[i] += given[i] if places[i] == cell else zero


@device
def _collect_three(sums, places, given, cell):  # type: ignore[no-untyped-def]
    """The same for a cell and the two to its right; `places` and `given` start two windows earlier."""
    zero, one = sums.dtype.type(0), sums.dtype.type(1)
    middle, first = places[1:], places[2:]
    given_middle, given_first = given[1:], given[2:]
    for i in range(sums.size):
        total = given_first[i] if first[i] == cell else zero
        total += given_middle[i] if middle[i] == cell + one else zero
        sums[i] += total + (given[i] if places[i] == cell + one + one else zero)


@device
def _fill_band(x, height, width, top, px, pitch, band):  # type: ignore[no-untyped-def]
    """Copy the rows of an image from `top` on into a band, which is set to what is to lie around them."""
    for y in range(max(top, 0), min(top + band.size // pitch, height)):
        copy_row(x, y * width, band, (y - top) * pitch + px, width)


@device
def _down_columns(x, height, width, top, kh, px, lowest, line):  # type: ignore[no-untyped-def]
    """Maxima of `kh` rows of an image from `top` on, into a line with padding."""
    for i in range(px):
        line[i] = lowest
    for i in range(px + width, line.size):
        line[i] = lowest
    values = line[px : px + width]
    if kh == 3 and top >= 0 and top + 3 <= height:
        first = x[top * width :]
        _keep_largest_of_three(first, first[width:], first[2 * width :], lowest, values)
        return
    _set_all(values, lowest)
    for iy in range(max(top, 0), min(top + kh, height)):
        _keep_larger(values, x[iy * width : (iy + 1) * width])


@kernel
def max_pooling(
    part: Int, parts: Int, x: F3, y: F3, room: F2, height: Int, count: Int, rows: Int, pitch: Int,
    kh: Int, kw: Int, sy: Int, sx: Int, py: Int, px: Int,
) -> None:  # fmt: skip
    """y = largest value of each window; a NaN is passed over, as in Caffe.

    For a band of the image (see `Bands`) maxima are taken down the columns, then along the rows at every place, in long
    runs; windows are found where they start. Down the columns it is a long run, too, over the band laid out with its
    padding; long rows of windows with a stride are taken one by one instead.
    """
    start, stop = share(y.shape[0] * count, part, parts)
    lowest = x.dtype.type(LOWEST)
    height_in, width_in = x.shape[1], x.shape[2]
    by_rows = sy > 1 and width_in >= _LONG_ROW
    step = 1 if by_rows else sy
    n = ((height - 1) * step + 1) * pitch
    band, down = room[part, : rows * pitch], room[part, rows * pitch : rows * pitch + n]
    along = band[: n - kw + 1]
    for unit in range(start, stop):
        c, first = unit // count, unit % count * height
        last = min(first + height, y.shape[1])
        image, out = flat(x[c]), flat(y[c])
        if by_rows:
            for oy in range(first, last):
                line = down[(oy - first) * pitch : (oy - first + 1) * pitch]
                _down_columns(image, height_in, width_in, oy * sy - py, kh, px, lowest, line)
        else:
            _set_all(band, lowest)
            _fill_band(image, height_in, width_in, first * sy - py, px, pitch, band)
            if kh == 3:
                _keep_largest_of_three(band, band[pitch:], band[2 * pitch :], lowest, down)
            else:
                _set_all(down, lowest)
                for ky in range(kh):
                    _keep_larger(down, band[ky * pitch : ky * pitch + n])
        if kw == 3 and sx == 2:
            for oy in range(first, last):
                at = oy * y.shape[2]
                _keep_largest_of_next(down[(oy - first) * step * pitch :], out[at : at + y.shape[2]])
            continue
        if kw == 3:
            _keep_largest_of_three(down, down[1:], down[2:], lowest, along)
        else:
            _copy(down, along)
            for kx in range(1, kw):
                _keep_larger(along, down[kx : kx + along.size])
        for oy in range(first, last):
            found, at = (oy - first) * step * pitch, oy * y.shape[2]
            if sx == 1:
                copy_row(along, found, out, at, y.shape[2])
            else:
                for ox in range(y.shape[2]):
                    out[at + ox] = along[found + ox * sx]


@kernel
def max_pooling_of_few(
    part: Int, parts: Int, x: F3, y: F3, kernel: Int, stride: Int, py: Int, px: Int, lanes: Int
) -> None:
    """The same for the windows of `windows.has_windows`, where lanes of a vector can be left out."""
    start, stop = share(y.shape[0], part, parts)
    height, width, rows, columns = x.shape[1], x.shape[2], y.shape[1], y.shape[2]
    source, out = flat(x), flat(y)
    for c in range(start, stop):
        at, to = c * height * width, c * rows * columns
        find_maxima(kernel, stride, source, at, height, width, -py, -px, out, to, rows, columns, lanes)


@kernel
def max_pooling_relevance(
    part: Int, parts: Int, x: F3, y: F3, r: F3, r_in: F3, kh: Int, kw: Int, sy: Int, sx: Int, py: Int, px: Int
) -> None:
    """All relevance of a window goes to its first maximum in row-major order, which is searched for in each window."""
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
def max_pooling_relevance_of_few(
    part: Int, parts: Int, x: F3, y: F3, r: F3, r_in: F3, kernel: Int, stride: Int, py: Int, px: Int, lanes: Int
) -> None:
    """The same for the windows of `windows.has_windows`, where lanes of a vector can be left out."""
    start, stop = share(y.shape[0], part, parts)
    height, width, rows, columns = x.shape[1], x.shape[2], y.shape[1], y.shape[2]
    source, highest, given, back = flat(x), flat(y), flat(r), flat(r_in)
    for c in range(start, stop):
        at, to = c * height * width, c * rows * columns
        _set_all(back[at : at + height * width], x.dtype.type(0))
        pass_to_maxima(
            kernel, stride, source, at, height, width, -py, -px, highest, given, to, rows, columns, back, lanes
        )


# Cells up to which `max_pooling_relevance_by_runs` is faster, and values that it takes in one run.
FEW_CELLS = 16
_RUN = 512


def run_height(pitch: int, sy: int) -> int:
    """Rows of windows that `max_pooling_relevance_by_runs` takes together."""
    return max(_RUN // pitch, 1) if sy == 1 else 1


@kernel
def max_pooling_relevance_by_runs(
    part: Int, parts: Int, x: F3, y: F3, r: F3, r_in: F3, room: F2, height: Int, rows: Int, pitch: Int,
    kh: Int, kw: Int, sy: Int, sx: Int, py: Int, px: Int,
) -> None:  # fmt: skip
    """The same, for small windows: a cell of many windows is looked at in one long run.

    The image is laid out with NaN around it, which equals nothing. For some rows of windows at a time their maxima,
    their relevance and the number of the cell that each has its maximum in are laid out each where its window starts.
    """
    start, stop = share(y.shape[0], part, parts)
    zero, none = x.dtype.type(0), x.dtype.type(math.nan)
    size, width = rows * pitch, (y.shape[2] - 1) * sx + 1
    image, sums, rest = room[part, :size], room[part, size : 2 * size], room[part, 2 * size :]
    most = (height - 1) * pitch + width
    wanted, given, places = rest[:most], rest[most : 2 * most + 4], rest[2 * most + 4 : 3 * most + 8]
    _set_all(image, none)
    _set_all(wanted, none)
    _set_all(given, zero)
    for c in range(start, stop):
        _fill_band(flat(x[c]), x.shape[1], x.shape[2], -py, px, pitch, image)
        _set_all(sums, zero)
        highest, arriving = flat(y[c]), flat(r[c])
        for first in range(0, y.shape[1], height):
            count = min(height, y.shape[1] - first)
            n, base = (count - 1) * pitch + width, first * sy * pitch
            for i in range(count):
                at = (first + i) * y.shape[2]
                _spread(highest, at, y.shape[2], sx, wanted, i * pitch)
                _spread(arriving, at, y.shape[2], sx, given, 2 + i * pitch)
            found, passed = places[: n + 4], given[: n + 4]  # two windows before and after are none
            _set_all(found, x.dtype.type(-1))
            for ky in range(kh - 1, -1, -1):  # backwards: the first maximum is the last that is found
                line = image[base + ky * pitch :]
                if kw == 3:
                    _mark_three(found[2 : 2 + n], line, wanted, x.dtype.type(kw * ky))
                else:
                    for kx in range(kw - 1, -1, -1):
                        _mark(found[2 : 2 + n], line[kx:], wanted, x.dtype.type(kw * ky + kx))
            for ky in range(kh):
                line = sums[base + ky * pitch :]
                if kw == 3:
                    _collect_three(line[: n + 2], found, passed, x.dtype.type(kw * ky))
                else:
                    for kx in range(kw):
                        _collect(line[kx:], found[2 : 2 + n], passed[2 : 2 + n], x.dtype.type(kw * ky + kx))
        below = flat(r_in[c])
        for iy in range(x.shape[1]):
            copy_row(sums, (iy + py) * pitch + px, below, iy * x.shape[2], x.shape[2])


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
