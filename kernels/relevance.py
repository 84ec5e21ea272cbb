"""The step that all rules of linear layers share: relevance divided by what it is shared out by."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from caffe2lrp.kernels.compiling import device
from caffe2lrp.kernels.gemm import STORE_BOTH, STORE_RELU
from caffe2lrp.kernels.launch import F1, F2, F3, F4, Float, Int, Program, kernel
from caffe2lrp.kernels.planes import LAYING, SLACK, Planes
from caffe2lrp.kernels.room import room_to_pass_on
from caffe2lrp.kernels.rows import copy_row
from caffe2lrp.kernels.share import pieces_of, share

# How a denominator z is stabilised.
SIGN = 0  # z + epsilon * sign(z), sign(0) = 1; a zero that remains drops the term
TOOLBOX = 1  # as the LRP Toolbox's epsilon rule: z = 0 exactly is not divided by
THRESHOLD = 2  # as the LRP Toolbox's z^B rule: not divided where |z| <= epsilon


@device
def _ratio(above, below, factor, epsilon, mode, result):  # type: ignore[no-untyped-def]
    """result = factor * above / stabilised below, for rows."""
    zero, one = above.dtype.type(0), above.dtype.type(1)
    if mode == SIGN:
        for i in range(result.size):
            bottom = below[i] - epsilon if below[i] < zero else below[i] + epsilon
            result[i] = factor * above[i] / bottom if bottom != zero else zero
    elif mode == TOOLBOX:
        for i in range(result.size):
            bottom = below[i] - epsilon if below[i] < zero else below[i] + epsilon
            result[i] = factor * above[i] / (bottom if below[i] != zero else one)
    else:
        for i in range(result.size):
            result[i] = factor * above[i] / (below[i] if abs(below[i]) > epsilon else one)


def ratio_values(r: np.ndarray, z: np.ndarray, factor: float, epsilon: float, mode: int) -> np.ndarray:
    """factor * r / stabilised z, for accounts; terms that are dropped are 0."""
    if mode == SIGN:
        bottom = np.where(z < 0, -epsilon, epsilon)
        bottom += z
        bottom[bottom == 0] = np.inf
        return np.divide(factor * r if factor != 1 else r, bottom, out=bottom)
    if mode == TOOLBOX:
        return factor * r / np.where(z != 0, np.where(z < 0, z - epsilon, z + epsilon), 1)
    return factor * r / np.where(np.abs(z) > epsilon, z, 1)


@kernel
def ratio(part: Int, parts: Int, r: F2, z: F3, group: Int, factor: Float, epsilon: Float, mode: Int, s: F3) -> None:
    """s[:, group] = factor * r / stabilised z[:, group], for r (outer, n) and z, s (outer, groups, n)."""
    start, stop = share(r.shape[1], part, parts)
    for o in range(r.shape[0]):
        below, result = z[o, group, start:stop], s[o, group, start:stop]
        _ratio(r[o, start:stop], below, factor, epsilon, mode, result)


@dataclass(frozen=True)
class Shares:
    """s = factor * r / stabilised z for several denominators, formed where a convolution reads it.

    Attributes
    ----------
    r
        Relevance for each denominator, (outer, channels, H, W).
    z
        Denominators, (N, outer / N * denominators * channels, H, W).
    numbers
        factor, epsilon and mode of each denominator.
    """

    r: list[np.ndarray]
    z: np.ndarray
    numbers: list[tuple[float, float, int]]

    @property
    def shape(self) -> tuple[int, ...]:
        return self.z.shape

    def _grouped(self) -> tuple[int, int, int, int]:
        outer, channels, *image = self.r[0].shape
        return outer, len(self.r), channels, int(np.prod(image))

    def add_array(self, program: Program, label: str) -> np.ndarray:
        """Append what computes s as an array of the shape of z."""
        outer, terms, channels, pixels = self._grouped()
        s = np.empty_like(self.z)
        grouped = (outer, terms, channels * pixels)
        for g, (r, numbers) in enumerate(zip(self.r, self.numbers, strict=True)):
            program.add(
                ratio, r.reshape(outer, -1), self.z.reshape(grouped), g, *numbers, s.reshape(grouped), label=label
            )
        return s

    def add_planes(self, program: Program, planes: Planes, label: str) -> np.ndarray:
        """Append what computes s as planes of a convolution with stride 1."""
        outer, terms, channels, _ = grouped = self._grouped()
        count = outer * terms * channels
        out = room_to_pass_on(program.dtype, count * planes.size + SLACK)
        for g, (r, numbers) in enumerate(zip(self.r, self.numbers, strict=True)):
            program.add(
                ratio_planes, r.reshape(outer, channels, -1), self.z.reshape(grouped), g, *numbers, out,
                *planes.of_image(r.shape[2:]), label=label, pieces=pieces_of(LAYING * r.size),
            )  # fmt: skip
        return out


@kernel
def ratio_planes(
    part: Int, parts: Int, r: F3, z: F4, group: Int, factor: Float, epsilon: Float, mode: Int, out: F1,
    height: Int, width: Int, above: Int, left: Int, rows: Int, pitch: Int, size: Int,
) -> None:  # fmt: skip
    """As `ratio`, for r (outer, channels, pixels) and z (outer, groups, channels, pixels), into `Planes`."""
    zero = r.dtype.type(0)
    start, stop = share(r.shape[0] * r.shape[1], part, parts)
    for unit in range(start, stop):
        o, c = unit // r.shape[1], unit % r.shape[1]
        first = ((o * z.shape[1] + group) * r.shape[1] + c) * size
        plane, pixels = out[first : first + size], height * width
        # formed at the end of the plane in one long run, and moved to its rows from there
        end = plane[size - pixels :]
        _ratio(r[o, c], z[o, group, c], factor, epsilon, mode, end)
        for i in range(left + above * pitch):
            plane[i] = zero
        for y in range(height):
            at = left + (above + y) * pitch
            copy_row(plane, size - pixels + y * width, plane, at, width)
            for i in range(at + width, at + pitch):
                plane[i] = zero
        for i in range(left + (above + height) * pitch, size):
            plane[i] = zero


@kernel
def of_sign(part: Int, parts: Int, r: F1, z: F1, sign: Int, out: F1) -> None:
    """out = r where z >= 0 (sign 1) or z < 0 (sign -1), else 0."""
    start, stop = share(r.size, part, parts)
    zero = r.dtype.type(0)
    for i in range(start, stop):
        out[i] = r[i] if (z[i] >= zero) == (sign > 0) else zero


@kernel
def ratio_rows(part: Int, parts: Int, r: F3, z: F1, factor: Float, s: F3) -> None:
    """s = factor * r / z where z is one number for each row, and 0 where it is 0; r is (N, rows, pixels)."""
    start, stop = share(r.shape[0] * r.shape[1], part, parts)
    zero = r.dtype.type(0)
    for unit in range(start, stop):
        n, row = unit // r.shape[1], unit % r.shape[1]
        scale = factor / z[row] if z[row] != zero else zero
        for i in range(r.shape[2]):
            s[n, row, i] = r[n, row, i] * scale


@kernel
def sum_sources(part: Int, parts: Int, c: F3, r: F2) -> None:
    """r = the sum of c (outer, sources, n) over the sources."""
    start, stop = share(r.shape[1], part, parts)
    for o in range(r.shape[0]):
        for i in range(start, stop):
            r[o, i] = c[o, 0, i]
        for a in range(1, c.shape[1]):
            for i in range(start, stop):
                r[o, i] += c[o, a, i]


@kernel
def sum_parts(part: Int, parts: Int, z: F3, y: F2, rectified: F2, mode: Int) -> None:
    """y = z[:, 0] + z[:, 1] for z (outer, 2, n): as it is, rectified, or both, by the modes of `kernels.gemm`."""
    start, stop = share(y.shape[1], part, parts)
    zero = y.dtype.type(0)
    for o in range(y.shape[0]):
        above, below, out, other = z[o, 0, start:stop], z[o, 1, start:stop], y[o, start:stop], rectified[o, start:stop]
        if mode == STORE_BOTH:
            for i in range(out.size):
                value = above[i] + below[i]
                out[i] = value
                other[i] = zero if value < zero else value
        else:
            for i in range(out.size):
                value = above[i] + below[i]
                out[i] = zero if mode == STORE_RELU and value < zero else value
