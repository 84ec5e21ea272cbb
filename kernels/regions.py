"""Maximum pooling of regions: integer rows of image number, top, left, height and width in pixels of the input."""

from __future__ import annotations

import math

from caffe2lrp.kernels.compiling import device
from caffe2lrp.kernels.launch import F4, I2, Int, kernel
from caffe2lrp.kernels.share import share


@device
def _cell(x, begin, length, place, pooled, size):  # type: ignore[no-untyped-def]
    """Pixels start..stop of a cell of the grid along one axis; Caffe's arithmetic is in the precision of x."""
    real = x.dtype.type
    step = real(length) / real(pooled)
    start = math.floor(real(place) * step) + begin
    stop = math.ceil(real(place + 1) * step) + begin
    return min(max(start, 0), size), min(max(stop, 0), size)


@kernel
def roi_pooling(part: Int, parts: Int, x: F4, regions: I2, y: F4) -> None:
    """y = largest value of each cell, 0 for cells without pixels; y is (regions, C, pooled height, pooled width)."""
    start, stop = share(y.shape[0] * y.shape[1], part, parts)
    lowest = -x.dtype.type(3.4028234663852886e38)  # Caffe starts from -FLT_MAX, in double precision too
    for unit in range(start, stop):
        row, c = unit // y.shape[1], unit % y.shape[1]
        n, y0, x0, height, width = regions[row]
        for oy in range(y.shape[2]):
            top, bottom = _cell(x, y0, height, oy, y.shape[2], x.shape[2])
            for ox in range(y.shape[3]):
                left, right = _cell(x, x0, width, ox, y.shape[3], x.shape[3])
                best = lowest
                if bottom <= top or right <= left:
                    best = x.dtype.type(0)
                for iy in range(top, bottom):
                    for ix in range(left, right):
                        best = x[n, c, iy, ix] if x[n, c, iy, ix] > best else best
                y[row, c, oy, ox] = best


@kernel
def roi_pooling_relevance(part: Int, parts: Int, x: F4, regions: I2, y: F4, r: F4, r_in: F4) -> None:
    """All relevance of a cell goes to its first maximum in row-major order; regions that overlap add up."""
    start, stop = share(x.shape[1], part, parts)
    zero = x.dtype.type(0)
    for c in range(start, stop):
        for n in range(x.shape[0]):
            r_in[n, c] = zero
        for row in range(r.shape[0]):
            n, y0, x0, height, width = regions[row]
            for oy in range(r.shape[2]):
                top, bottom = _cell(x, y0, height, oy, r.shape[2], x.shape[2])
                for ox in range(r.shape[3]):
                    left, right = _cell(x, x0, width, ox, r.shape[3], x.shape[3])
                    value, highest = r[row, c, oy, ox], y[row, c, oy, ox]
                    found = value == zero
                    for iy in range(top, bottom):
                        for ix in range(left, right):
                            if not found and x[n, c, iy, ix] == highest:
                                r_in[n, c, iy, ix] += value
                                found = True
