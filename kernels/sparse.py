"""Products with matrices many of whose values are zero, and such that read a source chosen by sign.

Rules that tell positive from negative products have weights half of which are zero, or read one of two sources by the
sign of each weight. A register tile cannot leave anything out, for its rows have their zeros in different places. So
each row has a list of its values that are not zero, and where the pixels lie that they are multiplied with. A row of
sums stays in registers while it walks through its list, and each product loads a vector of pixels. That is as fast as
the processor multiplies where the pixels are in its first cache and no vector is spread over two lines. So a block of
them is copied there, as many terms of the sum as it has room for, and all rows meet it before the next.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from caffe2lrp.kernels.compiling import cgutils, intrinsic, ir, types
from caffe2lrp.kernels.gemm import cut_rows, tiles
from caffe2lrp.kernels.launch import F1, I1, I2, Int, Program, Thread, kernel
from caffe2lrp.kernels.lines import VECTORS, Lines, emit_for_each, gather
from caffe2lrp.kernels.planes import Planes, Source, add_planes, plan_planes
from caffe2lrp.kernels.room import own_parts, part_of
from caffe2lrp.kernels.share import pieces_of
from caffe2lrp.kernels.storing import along_memory, finish
from caffe2lrp.kernels.team import threads
from caffe2lrp.kernels.units import blocks_of, tiles_of, units_of
from caffe2lrp.kernels.vectors import data_of, number_type

if TYPE_CHECKING:
    from caffe2lrp.kernels.convolution import Geometry

_CACHE = 28 * 1024  # bytes of pixels that stay in the first cache of a core
_ROWS = 8  # rows of a block, which is what threads share
_SUMS = 16  # blocks whose sums are kept until they are through: 64 KB
_BLOCKS = 8  # blocks of a part at least: for each part, pixels are copied anew
# Multiplications of a tile that take as long as one with a vector from the cache, and as one of copying a vector.
_LOAD, _COPY = 1.3, 2.0


@dataclass(frozen=True)
class Blocking:
    """How pixels are copied to the cache.

    Attributes
    ----------
    sides
        As in `Geometry`: 0 for one source.
    columns
        From one line of pixels to the next. There is one for each term of the sum and source, source by source.
    deep
        Terms of a block.
    """

    sides: int
    columns: int
    deep: int


def blocking(geometry: Geometry, dtype: str) -> Blocking:
    """The blocks for a geometry: as deep as the cache allows."""
    width = tiles(dtype).width
    columns = int(_tiles(_planes(geometry, dtype).line(geometry.grid), width)[:, 1].max()) * width // 2
    fitting = _CACHE // (geometry.sources * columns * np.dtype(dtype).itemsize)
    return Blocking(geometry.sides, columns, min(fitting, geometry.channels * len(geometry.taps)))


def _planes(geometry: Geometry, dtype: str) -> Planes:
    """How the source is laid out: where it is read in place, its planes have at least one vector."""
    return plan_planes(geometry, dtype, tiles(dtype).width)


class SparseMatrix:
    """Matrices (group, M, K) as lists of what is not zero.

    Attributes
    ----------
    group, rows, k
        Groups, and rows of each: M for each of the sides; and K.
    block
        How pixels lie that the values are multiplied with.
    values
        Block by block of K, row by row, all groups one after the other.
    places
        Where in a block the pixels begin that each value is multiplied with: numbers of 16 bits, four in each element.
    ends
        Where each row's list begins in each block, and the last one ends.
    """

    def __init__(self, matrices: np.ndarray, block: Blocking) -> None:
        self.group, m, self.k = matrices.shape
        self.block, sides = block, block.sides
        self.rows = m * max(sides, 1)
        values = np.concatenate([_cut(matrices, block.deep)] * max(sides, 1), axis=2)
        lines = np.arange(block.deep, dtype=np.uint16) * np.uint16(block.columns)
        places = np.broadcast_to(lines, values.shape)
        if sides:
            second = np.signbit(values)
            second[:, :, m:] ^= True  # on the second side, the sources have changed places
            places = places + second * np.uint16(block.deep * block.columns)
        kept = values != 0
        chosen = np.flatnonzero(kept)  # much faster than indexing with what is kept
        self.values = values.reshape(-1).take(chosen)
        self.places = np.zeros(-(-len(chosen) // 4), np.int64)
        self.places.view(np.uint16)[: len(chosen)] = places.reshape(-1).take(chosen)
        self.ends = np.zeros(kept[..., 0].size + 1, np.int64)
        np.cumsum(np.count_nonzero(kept, axis=3), out=self.ends[1:])


def _cut(matrices: np.ndarray, deep: int) -> np.ndarray:
    """Matrices (group, M, K) as blocks (group, K / deep, M, deep), the last filled up with zeros."""
    group, m, k = matrices.shape
    blocks = np.zeros((group, -(-k // deep), m, deep), matrices.dtype)
    whole = k // deep
    blocks[:, :whole] = matrices[:, :, : whole * deep].reshape(group, m, whole, deep).transpose(0, 2, 1, 3)
    if whole < blocks.shape[1]:
        blocks[:, whole, :, : k - whole * deep] = matrices[:, :, whole * deep :]
    return blocks


def pays(matrices: np.ndarray) -> bool:
    """Whether products with matrices (group, M, K) are faster without those with zeros."""
    group, m, k = matrices.shape
    dense = group * k * sum(cut_rows(m, matrices.dtype.name))
    return _LOAD * np.count_nonzero(matrices) + _COPY * group * k < dense


def add_sparse(
    program: Program, geometry: Geometry, matrix: SparseMatrix, bias: np.ndarray | None, src: Source, dst: np.ndarray,
    factor: np.ndarray, mode: int, label: str,
) -> None:  # fmt: skip
    """Append a convolution with a matrix of lists; see `convolution.add_convolution`."""
    g, block, width = geometry, matrix.block, tiles(program.dtype).width
    planes = _planes(g, program.dtype)
    pixels = add_planes(program, planes, g, src, label)
    line = planes.line(g.grid)
    table = _tiles(line, width)
    blocks = _blocks(g, matrix, dst)
    room = block.columns * (block.deep * g.sources + _SUMS * _ROWS)
    units = g.batch * g.group * len(table) * len(blocks)
    pieces = min(pieces_of(len(matrix.values) * g.batch * int(table[:, 1].sum())), -(-units // (_BLOCKS * threads())))
    biases = np.zeros(matrix.group * matrix.rows, dst.dtype) if bias is None else np.ascontiguousarray(bias).reshape(-1)
    source = g.channels * len(planes.residues) * planes.size
    # rows that run on without anything between them are one
    flat = g.whole_rows and planes.pitch == g.grid[1]
    grid, pitch, across = ((1, line), line, line) if flat else (g.grid, planes.pitch, g.target[1])
    program.add(
        sparse_product, pixels, planes.starts, table, matrix.values, matrix.places, matrix.ends, blocks, biases,
        along_memory([dst])[0], along_memory([factor])[0], own_parts(program.dtype, room, threads()), g.batch, g.group,
        g.sources * source, source if g.sides else 0, matrix.rows, matrix.k, block.deep, block.columns, _SUMS,
        g.target[0] * g.target[1], across, *grid, pitch, *g.step, *g.start, width, pieces, threads(), mode, label=label,
        pieces=pieces,
    )  # fmt: skip


def _tiles(line: int, width: int) -> np.ndarray:
    """Parts of a line of pixels of nearly equal width, (parts, 3): first pixel, half vectors, and pixels."""
    vectors = -(-line // width)
    cut = np.arange(-(-vectors // VECTORS) + 1) * vectors // -(-vectors // VECTORS)
    starts = np.minimum(cut * width, line)
    return np.stack([starts[:-1], 2 * np.diff(cut), np.diff(starts)], axis=1)


def _blocks(geometry: Geometry, matrix: SparseMatrix, dst: np.ndarray) -> np.ndarray:
    """Blocks of rows, (blocks, 4): first row, rows, and where the first is stored, image by image."""
    first = np.arange(0, matrix.rows, _ROWS)
    rows = np.minimum(matrix.rows - first, _ROWS)
    plane = geometry.target[0] * geometry.target[1]
    return np.stack([first, rows, first * plane, np.full_like(first, dst.strides[0] // dst.itemsize)], axis=1)


def _listed(lines: Lines, pixels: Any, factors: Any, table: Any, start: Any, stop: Any, totals: list[Any]) -> list[Any]:
    """Emit the loop over a list, and what it adds to the totals."""
    builder, number = lines.builder, number_type()
    before, loop, after = builder.block, builder.append_basic_block("list"), builder.append_basic_block("through")
    builder.cbranch(builder.icmp_signed("<", start, stop), loop, after)
    builder.position_at_end(loop)
    i = builder.phi(number)
    sums = [builder.phi(lines.vector) for _ in totals]
    factor = lines.spread(builder.load(builder.gep(factors, [i])))
    line = lines.read(pixels, builder.zext(builder.load(builder.gep(table, [i])), number))
    added = [lines.add_product(factor, *pair) for pair in zip(line, sums, strict=True)]
    following = builder.add(i, number(1))
    builder.cbranch(builder.icmp_signed("<", following, stop), loop, after)
    i.add_incoming(start, before)
    i.add_incoming(following, loop)
    builder.position_at_end(after)
    results = [builder.phi(lines.vector) for _ in totals]
    for phi in (sums, results):
        for one, total, value in zip(phi, totals, added, strict=True):
            one.add_incoming(total, before)
            one.add_incoming(value, loop)
    return results


@intrinsic
def add_products(  # type: ignore[no-untyped-def]
    typingctx, vectors, block, values, places, ends, e0, rows, bias, b0, fresh, sums, columns
):
    """sums[columns * row :] += values[i] * block[places[i] :] for ends[e0 + row] <= i < ends[e0 + row + 1], row < rows.

    Lines of so many vectors. Fresh sums begin with bias[b0 + row].
    """
    word = types.intp
    signature = types.void(
        word, block, values, places, ends, word, word, bias, word, types.boolean, sums, word
    )  # fmt: skip

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vectors, block, values, places, ends, e0, rows, bias, b0, fresh, sums, columns = arguments
        pixels, factors, table, lists, begins, target = (
            data_of(context, builder, signature.args[i], array)
            for i, array in ((1, block), (2, values), (3, places), (4, ends), (7, bias), (10, sums))
        )
        table = builder.bitcast(table, ir.IntType(16).as_pointer())

        def emit(lines: Lines) -> None:
            number = number_type()
            with cgutils.for_range(builder, rows, intp=number) as loop:
                at = builder.mul(columns, loop.index)
                first = builder.add(e0, loop.index)
                start, stop = (builder.load(builder.gep(lists, [builder.add(first, number(i))])) for i in range(2))
                with builder.if_else(fresh) as (then, otherwise):
                    with then:
                        value = builder.load(builder.gep(begins, [builder.add(b0, loop.index)]))
                        new, begun = lines.spread(value), builder.block
                    with otherwise:
                        old, gone_on = lines.read(target, at), builder.block
                totals = []
                for vector in old:
                    total = builder.phi(lines.vector)
                    total.add_incoming(new, begun)
                    total.add_incoming(vector, gone_on)
                    totals.append(total)
                lines.write(_listed(lines, pixels, factors, table, start, stop, totals), target, at)

        emit_for_each(builder, pixels.type.pointee, vectors, emit)
        return context.get_dummy_value()

    return signature, codegen


@kernel
def sparse_product(
    part: Int, parts: Int, thread: Thread, src: F1, starts: I1, table: I2, values: F1, places: I1, ends: I1,
    blocks: I2, bias: F1, dst: F1, x: F1, scratch: F1, batch: Int, groups: Int, per_group: Int, apart: Int, m: Int,
    k: Int, deep: Int, columns: Int, together: Int, plane: Int, target_w: Int, gh: Int, gw: Int, pitch: Int,
    step_y: Int, step_x: Int, y0: Int, x0: Int, lanes: Int, pieces: Int, threads: Int, mode: Int,
) -> None:  # fmt: skip
    """See the module; the numbers are those of a `Geometry` and what `add_sparse` chooses."""
    block = part_of(scratch, thread, threads)
    sums = block[columns * deep * (2 if apart else 1) :]
    limit = (gh - 1) * pitch + gw
    start, stop, low, high = units_of(part, parts, pieces, batch * groups, table, 1, blocks, 0)
    first, behind = tiles_of(start, stop, low, high)
    for tile in range(first, behind):
        image, t = tile // table.shape[0], tile % table.shape[0]
        n, group = image // groups, image % groups
        j0, vectors, count = table[t, 0], table[t, 1] // 2, table[t, 2]
        pixels = image * per_group + j0
        begin, end = blocks_of(tile, start, stop, low, high)
        for top in range(begin, end, together):
            bottom = min(top + together, end)
            row = blocks[top, 0]
            rows = blocks[bottom - 1, 0] + blocks[bottom - 1, 1] - row
            for k0 in range(0, k, deep):
                terms = min(deep, k - k0)
                gather(vectors, src, pixels, starts, k0, terms, count, block, 0, columns)
                if apart != 0:
                    gather(vectors, src, pixels + apart, starts, k0, terms, count, block, deep * columns, columns)
                first_list = (group * ((k + deep - 1) // deep) + k0 // deep) * m + row
                add_products(
                    vectors, block, values, places, ends, first_list, rows, bias, group * m + row, k0 == 0, sums,
                    columns,
                )  # fmt: skip
            for i in range(top, bottom):
                to = blocks[i, 2] + n * blocks[i, 3] + group * m * plane
                finish(
                    sums[(blocks[i, 0] - row) * columns :], columns, count, blocks[i, 1], dst, x, to, plane, gw, pitch,
                    target_w, step_x, step_y, x0, y0, j0, limit, mode,
                )  # fmt: skip
