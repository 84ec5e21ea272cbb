"""How the pixels that a convolution reads lie in memory.

The micro-kernel reads vectors of neighbouring pixels in place. For that, the source lies in planes, one for each
channel and each residue of the pixels modulo the stride; within a plane a step of the grid is a step of one
pixel. Rows run on: the zeros between two of them serve as padding for both. So a convolution is a product with
rows of one long line of pixels, of which those that lie between two rows of the grid are thrown away.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, TypeAlias

import numpy as np

from caffe2lrp.kernels.launch import F1, I1, Int, Program, kernel
from caffe2lrp.kernels.room import LINE, room_to_pass_on
from caffe2lrp.kernels.rows import copy_row
from caffe2lrp.kernels.share import share

if TYPE_CHECKING:
    from caffe2lrp.kernels.convolution import Geometry

SLACK = 128  # values behind the last plane that vectors may touch
LAYING = 32  # to compute a value and to lay it out takes as long as so many multiplications


@dataclass(frozen=True)
class Planes:
    """Layout of a convolution's source.

    Attributes
    ----------
    residues
        (vertical, horizontal) residues of the pixels modulo the stride, one plane each for every channel.
    height, width
        Pixels of a plane that come from the source.
    above, left
        Rows of zeros above them, and zeros before the first row.
    rows, pitch
        Rows of the plane, and from the start of one to the start of the next.
    size
        From one plane to the next.
    starts
        For each channel of a group and tap, where the grid's first pixel finds its value.
    in_place
        Whether the source itself is laid out like this.
    """

    residues: list[tuple[int, int]]
    height: int
    width: int
    above: int
    left: int
    rows: int
    pitch: int
    size: int
    starts: np.ndarray
    in_place: bool

    def line(self, grid: tuple[int, int]) -> int:
        """Values from the first pixel of a grid to the last, with those between its rows."""
        return (grid[0] - 1) * self.pitch + grid[1]

    def of_image(self, image: tuple[int, ...]) -> tuple[int, ...]:
        """Height, width, above, left, rows, pitch and size for an image and stride 1; one long row where it can be."""
        if (self.rows, self.pitch) == image:
            return 1, self.rows * self.pitch, 0, 0, 1, self.rows * self.pitch, self.size
        return self.height, self.width, self.above, self.left, self.rows, self.pitch, self.size


def plan_planes(geometry: Geometry, dtype: str, least: int) -> Planes:
    """The layout for a geometry; vectors of pixels have at least `least` values."""
    g = geometry
    stride = np.array(g.stride)
    steps, found = g.taps // stride, g.taps % stride  # whole steps of the grid, and the residue
    residues = sorted({(int(y), int(x)) for y, x in found})
    height, width = -(-g.source[0] // g.stride[0]), -(-g.source[1] // g.stride[1])
    above, left = (max(0, -int(n)) for n in steps.min(axis=0))
    below = max(0, g.grid[0] + int(steps[:, 0].max()) - height)
    right = max(0, g.grid[1] + int(steps[:, 1].max()) - width)
    rows, pitch = above + height + below, max(width + max(left, right), g.grid[1])
    item = np.dtype(dtype).itemsize
    size = height * width
    in_place = (
        g.stride == (1, 1) and (rows, pitch) == (height, width)
        and g.grid[0] * g.grid[1] >= least and size * item % (16 * LINE) != 0  # else all planes share few cache sets
    )  # fmt: skip
    if not in_place:
        size = spread_size(left + rows * pitch, dtype)
    place = left + (steps[:, 0] + above) * pitch + steps[:, 1]
    plane = np.array([residues.index((int(y), int(x))) for y, x in found])
    starts = (np.arange(g.channels)[:, None] * len(residues) + plane) * size + place
    return Planes(
        residues, height, width, above, left, rows, pitch, size, starts.reshape(-1).astype(np.int64), in_place
    )


def spread_size(count: int, dtype: str) -> int:
    """Room for `count` values such that planes side by side are spread over all sets of the caches.

    Whole cache lines, which are whole vectors, and an odd number of them.
    """
    line = LINE // np.dtype(dtype).itemsize
    return (-(-count // line) | 1) * line


class Computed(Protocol):
    """What can be computed as an array (N, C, H, W), or, for stride 1, as planes at once."""

    @property
    def shape(self) -> tuple[int, ...]: ...

    def add_planes(self, program: Program, planes: Planes, label: str) -> np.ndarray: ...

    def add_array(self, program: Program, label: str) -> np.ndarray: ...


Source: TypeAlias = "np.ndarray | Computed"


def add_planes(program: Program, planes: Planes, geometry: Geometry, src: Source, label: str) -> np.ndarray:
    """Append what lays the source out, and return it laid out; it is there until the next layer."""
    if not isinstance(src, np.ndarray):
        if geometry.stride == (1, 1):
            return src.add_planes(program, planes, label)
        src = src.add_array(program, label)
    flat = src.reshape(-1)
    if planes.in_place:
        return flat
    count = src.shape[0] * src.shape[1]
    out = room_to_pass_on(program.dtype, count * len(planes.residues) * planes.size + SLACK)
    residues = np.array(planes.residues, np.int64).reshape(-1)
    program.add(
        lay_out, flat, out, residues, count, *geometry.source, *geometry.stride, planes.height, planes.width,
        planes.above, planes.left, planes.rows, planes.pitch, planes.size, label=label,
    )  # fmt: skip
    return out


@kernel
def lay_out(
    part: Int, parts: Int, src: F1, out: F1, residues: I1, count: Int, source_h: Int, source_w: Int, sy: Int, sx: Int,
    height: Int, width: Int, above: Int, left: Int, rows: Int, pitch: Int, size: Int,
) -> None:  # fmt: skip
    """Copy `count` images into planes with zeros around."""
    zero = src.dtype.type(0)
    each = residues.size // 2
    start, stop = share(count * each * rows, part, parts)
    for unit in range(start, stop):
        plane, row = unit // rows, unit % rows
        image, residue = plane // each, plane % each
        y = (row - above) * sy + residues[2 * residue]
        line = out[plane * size + row * pitch : plane * size + (row + 1) * pitch + left]
        if row == 0:
            for i in range(left):
                line[i] = zero
        line = line[left:]
        if row < above or y >= source_h:
            for i in range(pitch):
                line[i] = zero
            continue
        first = residues[2 * residue + 1]
        values = src[(image * source_h + y) * source_w + first : (image * source_h + y + 1) * source_w]
        valid = (source_w - first + sx - 1) // sx
        if sx == 1:
            copy_row(values, 0, line, 0, valid)
        else:
            for i in range(valid):
                line[i] = values[i * sx]
        for i in range(valid, pitch):
            line[i] = zero
