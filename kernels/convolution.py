"""Convolution and its transpose, as products of packed panels.

One kernel serves both directions, every rule and every stride. It computes, on a grid of pixels,

    dst[r, gy*step + start] = sum over channels c and taps t of  A[r, (c, t)] * src[c, gy*stride + tap_t]

where a tap is an offset in the source. The forward pass takes the kernel's cells as taps. The transposed
product (what relevance and gradients need) is cut into one such sum for each residue of the input
pixels modulo the stride: then no products with zeros are computed and nothing is scattered.

A product by sign reads two sources, one for the positive values of A and one for the negative ones. Rules
that tell positive from negative products need no others. Such products, and those with many zeros, are computed
without any product with a zero, by `caffe2lrp.kernels.sparse`.
"""

from __future__ import annotations

from collections.abc import Hashable, Sequence
from dataclasses import dataclass, replace
from typing import TypeAlias

import numpy as np

from caffe2lrp.kernels.compiling import device, overload
from caffe2lrp.kernels.gemm import (
    STORE,
    STORE_BOTH,
    STORE_RELU,
    STORE_TIMES,
    cut_rows,
    micro_kernel,
    pack_rows,
    prefetch_to_read,
    prefetch_to_write,
    tiles,
)
from caffe2lrp.kernels.launch import F1, F3, I1, I2, Int, Program, Thread, kernel
from caffe2lrp.kernels.lines import gather
from caffe2lrp.kernels.planes import LAYING, Planes, Source, add_planes, plan_planes
from caffe2lrp.kernels.room import LINE, own_parts, part_of
from caffe2lrp.kernels.share import pieces_of, share
from caffe2lrp.kernels.sparse import SparseMatrix, add_sparse, blocking, pays
from caffe2lrp.kernels.storing import along_memory, finish
from caffe2lrp.kernels.team import threads
from caffe2lrp.kernels.units import blocks_of, share_rows, tiles_of, units_of


@dataclass(frozen=True)
class Geometry:
    """How a convolution moves over images; all pairs are (vertical, horizontal).

    Attributes
    ----------
    batch, group
        Images, and groups of channels.
    channels, rows
        Channels of the source and of the destination, in each group.
    source, target
        Image sizes of source and destination.
    grid
        Number of pixels computed.
    stride
        Step in the source from one grid pixel to the next.
    step, start
        Step and first pixel in the destination.
    taps
        (T, 2) offsets in the source.
    sides
        0 for a product with one source. Else the product is by sign: behind the channels of each group come those
        for negative weights. With 2 sides, another `rows` rows follow, in which the two sources have changed places.
    """

    batch: int
    group: int
    channels: int
    rows: int
    source: tuple[int, int]
    target: tuple[int, int]
    grid: tuple[int, int]
    stride: tuple[int, int]
    step: tuple[int, int]
    start: tuple[int, int]
    taps: np.ndarray
    sides: int = 0

    @property
    def sources(self) -> int:
        """Number of sources."""
        return 2 if self.sides else 1

    @property
    def whole_rows(self) -> bool:
        """Whether the pixels that are computed are whole rows of the destination."""
        return self.step == (1, 1) and self.start == (0, 0) and self.grid[1] == self.target[1]


@dataclass(frozen=True)
class Sliding:
    """A convolution layer's way over its input: shapes (N, C, H, W) of both ends, and (vertical, horizontal) pairs."""

    source: tuple[int, ...]
    target: tuple[int, ...]
    kernel: tuple[int, int]
    stride: tuple[int, int]
    pad: tuple[int, int]
    dilation: tuple[int, int]
    group: int

    def cells(self) -> list[tuple[int, int]]:
        """Cells of the kernel, row by row."""
        return [(y, x) for y in range(self.kernel[0]) for x in range(self.kernel[1])]

    def forward(self) -> Geometry:
        """Geometry of the forward pass."""
        taps = [[cell[a] * self.dilation[a] - self.pad[a] for a in range(2)] for cell in self.cells()]
        image = (self.target[2], self.target[3])
        return Geometry(
            batch=self.source[0], group=self.group, channels=self.source[1] // self.group,
            rows=self.target[1] // self.group, source=(self.source[2], self.source[3]), target=image, grid=image,
            stride=self.stride, step=(1, 1), start=(0, 0), taps=np.array(taps),
        )  # fmt: skip

    def phases(self) -> list[Phase]:
        """The residues of the input pixels modulo the stride, and the cells of the kernel that reach each."""
        down, across = self._residues(0), self._residues(1)
        return [
            Phase((y, x), {(oy, ox): ky * self.kernel[1] + kx for oy, ky in rows.items() for ox, kx in columns.items()})
            for y, rows in enumerate(down)
            for x, columns in enumerate(across)
        ]

    def _residues(self, axis: int) -> list[dict[int, int]]:
        """For each residue along an axis: offset in the output -> row (or column) of the kernel."""
        stride = self.stride[axis]
        reaching = []
        for first in range(min(stride, self.source[2 + axis])):
            reach = [first + self.pad[axis] - k * self.dilation[axis] for k in range(self.kernel[axis])]
            reaching.append({r // stride: k for k, r in enumerate(reach) if r % stride == 0})
        return reaching

    def turned(self) -> Sliding | None:
        """The way of the transposed product as that of a forward one with the cells in reverse; None where it is none.

        It is one if pixels lie a step apart, and the padding does not reach beyond the kernel.
        """
        pad = (self.kernel[0] - 1 - self.pad[0], self.kernel[1] - 1 - self.pad[1])
        if self.stride != (1, 1) or self.dilation != (1, 1) or min(pad) < 0:
            return None
        return replace(self, source=self.target, target=self.source, pad=pad)

    def backward(
        self, rows: int, taps: np.ndarray, grid: tuple[int, int], target: tuple[int, int],
        step: tuple[int, int] = (1, 1), start: tuple[int, int] = (0, 0),
    ) -> Geometry:  # fmt: skip
        """Geometry of a part of the transposed product: from the layer's output to pixels of its input."""
        return Geometry(
            batch=self.source[0], group=self.group, channels=self.target[1] // self.group, rows=rows,
            source=(self.target[2], self.target[3]), target=target, grid=grid, stride=(1, 1), step=step, start=start,
            taps=taps,
        )  # fmt: skip


@dataclass(frozen=True)
class Phase:
    """Input pixels with one residue modulo the stride: the first of them, and offset in the output -> kernel cell."""

    first: tuple[int, int]
    taps: dict[tuple[int, int], int]


class PackedMatrix:
    """A matrix for each group, (group, rows, K), packed for the micro-kernel.

    Attributes
    ----------
    data
        All panels, group by group.
    blocks
        For each panel of a group: its first row, its rows, and where it starts in the data of the group.
    """

    def __init__(self, matrices: np.ndarray) -> None:
        self.group, self.m, self.k = matrices.shape
        self.dtype = matrices.dtype
        cut = cut_rows(self.m, matrices.dtype.name)
        self.data = pack_rows(matrices, cut)
        first = np.cumsum([0, *cut])
        self.rows = int(first[-1])
        self.blocks = np.stack([first[:-1], cut, first[:-1] * self.k], axis=1).astype(np.int64)

    def pad_bias(self, bias: np.ndarray | None) -> np.ndarray:
        """A bias (group * rows,), filled up to whole panels; zeros for None."""
        padded = np.zeros((self.group, self.rows), self.dtype)
        if bias is not None:
            padded[:, : self.m] = bias.reshape(self.group, self.m)
        return padded.reshape(-1)

    def blocks_of_rows(self) -> np.ndarray:
        """Blocks of the result's rows in a group, (blocks, 5).

        First row, rows, those of them that are valid, start in the data, and place in the bias.
        """
        first, rows, start = self.blocks.T
        return np.stack([first, rows, np.minimum(rows, self.m - first), start, first], axis=1)


Matrix: TypeAlias = PackedMatrix | SparseMatrix
Packed: TypeAlias = dict[Hashable, Matrix]


def packed_matrix(weight: np.ndarray, geometry: Geometry) -> Matrix:
    """Weights (group, M, C, cells) as the matrix that a product is fastest with."""
    matrices = weight.reshape(*weight.shape[:2], -1)
    if geometry.sides or pays(matrices):
        return SparseMatrix(matrices, blocking(geometry, weight.dtype.name))
    return PackedMatrix(matrices)


def add_forward(
    program: Program, sliding: Sliding, weight: np.ndarray, bias: np.ndarray | None, x: Source, y: np.ndarray,
    factor: np.ndarray, mode: int, label: str, sides: int = 0,
) -> None:  # fmt: skip
    """Append y = weight * x + bias (or times `factor`, by `mode`), for weights (group, M / group, C / group, cells).

    For a product by sign, x and y have more channels than `sliding` says; see `Geometry`.
    """
    geometry = replace(sliding.forward(), sides=sides)
    add_convolution(program, geometry, packed_matrix(weight, geometry), bias, x, y, factor, mode, label)


def add_transposed(
    program: Program, sliding: Sliding, weight: np.ndarray, bias: np.ndarray | None, s: Source, c: np.ndarray,
    factor: np.ndarray, mode: int, label: str, packed: Packed | None = None, sides: int = 0,
) -> None:  # fmt: skip
    """Append the transposed product c = weight^T * s + bias (or times `factor`, by `mode`).

    What the weights are packed to is kept in `packed`, for the next time.
    For a product by sign, s and c have more channels than `sliding` says; see `Geometry`.

    With a stride, the pixels of each residue can be computed one after the other, each with the cells
    that reach it; or all at once, as rows of one matrix over the union of the cells. The second way has
    more zeros but fills the tiles when there are few channels, and lays out the source once; the cheaper one is taken.
    """
    packed = {} if packed is None else packed
    phases = sliding.phases()
    reached = [phase for phase in phases if phase.taps]
    channels = sliding.source[1] // sliding.group
    union = sorted({tap for phase in phases for tap in phase.taps})
    apart = sum(sum(cut_rows(channels, program.dtype)) * len(phase.taps) + LAYING for phase in reached)
    together = sum(cut_rows(channels * len(phases), program.dtype)) * len(union) + LAYING
    if len(phases) > 1 and union and together < apart:
        _add_together(program, sliding, weight, bias, s, c, factor, mode, phases, union, label, packed, sides)
    else:
        _add_apart(program, sliding, weight, bias, s, c, factor, mode, phases, label, packed, sides)


def _turned(weight: np.ndarray, cells: list[int]) -> np.ndarray:
    """(group, C / group, M / group, cells) of a weight (group, M / group, C / group, cells); cell -1 is zero."""
    turned = weight.transpose(0, 2, 1, 3)
    if cells == list(range(weight.shape[3])):
        return turned
    chosen = turned[..., cells]
    chosen[..., [i for i, cell in enumerate(cells) if cell < 0]] = 0
    return chosen


def _add_apart(
    program: Program, sliding: Sliding, weight: np.ndarray, bias: np.ndarray | None, s: Source, c: np.ndarray,
    factor: np.ndarray, mode: int, phases: list[Phase], label: str, packed: Packed, sides: int,
) -> None:  # fmt: skip
    for phase in phases:
        if phase.taps:
            _add_phase(program, sliding, weight, bias, s, c, factor, mode, phase, label, packed, sides)
        else:
            _add_empty(program, sliding, bias, c, factor, mode, phase, label)


def _add_phase(
    program: Program, sliding: Sliding, weight: np.ndarray, bias: np.ndarray | None, s: Source, c: np.ndarray,
    factor: np.ndarray, mode: int, phase: Phase, label: str, packed: Packed, sides: int,
) -> None:  # fmt: skip
    image = (sliding.source[2], sliding.source[3])
    grid = tuple(-(-(image[a] - phase.first[a]) // sliding.stride[a]) for a in range(2))
    geometry = sliding.backward(
        weight.shape[2], np.array(list(phase.taps)), (grid[0], grid[1]), image, sliding.stride, phase.first
    )
    geometry = replace(geometry, sides=sides)
    if phase.first not in packed:
        packed[phase.first] = packed_matrix(_turned(weight, list(phase.taps.values())), geometry)
    add_convolution(program, geometry, packed[phase.first], bias, s, c, factor, mode, label)


def _add_empty(
    program: Program, sliding: Sliding, bias: np.ndarray | None, c: np.ndarray, factor: np.ndarray, mode: int,
    phase: Phase, label: str,
) -> None:  # fmt: skip
    """Append what the pixels of a phase get that no cell reaches."""
    biases = np.zeros(c.shape[1], c.dtype) if bias is None else np.ascontiguousarray(bias.reshape(-1))
    planes = (c.shape[0] * c.shape[1], *c.shape[2:])
    program.add(
        store_empty_sums, c.reshape(planes), factor.reshape(planes), biases, *phase.first, *sliding.stride, mode,
        label=label,
    )  # fmt: skip


@kernel
def store_empty_sums(
    part: Int, parts: Int, c: F3, factor: F3, bias: F1, y0: Int, x0: Int, sy: Int, sx: Int, mode: Int
) -> None:
    """Store sums of no products as the micro-kernel stores sums, at every sy-th row from y0, sx-th column from x0."""
    start, stop = share(c.shape[0], part, parts)
    zero = c.dtype.type(0)
    for plane in range(start, stop):
        value = bias[plane % bias.size]
        value = zero if mode == STORE_RELU and value < zero else value
        for y in range(y0, c.shape[1], sy):
            for x in range(x0, c.shape[2], sx):
                c[plane, y, x] = zero * factor[plane, y, x] if mode == STORE_TIMES else value


def _add_together(
    program: Program, sliding: Sliding, weight: np.ndarray, bias: np.ndarray | None, s: Source, c: np.ndarray,
    factor: np.ndarray, mode: int, phases: list[Phase], union: list[tuple[int, int]], label: str, packed: Packed,
    sides: int,
) -> None:  # fmt: skip
    grid = (-(-sliding.source[2] // sliding.stride[0]), -(-sliding.source[3] // sliding.stride[1]))
    rows = len(phases) * weight.shape[2]
    geometry = replace(sliding.backward(rows, np.array(union), grid, grid), sides=sides)
    if "together" not in packed:
        stacked = np.concatenate([_turned(weight, [p.taps.get(tap, -1) for tap in union]) for p in phases], axis=1)
        packed["together"] = packed_matrix(stacked, geometry)
    outer = sliding.group * max(sides, 1)
    apart = np.empty((sliding.source[0], outer * rows, *grid), c.dtype)
    if bias is not None:
        bias = np.tile(bias.reshape(outer, 1, -1), (1, len(phases), 1))
    first_mode = STORE if mode == STORE_TIMES else mode
    add_convolution(program, geometry, packed["together"], bias, s, apart, apart, first_mode, label)
    channels = sliding.source[1] // sliding.group
    planes = (sliding.source[0] * outer, len(phases) * channels, grid[0] * grid[1])
    program.add(
        interleave, apart.reshape(planes), c.reshape(planes[0] * channels, *sliding.source[2:]),
        factor.reshape(planes[0] * channels, *sliding.source[2:]), channels, *sliding.stride, mode, label=label,
    )  # fmt: skip


@kernel
def interleave(part: Int, parts: Int, apart: F3, c: F3, factor: F3, channels: Int, sy: Int, sx: Int, mode: Int) -> None:
    """Put the phases of `_add_together` in place: apart (outer, phases channels, grid) to c (outer channels, H, W)."""
    start, stop = share(c.shape[0] * c.shape[1], part, parts)
    across = min(sx, c.shape[2])
    width = (c.shape[2] + sx - 1) // sx
    for unit in range(start, stop):
        plane, y = unit // c.shape[1], unit % c.shape[1]
        outer, channel = plane // channels, plane % channels
        for first in range(across):
            row = ((y % sy) * across + first) * channels + channel
            base = (y // sy) * width
            for i in range((c.shape[2] - first + sx - 1) // sx):
                value = apart[outer, row, base + i]
                x = first + i * sx
                c[plane, y, x] = value * factor[plane, y, x] if mode == STORE_TIMES else value


def add_convolution(
    program: Program, geometry: Geometry, matrix: Matrix, bias: np.ndarray | None, src: Source, dst: np.ndarray,
    factor: np.ndarray, mode: int, label: str,
) -> None:  # fmt: skip
    """Append a convolution to a program.

    Parameters
    ----------
    program, geometry, matrix, label
        Where to, how, and with what; the columns of `matrix` are ordered (channel, tap).
    bias
        (group * rows,), by sign for each side of a group; or None.
    src, dst
        (N, group * channels, H, W), or what can be computed in its place, and (N, group * rows, H', W'); by sign, the
        source has twice the channels, and the destination the rows of all sides. Images of the destination may lie
        apart.
    factor
        An array that lies as `dst` does, which a mode multiplies by, or stores to as well; else any array.
    mode
        What happens to the sums; see `caffe2lrp.kernels.gemm`.
    """
    if isinstance(matrix, PackedMatrix):
        _add(program, geometry, [matrix], [bias], src, [dst], factor, mode, label)
    else:
        add_sparse(program, geometry, matrix, bias, src, dst, factor, mode, label)


def add_side_by_side(
    program: Program, sliding: Sliding, weights: Sequence[np.ndarray], biases: Sequence[np.ndarray | None],
    x: Source, outputs: Sequence[np.ndarray], mode: int, label: str,
) -> None:  # fmt: skip
    """Append convolutions that move over one source in the same way, without groups, as one product.

    The source passes through the caches once for all of them. Arguments as in `add_forward`, one for each; the mode has
    no factor.
    """
    matrices = [PackedMatrix(weight.reshape(1, len(weight[0]), -1)) for weight in weights]
    _add(program, sliding.forward(), matrices, biases, x, outputs, outputs[0], mode, label)


def _add(
    program: Program, geometry: Geometry, matrices: Sequence[PackedMatrix], biases: Sequence[np.ndarray | None],
    src: Source, outputs: Sequence[np.ndarray], factor: np.ndarray, mode: int, label: str,
) -> None:  # fmt: skip
    """Append the products with matrices whose rows go to one output each."""
    g = geometry
    width = tiles(program.dtype).width
    planes = plan_planes(g, program.dtype, width // 2)
    pixels = add_planes(program, planes, g, src, label)
    k = matrices[0].k
    table = pixel_tiles(g, planes, k, program.dtype)
    lines = _lines(k, program.dtype)
    room = (tiles(program.dtype).rows[0] + len(lines)) * tiles(program.dtype).columns
    dst, places = along_memory(outputs)
    blocks = _blocks(g, matrices, outputs, places)
    padded = [matrix.pad_bias(bias) for matrix, bias in zip(matrices, biases, strict=True)]
    by_rows = share_rows(table[:, 2], g.batch * g.group, len(blocks), threads())
    pieces = pieces_of(int(g.batch * g.group * blocks[:, 1].sum() * k * table[:, 2].sum() * width // 2))
    data = matrices[0].data if len(matrices) == 1 else np.concatenate([matrix.data for matrix in matrices])
    program.add(
        convolution, pixels, planes.starts, lines, table, data, blocks, np.concatenate(padded), dst,
        along_memory([factor])[0], own_parts(program.dtype, room, threads()), g.batch, g.group,
        g.channels * len(planes.residues) * planes.size, g.rows, k, matrices[0].rows, *g.target, *g.grid, planes.pitch,
        *g.step, *g.start, width, tiles(program.dtype).columns, by_rows, pieces, threads(), mode, label=label,
        pieces=pieces,
    )  # fmt: skip


def _lines(k: int, dtype: str) -> np.ndarray:
    """Where each term's line of a tile begins if it is copied; empty where tiles are read in place.

    Vectors of half a cache line are copied: every other one would lie in two lines, and two such loads take as long as
    the products with them.
    """
    layout = tiles(dtype)
    half_a_line = layout.width * np.dtype(dtype).itemsize == LINE // 2
    return np.arange(k if half_a_line else 0) * layout.columns


def _blocks(
    geometry: Geometry, matrices: Sequence[PackedMatrix], outputs: Sequence[np.ndarray], places: Sequence[int]
) -> np.ndarray:
    """Blocks of all matrices, (blocks, 7): those of `PackedMatrix`, and where the first row of each is stored.

    That is its place in the first image and group, and the distance from image to image.
    """
    found, start, bias = [], 0, 0
    for matrix, output, at in zip(matrices, outputs, places, strict=True):
        blocks = matrix.blocks_of_rows() + np.array([0, 0, 0, start, bias])
        first = at + blocks[:, :1] * geometry.target[0] * geometry.target[1]
        found.append(np.hstack([blocks, first, np.full_like(first, output.strides[0] // output.itemsize)]))
        start, bias = start + matrix.data.size, bias + matrix.rows
    return np.concatenate(found)


def pixel_tiles(geometry: Geometry, planes: Planes, k: int, dtype: str) -> np.ndarray:
    """Tiles of pixels, (tiles, 4): start in a plane and in the destination, half vectors, and how they are stored.

    Where the destination's rows run on as those of the plane do, or tiles stay within rows, they are stored
    directly (1); the others (0) go by a buffer. The last tile overlaps the one before rather than reaching beyond.
    """
    g, width = geometry, tiles(dtype).width
    flat = planes.line(g.grid)
    through = line_tiles(flat, dtype)
    direct = g.whole_rows and planes.pitch == g.grid[1] and flat >= width // 2
    y, x = through[:, 0] // planes.pitch, through[:, 0] % planes.pitch
    to = (y * g.step[0] + g.start[0]) * g.target[1] + x * g.step[1] + g.start[1]
    table = np.stack([through[:, 0], to, through[:, 1], np.full(len(through), direct)], axis=1)
    if direct or not g.whole_rows or g.grid[1] < 2 * width:
        return table
    row = line_tiles(g.grid[1], dtype)
    # half of a vector of 64 bytes takes half as long as a whole one, that of a shorter one as long
    whole = 1 if width * np.dtype(dtype).itemsize == LINE else 2
    # a buffered tile costs about as much more as 15 steps of the sum
    if g.grid[0] * np.maximum(row[:, 1], whole).sum() * k > through[:, 1].sum() * (k + 15):
        return table
    y = np.arange(g.grid[0])[:, None]
    shape = (g.grid[0], len(row))
    columns = [y * planes.pitch + row[:, 0], y * g.target[1] + row[:, 0], row[:, 1], 1]
    return np.stack([np.broadcast_to(column, shape) for column in columns], axis=-1).reshape(-1, 4).astype(np.int64)


def line_tiles(length: int, dtype: str) -> np.ndarray:
    """First pixel and number of half vectors of the tiles of a line of pixels."""
    layout = tiles(dtype)
    half, left, counts = layout.width // 2, length, []
    for halves in (2 * layout.vectors, 2, 1):
        # a tile must not reach beyond the line, where there may be nothing
        fits = length >= halves * half or halves == 1
        count = (-(-left // half)) // halves if fits else 0
        counts += [halves] * count
        left -= count * halves * half
    starts = np.cumsum([0, *counts])[:-1] * half
    last = np.maximum(length - np.array(counts) * half, 0)
    return np.stack([np.minimum(starts, last), counts], axis=1).astype(np.int64)


def multiply(rows, halves, a, a0, ahead, b, b0, coming, starts, k, bias, row0, c, c0, stride, x, mode):  # type: ignore[no-untyped-def]
    """The micro-kernel, in the tile size and precision asked for."""


@overload(multiply)
def _multiply_overload(rows, halves, a, a0, ahead, b, b0, coming, starts, k, bias, row0, c, c0, stride, x, mode):  # type: ignore[no-untyped-def]
    # a function of its own: its code is there once for all calls
    def multiply(rows, halves, a, a0, ahead, b, b0, coming, starts, k, bias, row0, c, c0, stride, x, mode):  # type: ignore[no-untyped-def]
        micro_kernel(rows, halves, a, a0, ahead, b, b0, coming, starts, k, bias, row0, c, c0, stride, x, mode)

    return multiply


AHEAD = 512  # values of the weights that are asked for before they are needed
# Lines that a row of pixels of a tile may touch. The last blocks of weights ask for one each of the next tile: what is
# asked for earlier is no longer in the cache when it is needed.
_LINES = 4
_COPIED = 8  # blocks of rows that read a tile, if it is copied


@device
def _prefetch(dst, x, at, rows, plane, columns, mode):  # type: ignore[no-untyped-def]
    """Have the lines that a tile is stored to, and multiplied by, on their way while it is summed up."""
    step = LINE // dst.itemsize
    for r in range(rows):
        place = at + r * plane
        for i in range(place, place + columns, step):
            prefetch_to_write(dst, i)
        if mode == STORE_TIMES:
            for i in range(place, place + columns, step):
                prefetch_to_read(x, i)
        elif mode == STORE_BOTH:
            for i in range(place, place + columns, step):
                prefetch_to_write(x, i)


@device
def _pixels_of(tile, table, per_image):  # type: ignore[no-untyped-def]
    """Where the pixels begin of a tile among those of all images."""
    return tile // table.shape[0] * per_image + table[tile % table.shape[0], 0]


@kernel
def convolution(
    part: Int, parts: Int, thread: Thread, src: F1, starts: I1, lines: I1, table: I2, a: F1, blocks: I2, bias: F1,
    dst: F1, x: F1, scratch: F1, batch: Int, groups: Int, per_group: Int, m: Int, k: Int, packed_rows: Int,
    target_h: Int, target_w: Int, gh: Int, gw: Int, pitch: Int, step_y: Int, step_x: Int, y0: Int, x0: Int, lanes: Int,
    columns: Int, by_rows: Int, pieces: Int, threads: Int, mode: Int,
) -> None:  # fmt: skip
    """See the module; the numbers are those of a `Geometry` and what `add_convolution` chooses."""
    plane = target_h * target_w
    own = part_of(scratch, thread, threads)
    kept = own[lines.size * columns :]
    limit = (gh - 1) * pitch + gw
    biases = bias.size // groups
    tiles_in_all = batch * groups * table.shape[0]
    start, stop, low, high = units_of(part, parts, pieces, batch * groups, table, 2, blocks, by_rows)
    first, behind = tiles_of(start, stop, low, high)
    for tile in range(first, behind):
        image, t = tile // table.shape[0], tile % table.shape[0]
        n, group = image // groups, image % groups
        pixels, halves = _pixels_of(tile, table, per_group), table[t, 2]
        coming = _pixels_of(tile + 1, table, per_group) - pixels if tile + 1 < tiles_in_all else 0
        begin, end = blocks_of(tile, start, stop, low, high)
        source, places, at = src, starts, pixels
        if lines.size > 0 and halves > 1 and end - begin >= _COPIED:
            gather(halves // 2, src, pixels, starts, 0, k, halves * lanes // 2, own, 0, columns)
            source, places, at, coming = own, lines, 0, 0
        for i in range(begin, end):
            rows, valid = blocks[i, 1], blocks[i, 2]
            a0, row0 = group * packed_rows * k + blocks[i, 3], group * biases + blocks[i, 4]
            c0 = blocks[i, 5] + n * blocks[i, 6] + group * m * plane
            to, line = c0 + table[t, 1], i - max(high - _LINES, low)
            ask = coming + line * LINE // src.itemsize if line >= 0 and coming != 0 else 0
            _prefetch(dst, x, to, valid, plane, halves * lanes // 2, mode)
            if table[t, 3] != 0 and valid == rows:
                multiply(rows, halves, a, a0, AHEAD, source, at, ask, places, k, bias, row0, dst, to, plane, x, mode)
            else:
                wide = halves * lanes // 2
                multiply(rows, halves, a, a0, AHEAD, source, at, ask, places, k, bias, row0, kept, 0, wide, x, STORE)
                finish(
                    kept, wide, wide, valid, dst, x, c0, plane, gw, pitch, target_w, step_x, step_y, x0, y0,
                    table[t, 0], limit, mode,
                )  # fmt: skip
