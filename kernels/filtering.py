"""Minimal filtering: neighbouring outputs of a convolution in fewer multiplications than one for each cell and output.

With d the inputs that the outputs Y depend on, and g the cells, along one axis and, nested, along both,

    y = A [(G g) * (B d)]              Y = A [(G g G') * (B d B')] A'           (* is by element, ' the transpose)

The matrices are those of Toom and Cook, who multiply polynomials by way of their values at some points; transposed, as
in Winograd, "Arithmetic Complexity of Computations" (1980), and Lavin and Gray, "Fast Algorithms for Convolutional
Neural Networks" (2016). The result is the same number; rounding depends on the points, see Barabasz et al., "Error
Analysis and Improving the Accuracy of Winograd Convolution for Deep Neural Networks" (2020).
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

import numpy as np

from caffe2lrp.kernels.compiling import cgutils, intrinsic, ir, types
from caffe2lrp.kernels.gemm import tiles
from caffe2lrp.kernels.rows import has_masks
from caffe2lrp.kernels.vectors import Vectors, emit_cases, with_data


@dataclass(frozen=True)
class Filter:
    """The matrices A, G and B for one axis.

    Attributes
    ----------
    outputs
        A, (outputs, products).
    cells
        G, (products, cells).
    pixels
        B, (products, inputs).
    """

    outputs: np.ndarray
    cells: np.ndarray
    pixels: np.ndarray

    @property
    def side(self) -> int:
        """Outputs."""
        return len(self.outputs)

    @property
    def products(self) -> int:
        """Multiplications."""
        return len(self.cells)

    @property
    def reach(self) -> int:
        """Inputs."""
        return self.pixels.shape[1]


def toom_cook(outputs: int, cells: int, points: Sequence[float]) -> Filter:
    """The filter that takes values at points, one less than there are products, and at infinity."""
    exact = [Fraction(point) for point in points]
    inverse = _inverted(_powers(exact, outputs + cells - 1))
    pixels = np.array(inverse, object).T
    # the smallest factor of each input sum becomes 1: the cells take over the rest
    scale = np.array([min(abs(v) for v in row if v) for row in pixels])[:, None]
    return Filter(
        np.array(_powers(exact, outputs), float).T,
        np.array(np.array(_powers(exact, cells), object) * scale, float),
        np.array(pixels / scale, float),
    )


def _powers(points: Sequence[Fraction], count: int) -> list[list[Fraction]]:
    """Rows of 1, p, p^2, ... for each point; for infinity the highest alone."""
    finite = [[point**power for power in range(count)] for point in points]
    return [*finite, [Fraction(power == count - 1) for power in range(count)]]


def _inverted(matrix: list[list[Fraction]]) -> list[list[Fraction]]:
    """The inverse by Gauss and Jordan, exact."""
    n = len(matrix)
    rows = [[*row, *(Fraction(i == j) for j in range(n))] for i, row in enumerate(matrix)]
    for column in range(n):
        pivot = next(i for i in range(column, n) if rows[i][column])
        rows[column], rows[pivot] = rows[pivot], rows[column]
        rows[column] = [v / rows[column][column] for v in rows[column]]
        for i in range(n):
            if i != column:
                rows[i] = [v - rows[i][column] * w for v, w in zip(rows[i], rows[column], strict=True)]
    return [row[n:] for row in rows]


def beside(first: Filter, second: Filter) -> Filter:
    """The filter for the cells of both, one after the other: the sum of two, with small numbers in its matrices."""
    before = first.cells.shape[1]
    shape = (first.products + second.products, before + second.reach)
    cells = np.zeros((shape[0], before + second.cells.shape[1]))
    cells[: first.products, :before], cells[first.products :, before:] = first.cells, second.cells
    pixels = np.zeros(shape)
    pixels[: first.products, : first.reach], pixels[first.products :, before:] = first.pixels, second.pixels
    return Filter(np.hstack([first.outputs, second.outputs]), cells, pixels)


_TWO_OF_THREE = toom_cook(2, 3, (0, 1, -1))
FILTERS = (
    _TWO_OF_THREE,
    toom_cook(4, 3, (0, 0.625, -0.625, 1.5, -1.5)),
    beside(_TWO_OF_THREE, toom_cook(2, 2, (0, 1))),
)
"""2 outputs of 3 cells in 4 products, 4 of 3 in 6, 2 of 5 in 7."""


# -- transforms, of vectors of tiles that lie side by side -------------------------------------------------------


class _Transform(Vectors):
    """Emits products with the matrices of a filter."""

    def both_ways(self, matrix: np.ndarray, values: list[list[Any]]) -> list[list[Any]]:
        """M V M' for rows of vectors."""
        columns = [self.product(matrix, [row[i] for row in values]) for i in range(len(values))]
        return [self.product(matrix, [column[i] for column in columns]) for i in range(len(matrix))]

    def product(self, matrix: np.ndarray, values: list[Any]) -> list[Any]:
        """M v; rows or columns that differ in signs only share what they can."""
        columns = _mirrored(matrix.T)
        for i, j in columns:
            b = self.builder
            values = list(values)
            values[i], values[j] = b.fadd(values[i], values[j]), b.fsub(values[i], values[j])
            same = matrix[:, i] == matrix[:, j]
            matrix = matrix.copy()
            matrix[:, j] = np.where(same, 0, matrix[:, i])
            matrix[:, i] = np.where(same, matrix[:, i], 0)
        found: dict[int, Any] = {}
        for i, j in [] if columns else _mirrored(matrix):
            same = matrix[i] == matrix[j]
            even, odd = self._sum(np.where(same, matrix[i], 0), values), self._sum(np.where(same, 0, matrix[i]), values)
            found[i], found[j] = self.builder.fadd(even, odd), self.builder.fsub(even, odd)
        return [found[i] if i in found else self._sum(row, values) for i, row in enumerate(matrix)]

    def _sum(self, factors: np.ndarray, values: list[Any]) -> Any:
        """A weighted sum."""
        b, total = self.builder, None
        # the sum starts with a value that counts in full, if there is one
        for i in sorted(np.flatnonzero(factors), key=lambda i: factors[i] != 1):
            factor, value = float(factors[i]), values[i]
            if total is None:
                total = value if factor == 1 else b.fmul(value, self._constant(factor))
            elif abs(factor) == 1:
                total = b.fadd(total, value) if factor == 1 else b.fsub(total, value)
            else:
                total = self.add_product(value, self._constant(factor), total)
        return total

    def _constant(self, value: float) -> Any:
        return ir.Constant(self.vector, [float(np.float32(value)) if self.size == 4 else value] * self.width)

    def dealt(self, load: Callable[[int, int], Any], several: int, count: int) -> list[Any]:
        """Vectors of the pixels 0, n, 2 n, ... of n vectors, and those of the pixels behind.

        `load(i, behind)` loads the i-th of the n, so many pixels behind.
        """
        found: list[Any] = []
        for first in range(0, count, several):
            found += self.deal([load(i, first) for i in range(several)])
        return found[:count]

    def store_pieces(self, value: Any, base: Any, places: list[Any]) -> None:
        """Store a vector in as many pieces as there are places."""
        lanes = self.width // len(places)
        for i, at in enumerate(places):
            chosen = ir.Constant(ir.VectorType(ir.IntType(32), lanes), list(range(i * lanes, (i + 1) * lanes)))
            piece = self.builder.shuffle_vector(value, value, chosen)
            pointer = self.builder.bitcast(self.builder.gep(base, [at]), piece.type.as_pointer())
            self.builder.store(piece, pointer, align=self.size)


def _mirrored(matrix: np.ndarray) -> list[tuple[int, int]]:
    """Pairs of rows that differ in the signs of some of their values, and have more than one."""
    rows = np.abs(matrix)
    return [
        (i, i + 1)
        for i in range(len(rows) - 1)
        if np.array_equal(rows[i], rows[i + 1]) and np.count_nonzero(rows[i]) > 1
    ]


def pieces(side: int, width: int) -> int:
    """Pieces of a vector of tiles that may come from different rows: as many as it takes vectors of pixels."""
    return min(side, width)


def _emit_for_each(builder: Any, kind: Any, emit: Callable[[Filter], None]) -> None:
    """Emit the code for each of the filters, of which `kind` chooses one."""
    emit_cases(builder, kind, {number: functools.partial(emit, chosen) for number, chosen in enumerate(FILTERS)})


# Numbers that `to_tiles` is told of each run of tiles.
RUN = 6


@intrinsic
def to_tiles(typingctx, kind, whole, src, starts, zeros, s0, cuts, count, out, o0, step):  # type: ignore[no-untyped-def]
    """out[o + step * q + t] = (B d B')[q] with d[y, x] = src[s + starts[y] + side * t + x].

    For whole vectors of tiles t. `cuts` has numbers for each of `count` vectors, or else for each of the `pieces` of
    them: s - s0, o - o0, and which of its columns and rows of pixels are there: the first and the one behind the last
    of each. The others are zeros, where lanes can be left out; else all have to be there.
    """
    word = types.intp
    signature = types.void(word, types.boolean, src, starts, zeros, word, cuts, word, out, word, word)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        given = with_data(context, builder, signature, arguments)
        kind, whole, source, table, nothing, s0, runs, count, target, o0, step = given
        width = tiles(signature.args[2].dtype.name).width
        v, number = _Transform(builder, source.type.pointee, width), ir.IntType(64)

        def emit_pieces(chosen: Filter, several: int) -> None:
            n, each = chosen.reach, chosen.side // several
            lines = [builder.load(builder.gep(table, [number(y)])) for y in range(n)]
            with cgutils.for_range_slice(builder, number(0), count, number(several), intp=number) as (first, _):
                at = builder.mul(first, number(RUN))
                said = [
                    [builder.load(builder.gep(runs, [builder.add(at, number(RUN * piece + i))])) for i in range(RUN)]
                    for piece in range(several)
                ]
                masks: dict[tuple[int, int], Any] = {}

                def load(y: int, i: int, behind: int) -> Any:
                    place, _, left, right, above, below = said[i // each]
                    begin = builder.gep(source, [builder.add(builder.add(s0, place), lines[y])])
                    column = number(i % each * width + behind)
                    if not has_masks():
                        return v.load(begin, column)
                    if (i, behind) not in masks:
                        masks[i, behind] = v.between(builder.sub(left, column), builder.sub(right, column))
                    there = builder.and_(
                        builder.icmp_signed("<=", above, number(y)), builder.icmp_signed("<", number(y), below)
                    )
                    return v.load_where(masks[i, behind], v.pointer(builder.select(there, begin, nothing), column))

                d = [v.dealt(functools.partial(load, y), chosen.side, n) for y in range(n)]
                targets = [builder.add(o0, numbers[1]) for numbers in said]
                for row in v.both_ways(chosen.pixels, d):
                    for value in row:
                        v.store_pieces(value, target, targets)
                        targets = [builder.add(at, step) for at in targets]

        def emit(chosen: Filter) -> None:
            with builder.if_else(whole) as (one, many):
                with one:
                    emit_pieces(chosen, 1)
                with many:
                    emit_pieces(chosen, pieces(chosen.side, width))

        _emit_for_each(builder, kind, emit)
        return context.get_dummy_value()

    return signature, codegen


@intrinsic
def from_tiles(typingctx, kind, products, p0, step, count, bias, runs, line, out, o0, pitch, least, times, factor):  # type: ignore[no-untyped-def]
    """A m A' + bias with m[q] = products[p0 + step * q + t], for whole vectors of tiles t < count.

    Each row of the outputs of a vector of tiles is as many vectors as a tile has columns, and goes where the runs say,
    those from line[i] to line[i + 1] for the i-th vector: place of its first lane in `out` behind o0, the first lane
    that is stored, the one behind the last, and the number of rows, `pitch` apart. Values below `least` become that;
    with `times`, they are multiplied by the factors that lie as `out` does.
    """
    word = types.intp
    signature = types.void(
        word, products, word, word, word, bias, runs, line, out, word, word, bias, types.boolean, factor
    )

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        given = with_data(context, builder, signature, arguments)
        kind, source, p0, step, count, bias, cut, first_of, target, o0, pitch, least, times, factors = given
        width = tiles(signature.args[1].dtype.name).width
        v, number = _Transform(builder, source.type.pointee, width), ir.IntType(64)
        added, floor = v.spread(bias), v.spread(least)

        def field(run: Any, n: int) -> Any:
            return builder.load(builder.gep(cut, [builder.add(builder.mul(run, number(4)), number(n))]))

        def emit(chosen: Filter) -> None:
            n, side = chosen.products, chosen.side
            with cgutils.for_range_slice(builder, number(0), count, number(width), intp=number) as (t, _):
                at = builder.add(p0, t)
                m = [v.load(source, builder.add(at, builder.mul(step, number(q)))) for q in range(n * n)]
                rows = v.both_ways(chosen.outputs, [m[n * y : n * y + n] for y in range(n)])
                rows = [v.interleave([v.at_least(floor, builder.fadd(value, added)) for value in row]) for row in rows]
                start = builder.mul(builder.udiv(t, number(width)), number(side))
                for i in range(side):
                    place = builder.add(start, number(i))
                    first = builder.load(builder.gep(first_of, [place]))
                    last = builder.load(builder.gep(first_of, [builder.add(place, number(1))]))
                    with cgutils.for_range_slice(builder, first, last, number(1), intp=number) as (run, _):
                        to = builder.add(o0, field(run, 0))
                        lanes = v.between(field(run, 1), field(run, 2))
                        for y in range(side):
                            mask = builder.and_(lanes, v.spread(builder.icmp_signed(">", field(run, 3), number(y))))
                            with builder.if_else(times) as (multiplied, plain):
                                with multiplied:
                                    value = builder.fmul(rows[y][i], v.load_where(mask, v.pointer(factors, to)))
                                    v.store_where(mask, value, v.pointer(target, to))
                                with plain:
                                    v.store_where(mask, rows[y][i], v.pointer(target, to))
                            to = builder.add(to, pitch)

        _emit_for_each(builder, kind, emit)
        return context.get_dummy_value()

    return signature, codegen
