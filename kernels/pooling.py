"""Maximum and average pooling over images (planes, H, W), and their relevance.

A window is (top, left) = output position * stride - pad and kernel size, clipped to the image.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from caffe2lrp.kernels.compiling import device
from caffe2lrp.kernels.launch import F2, F3, Float, Int, kernel
from caffe2lrp.kernels.share import share

# Values of an image, with its padding, that one thread takes at a time: they stay in its cache.
_BAND = 4096


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
def _spread(source, step, values):  # type: ignore[no-untyped-def]
    if step == 1:
        _copy(source, values[: source.size])
    else:
        for i in range(source.size):
            values[i * step] = source[i]


@device
def _keep_larger(values, others):  # type: ignore[no-untyped-def]
    for i in range(values.size):
        values[i] = others[i] if others[i] > values[i] else values[i]


@device
def _add_where_equal(sums, given, values, wanted, none):  # type: ignore[no-untyped-def]
    """Add what is given where a value is the wanted one, which is then no longer wanted."""
    zero = sums.dtype.type(0)
    for i in range(given.size):
        found = values[i] == wanted[i]
        sums[i] += given[i] if found else zero
        wanted[i] = none if found else wanted[i]


@device
def _fill_band(x, top, px, pitch, band):  # type: ignore[no-untyped-def]
    """Copy the rows of an image from `top` on into a band, which is set to what is to lie around them."""
    for y in range(max(top, 0), min(top + band.size // pitch, x.shape[0])):
        at = (y - top) * pitch + px
        _copy(x[y], band[at : at + x.shape[1]])


@kernel
def max_pooling(
    part: Int, parts: Int, x: F3, y: F3, room: F2, height: Int, count: Int, rows: Int, pitch: Int,
    kh: Int, kw: Int, sy: Int, sx: Int, py: Int, px: Int,
) -> None:  # fmt: skip
    """y = largest value of each window; a NaN is passed over, as in Caffe.

    A band of the image (see `Bands`) is laid out with its padding. Maxima are taken down its columns and along its
    rows at every place, in long runs; windows are then found where they start.
    """
    start, stop = share(y.shape[0] * count, part, parts)
    lowest = -x.dtype.type(3.4028234663852886e38)  # Caffe starts from -FLT_MAX, in double precision too
    n = (rows - kh + 1) * pitch
    band, down = room[part, : rows * pitch], room[part, rows * pitch : rows * pitch + n]
    along = band[: n - kw + 1]
    for unit in range(start, stop):
        c, first = unit // count, unit % count * height
        last = min(first + height, y.shape[1])
        _set_all(band, lowest)
        _fill_band(x[c], first * sy - py, px, pitch, band)
        _set_all(down, lowest)
        for ky in range(kh):
            _keep_larger(down, band[ky * pitch : ky * pitch + n])
        _copy(down, along)
        for kx in range(1, kw):
            _keep_larger(along, down[kx : kx + along.size])
        for oy in range(last - first):
            out, found = y[c, first + oy], along[oy * sy * pitch :]
            if sx == 1:
                _copy(found, out)
            else:
                for ox in range(out.size):
                    out[ox] = found[ox * sx]


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


# Cells up to which `max_pooling_relevance_by_runs` is faster.
FEW_CELLS = 16


@kernel
def max_pooling_relevance_by_runs(
    part: Int, parts: Int, x: F3, y: F3, r: F3, r_in: F3, room: F2, rows: Int, pitch: Int,
    kh: Int, kw: Int, sy: Int, sx: Int, py: Int, px: Int,
) -> None:  # fmt: skip
    """The same, for small windows: each cell of all windows is looked at in one long run.

    The image is laid out with NaN around it, which equals nothing; maxima and relevance are laid out each where its
    window starts.
    """
    start, stop = share(y.shape[0], part, parts)
    zero, none = x.dtype.type(0), x.dtype.type(math.nan)
    size, n = rows * pitch, (rows - kh + 1) * pitch - kw + 1
    image, sums = room[part, :size], room[part, size : 2 * size]
    wanted, given = room[part, 2 * size : 2 * size + n], room[part, 3 * size : 3 * size + n]
    _set_all(image, none)
    _set_all(wanted, none)
    _set_all(given, zero)
    for c in range(start, stop):
        _fill_band(x[c], -py, px, pitch, image)
        _set_all(sums, zero)
        for oy in range(y.shape[1]):
            at = oy * sy * pitch
            _spread(y[c, oy], sx, wanted[at:])
            _spread(r[c, oy], sx, given[at:])
        for cell in range(kh * kw):
            step = cell // kw * pitch + cell % kw
            _add_where_equal(sums[step : step + n], given, image[step : step + n], wanted, none)
        for iy in range(x.shape[1]):
            at = (iy + py) * pitch + px
            _copy(sums[at : at + x.shape[2]], r_in[c, iy])


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
