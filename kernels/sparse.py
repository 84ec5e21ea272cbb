"""Products with matrices many of whose values are zero, and such that read a source chosen by sign.

Rules that tell positive from negative products have weights half of which are zero, or read one of two sources by the
sign of each weight. A register tile cannot leave anything out, for its rows have their zeros in different places. So
each pair of rows has lists of its values that are not zero, and where the pixels lie that they are multiplied with:
one list where both rows meet the same pixels, and one for the others of each. The sums of both stay in registers
meanwhile. To load a vector of pixels takes a little longer than to multiply it, so that it pays to load it once for
both rows. The pixels have to be in the processor's first cache, and no vector spread over two lines. So a block of them
is copied there, as many terms of the sum as it has room for, and all rows meet it before the next.
"""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING, Any

import numpy as np

from caffe2lrp.kernels.compiling import cgutils, intrinsic, ir, types
from caffe2lrp.kernels.gemm import cut_rows, tiles
from caffe2lrp.kernels.launch import F1, I1, I2, Int, Program, Thread, kernel
from caffe2lrp.kernels.lines import Lines, code_of_lines, gather, most_vectors
from caffe2lrp.kernels.lists import Blocking, SparseMatrix
from caffe2lrp.kernels.planes import Planes, Source, add_planes, plan_planes
from caffe2lrp.kernels.room import own_parts, part_of
from caffe2lrp.kernels.share import pieces_of
from caffe2lrp.kernels.storing import along_memory, finish
from caffe2lrp.kernels.team import threads
from caffe2lrp.kernels.units import blocks_of, tiles_of, units_of
from caffe2lrp.kernels.vectors import keep_rolled, number_type

if TYPE_CHECKING:
    from caffe2lrp.kernels.convolution import Geometry

_CACHE = 28 * 1024  # bytes of pixels that stay in the first cache of a core
_ROWS = 8  # rows of a block, which is what threads share: whole pairs
_SUMS = 32  # blocks whose sums are kept until they are through: 128 KB
_BLOCKS = 8  # blocks of a part at least: for each part, pixels are copied anew
# Multiplications of a tile that take as long as one with a vector from the cache, and as one of copying a vector.
_LOAD, _COPY = 1.3, 2.0


def blocking(geometry: Geometry, dtype: str) -> Blocking:
    """The blocks for a geometry: as deep as the cache allows."""
    line = _planes(geometry, dtype).line(geometry.grid)
    columns = int(_tiles(line, dtype)[:, 1].max()) * tiles(dtype).width // 2
    fitting = _CACHE // (geometry.sources * columns * np.dtype(dtype).itemsize)
    return Blocking(geometry.sides, columns, min(fitting, geometry.channels * len(geometry.taps)))


def _planes(geometry: Geometry, dtype: str) -> Planes:
    """How the source is laid out: where it is read in place, its planes have at least one vector."""
    return plan_planes(geometry, dtype, tiles(dtype).width)


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
    table = _tiles(line, program.dtype)
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


def _tiles(line: int, dtype: str) -> np.ndarray:
    """Parts of a line of pixels of nearly equal width, (parts, 3): first pixel, half vectors, and pixels."""
    width = tiles(dtype).width
    vectors = -(-line // width)
    parts = -(-vectors // most_vectors(dtype))
    cut = np.arange(parts + 1) * vectors // parts
    starts = np.minimum(cut * width, line)
    return np.stack([starts[:-1], 2 * np.diff(cut), np.diff(starts)], axis=1)


def _blocks(geometry: Geometry, matrix: SparseMatrix, dst: np.ndarray) -> np.ndarray:
    """Blocks of rows, (blocks, 4): first row, rows, and where the first is stored, image by image."""
    first = np.arange(0, matrix.rows, _ROWS)
    rows = np.minimum(matrix.rows - first, _ROWS)
    plane = geometry.target[0] * geometry.target[1]
    return np.stack([first, rows, first * plane, np.full_like(first, dst.strides[0] // dst.itemsize)], axis=1)


def _listed(
    lines: Lines, pixels: Any, factors: Any, table: Any, ends: tuple[Any, Any], totals: list[list[Any]]
) -> list[list[Any]]:
    """Emit the loop over a list, and what it adds to the totals of each row that has a value for each place of it."""
    (start, stop), builder, number = ends, lines.builder, number_type()
    before, loop, after = builder.block, builder.append_basic_block("list"), builder.append_basic_block("through")
    builder.cbranch(builder.icmp_signed("<", start, stop), loop, after)
    builder.position_at_end(loop)
    i = builder.phi(number)
    sums = [[builder.phi(lines.vector) for _ in row] for row in totals]
    at = builder.zext(builder.load(builder.gep(table, [i])), number)
    chosen = [lines.spread(builder.load(builder.gep(factors, [builder.add(i, number(r))]))) for r in range(len(sums))]
    added: list[list[Any]] = [[] for _ in sums]
    for v, behind in enumerate(lines.starts):  # one after the other, so that the pixels take a single register
        vector = lines.load(pixels, builder.add(at, behind))
        for r, factor in enumerate(chosen):
            added[r].append(lines.add_product(factor, vector, sums[r][v]))
    following = builder.add(i, number(len(totals)))
    keep_rolled(builder, builder.cbranch(builder.icmp_signed("<", following, stop), loop, after))
    i.add_incoming(start, before)
    i.add_incoming(following, loop)
    builder.position_at_end(after)
    results = [[builder.phi(lines.vector) for _ in row] for row in totals]
    for phis in (sums, results):
        for row in zip(phis, totals, added, strict=True):
            for phi, total, value in zip(*row, strict=True):
                phi.add_incoming(total, before)
                phi.add_incoming(value, loop)
    return results


@intrinsic
def add_products(  # type: ignore[no-untyped-def]
    typingctx, vectors, block, values, places, ends, e0, rows, bias, b0, fresh, sums, columns
):
    """sums[columns * row :] += values[i] * block[places[i] :] for all i in the lists of each row < rows.

    Lines of so many vectors. The first row's lists are the first of those that begin at ends[e0]. Fresh sums begin with
    bias[b0 + row].
    """
    word = types.intp
    signature = types.void(
        word, block, values, places, ends, word, word, bias, word, types.boolean, sums, word
    )  # fmt: skip
    return signature, code_of_lines(_emit_products)


def _emit_products(
    lines: Lines, pixels: Any, factors: Any, places: Any, ends: Any, e0: Any, rows: Any, bias: Any, b0: Any, fresh: Any,
    sums: Any, columns: Any,
) -> None:  # fmt: skip
    """Emit what `add_products` does for lines of a fixed number of vectors."""
    builder, number = lines.builder, number_type()
    table = builder.bitcast(places, ir.IntType(16).as_pointer())

    def begin(row: Any) -> list[Any]:
        with builder.if_else(fresh) as (then, otherwise):
            with then:
                new = lines.spread(builder.load(builder.gep(bias, [builder.add(b0, row)])))
                begun = builder.block
            with otherwise:
                old, gone_on = lines.read(sums, builder.mul(columns, row)), builder.block
        totals = []
        for vector in old:
            total = builder.phi(lines.vector)
            total.add_incoming(new, begun)
            total.add_incoming(vector, gone_on)
            totals.append(total)
        return totals

    def emit_rows(pair: Any, count: int) -> None:
        rows = [builder.add(builder.shl(pair, number(1)), number(r)) for r in range(count)]
        at = builder.add(e0, builder.mul(pair, number(3)))
        stops = [builder.load(builder.gep(ends, [builder.add(at, number(i))])) for i in range(count + 2)]
        both, *others = itertools.pairwise(stops)
        totals = [begin(row) for row in rows]
        if count == 2:
            totals = _listed(lines, pixels, factors, table, both, totals)
        for r, own in enumerate(others):
            (totals[r],) = _listed(lines, pixels, factors, table, own, [totals[r]])
        for row, total in zip(rows, totals, strict=True):
            lines.write(total, sums, builder.mul(columns, row))

    pairs = builder.lshr(rows, number(1))
    with cgutils.for_range(builder, pairs, intp=number) as loop:
        emit_rows(loop.index, 2)
    with builder.if_then(builder.trunc(rows, ir.IntType(1))):
        emit_rows(pairs, 1)


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
                pair = (group * ((k + deep - 1) // deep) + k0 // deep) * ((m + 1) // 2) + row // 2
                add_products(
                    vectors, block, values, places, ends, 3 * pair, rows, bias, group * m + row, k0 == 0, sums,
                    columns,
                )  # fmt: skip
            for i in range(top, bottom):
                to = blocks[i, 2] + n * blocks[i, 3] + group * m * plane
                finish(
                    sums[(blocks[i, 0] - row) * columns :], columns, count, blocks[i, 1], dst, x, to, plane, gw, pitch,
                    target_w, step_x, step_y, x0, y0, j0, limit, mode,
                )  # fmt: skip
