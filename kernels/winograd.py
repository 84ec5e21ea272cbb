"""Convolution with 3 x 3 cells in 16 multiplications for each 2 x 2 outputs, instead of 36.

This is F(2x2, 3x3) of Lavin and Gray, "Fast Algorithms for Convolutional Neural Networks" (2016), section 4.1, after
Winograd (1980). With d the 4 x 4 inputs that 2 x 2 outputs depend on, and g the cells,

    Y = A' [(G g G') * (B' d B)] A        (* is by element, ' the transpose)

The same number comes out; only sums are formed in another order, and differences among them. Where all terms have one
sign, as in z+ and z-, that would turn exact zeros into rounding errors, so it is for outputs that may have any sign.

Tiles of 2 x 2 lie side by side as the pixels of an image of half the size: each of the 16 products is one of the
micro-kernel.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir

from caffe2lrp.kernels.compiling import cgutils, device, intrinsic, types
from caffe2lrp.kernels.convolution import (
    AHEAD,
    Geometry,
    PackedMatrix,
    Sliding,
    finish,
    line_tiles,
    multiply,
    place,
    unit_after,
)
from caffe2lrp.kernels.gemm import STORE, tiles
from caffe2lrp.kernels.launch import F1, I1, I2, Int, Program, kernel, scratch, threads
from caffe2lrp.kernels.planes import SLACK, add_planes, plan_planes, spread_size
from caffe2lrp.kernels.share import share
from caffe2lrp.kernels.vectors import Vectors, data_of

_G = np.array([[1, 0, 0], [0.5, 0.5, 0.5], [0.5, -0.5, 0.5], [0, 0, 1]])
_PLACES = 16  # values of a transformed tile
# Sums over fewer channels are over before the rest of the work is.
_LEAST_CHANNELS = 16


def suits(sliding: Sliding, dtype: str) -> bool:
    """Whether this is a convolution of that kind, with enough to compute that fewer multiplications count."""
    same = (1, 1)
    if (sliding.kernel, sliding.stride, sliding.dilation) != ((3, 3), same, same):
        return False
    if sliding.source[1] // sliding.group < _LEAST_CHANNELS:
        return False
    g = _geometry(sliding)
    planes = plan_planes(g, dtype, 1)
    direct = sliding.forward()
    directly = plan_planes(direct, dtype, 1)
    halves, direct_halves = (
        line_tiles(p.line(grid), dtype)[:, 1].sum() for grid, p in ((g.grid, planes), (direct.grid, directly))
    )
    return bool(1.5 * 16 * halves <= 9 * direct_halves)


def _geometry(sliding: Sliding) -> Geometry:
    """The tiles of one image as the grid of a convolution that moves by 2 x 2 and sees 4 x 4."""
    height, width = sliding.target[2:]
    taps = [(y - sliding.pad[0], x - sliding.pad[1]) for y in range(4) for x in range(4)]
    return Geometry(
        batch=1, group=sliding.group, channels=sliding.source[1] // sliding.group,
        rows=sliding.target[1] // sliding.group, source=(sliding.source[2], sliding.source[3]),
        target=(height, width), grid=(-(-height // 2), -(-width // 2)), stride=(2, 2), step=(2, 2), start=(0, 0),
        taps=np.array(taps),
    )  # fmt: skip


def add_forward(
    program: Program, sliding: Sliding, weight: np.ndarray, bias: np.ndarray | None, x: np.ndarray, y: np.ndarray,
    factor: np.ndarray, mode: int, label: str,
) -> None:  # fmt: skip
    """As `convolution.add_forward`."""
    g = _geometry(sliding)
    layout = tiles(program.dtype)
    planes = plan_planes(g, program.dtype, layout.width // 2)
    length = planes.line(g.grid)
    line = spread_size(length, program.dtype)
    size = g.channels * _PLACES * line
    transformed = scratch(program.dtype, g.group * size + SLACK, "tiles")
    matrix = PackedMatrix(_transformed_weight(weight))
    bias, blocks = matrix.pad_bias(bias), matrix.blocks_of(0)
    table, starts = line_tiles(length, program.dtype), np.arange(g.channels) * line
    room = _PLACES * layout.rows[0] * layout.columns + 4 * (layout.rows[0] + 1) * layout.columns
    room_of_all, zeros = np.empty(room * threads(), y.dtype), np.zeros(layout.rows[0], y.dtype)
    per_channel = len(planes.residues) * planes.size
    # image by image, so that the transformed pixels are still in the cache
    for n in range(len(x)):
        pixels = add_planes(program, planes, g, x[n : n + 1], label)
        program.add(
            transform_pixels, pixels, planes.starts[:_PLACES], transformed, g.group, g.channels,
            per_channel, length, line, label=label,
        )  # fmt: skip
        program.add(
            winograd, transformed, starts, table, matrix.data, blocks, bias, zeros, y[n].reshape(-1),
            factor[n].reshape(-1), room_of_all, g.group, g.rows, g.channels, matrix.rows, line, *g.target,
            planes.pitch, layout.width, layout.columns, mode, label=label,
        )  # fmt: skip


def _transformed_weight(weight: np.ndarray) -> np.ndarray:
    """G g G' of (group, M, C, 9), as matrices (group, M, 16 C) by place, then channel."""
    group, m, c, cells = weight.shape
    both = np.kron(_G, _G).astype(weight.dtype)
    made = weight.reshape(-1, cells) @ both.T
    return made.reshape(group, m, c, _PLACES).transpose(0, 1, 3, 2).reshape(group, m, -1)


class _Filter(Vectors):
    """Emits the transforms, of vectors of tiles that lie side by side."""

    def interleave(self, even: Any, odd: Any) -> list[Any]:
        """Two vectors with the lanes of both in turn."""
        lanes = [lane + self.width * half for lane in range(self.width) for half in range(2)]
        kind = ir.VectorType(ir.IntType(32), self.width)
        masks = (ir.Constant(kind, lanes[: self.width]), ir.Constant(kind, lanes[self.width :]))
        return [self.builder.shuffle_vector(even, odd, mask) for mask in masks]

    def pixels(self, d: list[Any]) -> list[Any]:
        """B' d of four values."""
        b = self.builder
        return [b.fsub(d[0], d[2]), b.fadd(d[1], d[2]), b.fsub(d[2], d[1]), b.fsub(d[1], d[3])]

    def outputs(self, m: list[Any]) -> list[Any]:
        """A' m of four values."""
        b = self.builder
        return [b.fadd(b.fadd(m[0], m[1]), m[2]), b.fsub(b.fsub(m[1], m[2]), m[3])]


def _both_ways(transform: Any, values: list[list[Any]]) -> list[list[Any]]:
    """A transform of the columns, then of the rows."""
    columns = [transform([row[i] for row in values]) for i in range(4)]
    return [transform([column[i] for column in columns]) for i in range(len(columns[0]))]


@intrinsic
def _to_tiles(typingctx, src, starts, s0, out, o0, step, count):  # type: ignore[no-untyped-def]
    """out[o0 + step * q + t] = (B' d B)[q] with d[q] = src[s0 + starts[q] + t], for whole vectors of t < count."""
    word = types.intp
    signature = types.void(src, starts, word, out, word, word, word)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        src, starts, s0, out, o0, step, count = arguments
        width = tiles(signature.args[0].dtype.name).width
        pointed = zip(signature.args[:4:3], (src, out), strict=True)
        source, target = (data_of(context, builder, kind, array) for kind, array in pointed)
        table = data_of(context, builder, signature.args[1], starts)
        v = _Filter(builder, source.type.pointee, width)
        number = ir.IntType(64)
        places = [builder.add(s0, builder.load(builder.gep(table, [number(q)]))) for q in range(_PLACES)]
        with cgutils.for_range_slice(builder, number(0), count, number(width), intp=number) as (t, _):
            d = [v.load(source, builder.add(place, t)) for place in places]
            made = _both_ways(v.pixels, [d[4 * y : 4 * y + 4] for y in range(4)])
            at = builder.add(o0, t)
            for row in made:
                for value in row:
                    v.store(value, target, at)
                    at = builder.add(at, step)
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def _from_tiles(typingctx, products, p0, step, count, bias, out, o0, o1):  # type: ignore[no-untyped-def]
    """Rows 0 and 1 of A' m A + bias with m[q] = products[p0 + step * q + t], from out[o0] and out[o1] on."""
    word = types.intp
    signature = types.void(products, word, word, word, bias, out, word, word)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        products, p0, step, count, bias, out, *starts = arguments
        width = tiles(signature.args[0].dtype.name).width
        pointed = zip(signature.args[:6:5], (products, out), strict=True)
        source, target = (data_of(context, builder, kind, array) for kind, array in pointed)
        v = _Filter(builder, source.type.pointee, width)
        added, number = v.spread(bias), ir.IntType(64)
        with cgutils.for_range_slice(builder, number(0), count, number(width), intp=number) as (t, _):
            at = builder.add(p0, t)
            m = [v.load(source, builder.add(at, builder.mul(step, number(q)))) for q in range(_PLACES)]
            made = _both_ways(v.outputs, [m[4 * y : 4 * y + 4] for y in range(4)])
            for row, start in zip(made, starts, strict=True):
                place = builder.add(start, builder.mul(t, number(2)))
                for half in v.interleave(*(builder.fadd(value, added) for value in row)):
                    v.store(half, target, place)
                    place = builder.add(place, number(width))
        return context.get_dummy_value()

    return signature, codegen


@kernel
def transform_pixels(
    part: Int, parts: Int, src: F1, starts: I1, out: F1, groups: Int, channels: Int, size: Int, length: Int, line: Int,
) -> None:  # fmt: skip
    """B' d B of all tiles: (groups, 16, channels, tiles) from the planes of (groups, channels)."""
    start, stop = share(groups * channels, part, parts)
    step = channels * line
    for unit in range(start, stop):
        group, channel = unit // channels, unit % channels
        _to_tiles(src, starts, unit * size, out, group * _PLACES * step + channel * line, step, length)


@kernel
def winograd(
    part: Int, parts: Int, src: F1, starts: I1, table: I2, a: F1, blocks: I2, bias: F1, zeros: F1, dst: F1, x: F1,
    scratch: F1, groups: Int, m: Int, k: Int, packed_rows: Int, line: Int, target_h: Int, target_w: Int,
    pitch: Int, lanes: Int, most: Int, mode: Int,
) -> None:  # fmt: skip
    """The 16 products for a block of rows and of tiles, and the outputs from them."""
    plane = target_h * target_w
    each = scratch.size // parts
    products = scratch[part * each :]
    start = unit_after(part, parts, groups, table, 1, blocks)
    stop = unit_after(part + 1, parts, groups, table, 1, blocks)
    for unit in range(start, stop):
        _, group, t, i = place(unit, groups, table.shape[0], blocks.shape[0])
        first, rows, valid, halves = blocks[i, 0], blocks[i, 1], blocks[i, 2], table[t, 1]
        a0 = group * packed_rows * _PLACES * k + blocks[i, 3]
        b0 = group * _PLACES * k * line + table[t, 0]
        step = rows * most
        for q in range(_PLACES):
            multiply(
                rows, halves, a, a0 + q * k * rows, AHEAD, src, b0 + q * k * line, 0, starts, k, zeros, 0,
                products, q * step, most, x, STORE,
            )  # fmt: skip
        columns = halves * lanes // 2
        evens = _PLACES * step
        odds = evens + 2 * (rows + 1) * most
        for r in range(valid):
            to = 2 * r * columns
            value = bias[group * packed_rows + first + r]
            _from_tiles(products, r * most, step, columns, value, products, evens + to, odds + to)
        c0 = (group * m + first) * plane
        j0 = table[t, 0]
        _finish_rows(products[evens:], columns, valid, dst, x, c0, plane, target_h, target_w, pitch, 0, j0, mode)
        _finish_rows(products[odds:], columns, valid, dst, x, c0, plane, target_h, target_w, pitch, 1, j0, mode)


@device
def _finish_rows(outputs, columns, rows, dst, x, base, plane, height, width, pitch, odd, j0, mode):  # type: ignore[no-untyped-def]
    """Copy the even or the odd rows of the outputs to where they belong."""
    limit = (height - 1 - odd) // 2 * 2 * pitch + width
    finish(outputs, 2 * columns, rows, dst, x, base, plane, width, 2 * pitch, width, 1, 2, 0, odd, 2 * j0, limit, mode)
