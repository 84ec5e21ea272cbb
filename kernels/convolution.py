"""Convolution and its transpose, as products of packed panels.

One kernel serves both directions, every rule and every stride. It computes, on a grid of pixels,

    dst[r, gy*step + start] = sum over channels c and taps t of  A[r, (c, t)] * src[c, gy*stride + tap_t]

where a tap is an offset in the source. The forward pass takes the kernel's cells as taps. The transposed
product (what relevance and gradients need) is cut into one such sum for each residue of the input
pixels modulo the stride: then no products with zeros are computed and nothing is scattered.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba.extending import overload

from caffe2lrp.kernels.compiling import device
from caffe2lrp.kernels.gemm import (
    ADD_TIMES,
    STORE,
    STORE_RELU,
    STORE_TIMES,
    choose_rows,
    micro_kernel,
    pack_rows,
    tiles,
)
from caffe2lrp.kernels.launch import F1, F3, I2, Int, Program, kernel, scratch, threads
from caffe2lrp.kernels.share import share

# Values of packed columns that stay in the second-level cache while all rows pass by.
_COLUMN_BUDGET = 96 * 1024


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

    def tap_table(self) -> np.ndarray:
        """(T, 6): offset of each tap and the grid rows and columns for which it lies inside the source."""
        table = np.zeros((len(self.taps), 6), np.int64)
        for t, tap in enumerate(self.taps):
            for axis in range(2):
                offset, stride = int(tap[axis]), self.stride[axis]
                first = max(0, -(offset // stride))
                last = (self.source[axis] - 1 - offset) // stride + 1
                table[t, axis] = offset
                table[t, 2 + 2 * axis] = min(first, self.grid[axis])
                table[t, 3 + 2 * axis] = max(min(last, self.grid[axis]), table[t, 2 + 2 * axis])
        return table


@dataclass(frozen=True)
class Sliding:
    """A convolution layer's way over its input: shapes (N, C, H, W) of both sides, and (vertical, horizontal) pairs."""

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
    """A matrix for each group, (group, rows, K), packed for the micro-kernel."""

    def __init__(self, matrices: np.ndarray) -> None:
        self.group, self.m, self.k = matrices.shape
        self.dtype = matrices.dtype
        self.tile_rows = choose_rows(self.m, matrices.dtype.name)
        self.data = np.concatenate([pack_rows(matrix, self.tile_rows) for matrix in matrices])

    def pad_bias(self, bias: np.ndarray | None) -> np.ndarray:
        """A bias (group * rows,) filled up to whole tiles; zeros for None."""
        padded = np.zeros((self.group, -(-self.m // self.tile_rows) * self.tile_rows), self.dtype)
        if bias is not None:
            padded[:, : self.m] = bias.reshape(self.group, self.m)
        return padded.reshape(-1)


def add_forward(
    program: Program, sliding: Sliding, weight: np.ndarray, bias: np.ndarray | None, x: np.ndarray, y: np.ndarray,
    factor: np.ndarray, mode: int, label: str,
) -> None:  # fmt: skip
    """Append y = weight * x + bias (or times `factor`, by `mode`), for weights (group, M / group, C / group, cells)."""
    matrix = PackedMatrix(weight.reshape(*weight.shape[:2], -1))
    add_convolution(program, sliding.forward(), matrix, matrix.pad_bias(bias), x, y, factor, mode, label)


def add_transposed(
    program: Program, sliding: Sliding, weight: np.ndarray, bias: np.ndarray | None, s: np.ndarray, c: np.ndarray,
    factor: np.ndarray, mode: int, label: str,
) -> None:  # fmt: skip
    """Append the transposed product c = weight^T * s + bias (or times `factor`, by `mode`).

    With a stride, the pixels of each residue can be computed one after the other, each with the cells
    that reach it; or all at once, as rows of one matrix over the union of the cells. The second way has
    more zeros but fills the tiles when there are few channels; the cheaper one is taken.
    """
    phases = sliding.phases()
    channels = sliding.source[1] // sliding.group
    union = sorted({tap for phase in phases for tap in phase.taps})
    tile = choose_rows(channels, program.dtype)
    apart = sum(-(-channels // tile) * tile * max(len(phase.taps), 1) for phase in phases)
    tile = choose_rows(channels * len(phases), program.dtype)
    together = -(-channels * len(phases) // tile) * tile * len(union)
    if len(phases) > 1 and union and together < apart:
        _add_together(program, sliding, weight, bias, s, c, factor, mode, phases, union, label)
    else:
        for phase in phases:
            _add_phase(program, sliding, weight, bias, s, c, factor, mode, phase, label)


def _turned(weight: np.ndarray, cells: list[int]) -> np.ndarray:
    """(group, C / group, M / group, cells) of a weight (group, M / group, C / group, cells); cell -1 is zero."""
    chosen = weight[:, :, :, cells].transpose(0, 2, 1, 3).copy()
    chosen[..., [i for i, cell in enumerate(cells) if cell < 0]] = 0
    return chosen


def _add_phase(
    program: Program, sliding: Sliding, weight: np.ndarray, bias: np.ndarray | None, s: np.ndarray, c: np.ndarray,
    factor: np.ndarray, mode: int, phase: Phase, label: str,
) -> None:  # fmt: skip
    image = (sliding.source[2], sliding.source[3])
    grid = tuple(-(-(image[a] - phase.first[a]) // sliding.stride[a]) for a in range(2))
    # pixels that no cell reaches get a cell of zeros, whose offset lies outside the output
    taps = phase.taps or {(sliding.target[2], sliding.target[3]): -1}
    turned = _turned(weight, list(taps.values()))
    matrix = PackedMatrix(turned.reshape(*turned.shape[:2], -1))
    geometry = sliding.backward(
        turned.shape[1], np.array(list(taps)), (grid[0], grid[1]), image, sliding.stride, phase.first
    )
    add_convolution(program, geometry, matrix, matrix.pad_bias(bias), s, c, factor, mode, label)


def _add_together(
    program: Program, sliding: Sliding, weight: np.ndarray, bias: np.ndarray | None, s: np.ndarray, c: np.ndarray,
    factor: np.ndarray, mode: int, phases: list[Phase], union: list[tuple[int, int]], label: str,
) -> None:  # fmt: skip
    stacked = np.concatenate([_turned(weight, [p.taps.get(tap, -1) for tap in union]) for p in phases], axis=1)
    grid = (-(-sliding.source[2] // sliding.stride[0]), -(-sliding.source[3] // sliding.stride[1]))
    matrix = PackedMatrix(stacked.reshape(*stacked.shape[:2], -1))
    geometry = sliding.backward(stacked.shape[1], np.array(union), grid, grid)
    apart = np.empty((sliding.source[0], sliding.group * stacked.shape[1], *grid), s.dtype)
    if bias is not None:
        bias = np.tile(bias.reshape(sliding.group, 1, -1), (1, len(phases), 1))
    first_mode = STORE if mode == STORE_TIMES else mode
    add_convolution(program, geometry, matrix, matrix.pad_bias(bias), s, apart, apart, first_mode, label)
    channels = sliding.source[1] // sliding.group
    planes = (sliding.source[0] * sliding.group, len(phases) * channels, grid[0] * grid[1])
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
    program: Program, geometry: Geometry, matrix: PackedMatrix, bias: np.ndarray, src: np.ndarray, dst: np.ndarray,
    factor: np.ndarray, mode: int, label: str,
) -> None:  # fmt: skip
    """Append a convolution to a program.

    Parameters
    ----------
    program, geometry, matrix, label
        Where to, how, and with what; the columns of `matrix` are ordered (channel, tap).
    bias
        Padded by `PackedMatrix.pad_bias`.
    src, dst
        (N, group * channels, H, W) and (N, group * rows, H', W').
    factor
        For the modes that multiply by an array: that array, of the shape of `dst`; else any array.
    mode
        What happens to the sums; see `caffe2lrp.kernels.gemm`.
    """
    g = geometry
    layout = tiles(program.dtype)
    pixels = g.grid[0] * g.grid[1]
    vectors = min((layout.vectors, 1), key=lambda v: -(-pixels // (v * layout.width)) * v)
    columns = vectors * layout.width
    together = max(1, min(8, _COLUMN_BUDGET // (matrix.k * columns)))
    room = together * matrix.k * columns + matrix.tile_rows * columns
    program.add(
        convolution, src.reshape(-1), matrix.data, bias, dst.reshape(-1), factor.reshape(-1),
        scratch(program.dtype, room * threads()), g.tap_table(),
        g.batch, g.group, g.channels, g.rows, *g.source, *g.target, *g.grid, *g.stride, *g.step, *g.start,
        matrix.tile_rows, vectors, columns, together, mode, room, label=label,
    )  # fmt: skip


def _multiply(rows, vectors, a, a0, b, b0, k, bias, row0, c, c0, stride, x, mode):  # type: ignore[no-untyped-def]
    """The micro-kernel, in the tile size and precision asked for."""


@overload(_multiply)
def _multiply_overload(rows, vectors, a, a0, b, b0, k, bias, row0, c, c0, stride, x, mode):  # type: ignore[no-untyped-def]
    layout = tiles(a.dtype.name)
    big, small = layout.rows
    big_wide, big_slim = micro_kernel(a.dtype.name, big, layout.vectors), micro_kernel(a.dtype.name, big, 1)
    small_wide, small_slim = micro_kernel(a.dtype.name, small, layout.vectors), micro_kernel(a.dtype.name, small, 1)

    def multiply(rows, vectors, a, a0, b, b0, k, bias, row0, c, c0, stride, x, mode):  # type: ignore[no-untyped-def]
        if rows == big:
            if vectors == 1:
                big_slim(a, a0, b, b0, k, bias, row0, c, c0, stride, x, mode)
            else:
                big_wide(a, a0, b, b0, k, bias, row0, c, c0, stride, x, mode)
        elif vectors == 1:
            small_slim(a, a0, b, b0, k, bias, row0, c, c0, stride, x, mode)
        else:
            small_wide(a, a0, b, b0, k, bias, row0, c, c0, stride, x, mode)

    return multiply


@device
def _pack_columns(src, base, channels, height, width, taps, gw, sx, sy, j0, stop, columns, out, o):  # type: ignore[no-untyped-def]
    """Copy what the grid pixels j0..stop see into a panel (channels * taps, columns), zeros outside the source."""
    zero = src.dtype.type(0)
    gy0 = j0 // gw
    gx0 = j0 - gy0 * gw
    for c in range(channels):
        plane = base + c * height * width
        for t in range(taps.shape[0]):
            gy, gx, p = gy0, gx0, o
            left = stop - j0
            while left > 0:
                run = min(gw - gx, left)
                first, last = 0, 0
                if taps[t, 2] <= gy < taps[t, 3]:
                    first = min(max(taps[t, 4] - gx, 0), run)
                    last = max(min(taps[t, 5] - gx, run), first)
                row = plane + (gy * sy + taps[t, 0]) * width + gx * sx + taps[t, 1]
                for i in range(first):
                    out[p + i] = zero
                if sx == 1:
                    for i in range(first, last):
                        out[p + i] = src[row + i]
                else:
                    for i in range(first, last):
                        out[p + i] = src[row + i * sx]
                for i in range(last, run):
                    out[p + i] = zero
                p += run
                left -= run
                gx = 0
                gy += 1
            for i in range(stop - j0, columns):
                out[o + i] = zero
            o += columns


@device
def _finish(tile, columns, rows, dst, x, base, plane, gw, width, sx, sy, x0, y0, j0, stop, mode):  # type: ignore[no-untyped-def]
    """Copy the valid part of a tile to where it belongs."""
    zero = dst.dtype.type(0)
    for r in range(rows):
        gy = j0 // gw
        gx = j0 - gy * gw
        for j in range(stop - j0):
            at = base + r * plane + (gy * sy + y0) * width + gx * sx + x0
            value = tile[r * columns + j]
            if mode == STORE_RELU:
                value = zero if value < zero else value
            elif mode == STORE_TIMES:
                value = value * x[at]
            elif mode == ADD_TIMES:
                value = dst[at] + value * x[at]
            dst[at] = value
            gx += 1
            if gx == gw:
                gx = 0
                gy += 1


@kernel
def convolution(
    part: Int, parts: Int, src: F1, a: F1, bias: F1, dst: F1, x: F1, scratch: F1, taps: I2,
    batch: Int, groups: Int, channels: Int, m: Int, height: Int, width: Int, target_h: Int, target_w: Int,
    gh: Int, gw: Int, sy: Int, sx: Int, step_y: Int, step_x: Int, y0: Int, x0: Int,
    rows: Int, vectors: Int, columns: Int, together: Int, mode: Int, room: Int,
) -> None:  # fmt: skip
    """See the module; the numbers are those of a `Geometry` and what `add_convolution` chooses."""
    packed = scratch[part * room : (part + 1) * room]
    tile = packed[room - rows * columns :]
    pixels, k = gh * gw, channels * taps.shape[0]
    panels, blocks = (pixels + columns - 1) // columns, (m + rows - 1) // rows
    plane = target_h * target_w
    whole_rows = step_y == 1 and step_x == 1 and gw == target_w

    # Threads share the pixels, or the rows of the result where there are too few panels to share fairly.
    units = batch * groups * panels
    u0, u1, r0, r1 = 0, units, 0, blocks
    if units >= 4 * parts or units % parts == 0:
        u0, u1 = share(units, part, parts)
    else:
        r0, r1 = share(blocks, part, parts)

    u = u0
    while u < u1:
        image_group, panel = u // panels, u % panels
        count = min(together, panels - panel, u1 - u)
        base = image_group * channels * height * width
        group = image_group % groups
        for q in range(count):
            j0 = (panel + q) * columns
            stop = min(j0 + columns, pixels)
            _pack_columns(
                src, base, channels, height, width, taps, gw, sx, sy, j0, stop, columns, packed, q * k * columns
            )
        for i in range(r0, r1):
            a0, row0 = (group * blocks + i) * k * rows, (group * blocks + i) * rows
            valid = min(rows, m - i * rows)
            c0 = (image_group * m + i * rows) * plane
            for q in range(count):
                j0, b0 = (panel + q) * columns, q * k * columns
                stop = min(j0 + columns, pixels)
                if whole_rows and valid == rows and stop - j0 == columns:
                    _multiply(rows, vectors, a, a0, packed, b0, k, bias, row0, dst, c0 + j0, plane, x, mode)
                else:
                    _multiply(rows, vectors, a, a0, packed, b0, k, bias, row0, tile, 0, columns, x, STORE)
                    _finish(
                        tile, columns, valid, dst, x, c0, plane, gw, target_w, step_x, step_y, x0, y0, j0, stop, mode
                    )
        u += count
