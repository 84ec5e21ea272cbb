"""Maxima of small windows, a vector of windows at a time: 3 x 3 at every pixel or every second, 2 x 2 at every second.

Rows are read where they lie. Columns beside the image are lanes that are left out. On the way there, its first or last
row counts once more for rows above or below it: every window that reaches so far has that one in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

from caffe2lrp.kernels.compiling import cgutils, device, intrinsic, ir, types
from caffe2lrp.kernels.gemm import tiles
from caffe2lrp.kernels.vectors import Vectors, number_type, with_data

LOWEST = -3.4028234663852886e38  # Caffe starts from -FLT_MAX, in double precision too


def has_windows(window: tuple[int, ...]) -> bool:
    """Whether maxima of a window (kernel, stride and padding) can be found here."""
    return window[:4] in {(3, 3, 1, 1), (3, 3, 2, 2), (2, 2, 2, 2)}


class _Windows(Vectors):
    """Emits what is done with a vector of windows of a kernel size at a stride; the first of them begins in column x.

    Attributes
    ----------
    starts
        Where the vectors of pixels begin that the windows see, behind x.
    inside
        Masks of those of their lanes that are columns of the image.
    """

    def __init__(self, builder: Any, kernel: int, stride: int, image: Any, kind: Any, width: Any, x: Any) -> None:
        super().__init__(builder, image.type.pointee, tiles(kind.dtype.name).width)
        self.stride, self.image = stride, image
        self.starts = [i if stride == 1 else i * self.width for i in range(kernel)]
        b = builder
        places = [b.add(x, number_type()(i)) for i in self.starts]
        self.inside = [self.between(b.neg(at), b.sub(width, at)) for at in places]

    def read(self, row: Any, others: Any, masks: Sequence[Any]) -> list[Any]:
        """The vectors that begin at a place in the image, and what stands for lanes that are left out."""
        places = [self.pointer(self.image, self.builder.add(row, number_type()(i))) for i in self.starts]
        return [self.load_where(mask, at, others) for mask, at in zip(masks, places, strict=True)]

    def cells(self, values: Sequence[Any]) -> list[Any]:
        """The cells of a row of each window, from the vectors of pixels."""
        if self.stride == 1:
            return list(values)
        evens, odds = self.deal(list(values[:2]))
        return [evens, odds, *(self.pick(evens, last, range(1, self.width + 1)) for last in values[2:])]

    def pixels(self, cells: Sequence[Any]) -> list[Any]:
        """The contrary: vectors of pixels with the sums of the cells that lie there."""
        b = self.builder
        if self.stride == 1:
            return [b.fadd(cells[0], b.fadd(self._behind(cells[1], 1), self._behind(cells[2], 2)))]
        evens, odds = cells[:2]
        for last in cells[2:]:
            evens = b.fadd(evens, self._behind(last, 1))
        return self.interleave([evens, odds])

    def _behind(self, value: Any, count: int) -> Any:
        """A vector some lanes further, with zeros before."""
        return self.pick(self.zero, value, range(self.width - count, 2 * self.width - count))

    def larger(self, value: Any, other: Any) -> Any:
        """The larger value, or the second where the first is NaN."""
        return self.builder.select(self.builder.fcmp_ordered(">", value, other), value, other)

    def constant(self, value: float) -> Any:
        return ir.Constant(self.vector, [value] * self.width)

    def winners(self, values: Iterator[Sequence[Any]], highest: Any, given: Any) -> Iterator[list[Any]]:
        """For the cells of each row: what is given to a window, if they are the first that equals its maximum."""
        b = self.builder
        free = ir.Constant(ir.VectorType(ir.IntType(1), self.width), [1] * self.width)
        for row in values:
            got = []
            for value in row:
                same = b.fcmp_ordered("==", value, highest)
                got.append(b.select(b.and_(same, free), given, self.zero))
                free = b.and_(free, b.not_(same))
            yield got


def _finding(kernel: int, stride: int) -> Any:
    @intrinsic
    def find(typingctx, source, s0, height, width, y, x, out, o0, n):  # type: ignore[no-untyped-def]
        """out[o0 : o0 + n], at most a vector, = maxima of the windows that begin at (y, x) of an image at s0."""
        word = types.intp

        def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            image, s0, height, width, y, x, target, o0, n = with_data(context, builder, signature, arguments)
            v, b = _Windows(builder, kernel, stride, image, signature.args[0], width, x), builder
            last, found = b.sub(height, number_type()(1)), [v.constant(LOWEST)] * kernel
            for ky in range(kernel):
                row = b.add(y, number_type()(ky))
                row = b.select(b.icmp_signed("<", row, number_type()(0)), number_type()(0), row)
                row = b.select(b.icmp_signed(">", row, last), last, row)
                read = v.read(b.add(b.add(s0, x), b.mul(row, width)), v.constant(LOWEST), v.inside)
                found = [v.larger(value, other) for value, other in zip(read, found, strict=True)]
            first, *others = v.cells(found)
            for value in others:
                first = v.larger(value, first)
            v.store_where(v.below(n), first, v.pointer(target, o0))
            return context.get_dummy_value()

        return types.void(source, word, word, word, word, word, out, word, word), codegen

    return find


def _passing(kernel: int, stride: int) -> Any:
    @intrinsic
    def give(typingctx, source, s0, height, width, y, x, highest, given, h0, pitch, rows, n, back):  # type: ignore[no-untyped-def]
        """Add what is given to windows to the first cell of each that has its highest value.

        Of n windows in each of some rows, `pitch` apart, of which the first begins at (y, x). The pixels of a row of
        them have to fit as many vectors as the stride has pixels.
        """
        word = types.intp

        def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            handed = with_data(context, builder, signature, arguments)
            image, s0, height, width, y, x, maxima, arriving, h0, pitch, rows, n, target = handed
            v, b = _Windows(builder, kernel, stride, image, signature.args[0], width, x), builder
            there, number = v.below(n), number_type()
            # sums of the pixels that windows of the next row see, too
            kept = [[cgutils.alloca_once_value(b, v.zero) for _ in range(stride)] for _ in range(kernel - stride)]

            def inside(row: Any) -> Any:
                return b.icmp_unsigned("<", row, height)

            def place(row: Any) -> Any:
                return b.add(b.add(s0, x), b.mul(row, width))

            def add(row: Any, sums: Sequence[Any]) -> None:
                with b.if_then(inside(row)):
                    for start, mask, value in zip(v.starts, v.inside, sums, strict=False):
                        at = v.pointer(target, b.add(place(row), number(start)))
                        v.store_where(mask, b.fadd(v.load_where(mask, at), value), at)

            def cells(top: Any) -> Iterator[Sequence[Any]]:
                for ky in range(kernel):
                    row = b.add(top, number(ky))
                    masks = [b.and_(mask, v.spread(inside(row))) for mask in v.inside]
                    yield v.cells(v.read(place(row), v.constant(float("nan")), masks))

            with cgutils.for_range_slice(b, number(0), rows, number(1), intp=number) as (line, _):
                at, top = b.add(h0, b.mul(line, pitch)), b.add(y, b.mul(line, number(stride)))
                wanted, passed = (v.load_where(there, v.pointer(base, at)) for base in (maxima, arriving))
                sums = [v.pixels(got) for got in v.winners(cells(top), wanted, passed)]
                sums = [
                    [b.fadd(b.load(k), value) for k, value in zip(kept[i], row, strict=True)] if i < len(kept) else row
                    for i, row in enumerate(sums)
                ]
                for i, row in enumerate(sums[:stride]):
                    add(b.add(top, number(i)), row)
                for before, row in zip(kept, sums[stride:], strict=True):
                    for k, value in zip(before, row, strict=True):
                        b.store(value, k)
            end = b.add(y, b.mul(rows, number(stride)))
            for i, before in enumerate(kept):
                add(b.add(end, number(i)), [b.load(k) for k in before])
            return context.get_dummy_value()

        whole = types.void(source, word, word, word, word, word, highest, given, word, word, word, word, back)
        return whole, codegen

    return give


_find_each, _find_second, _find_pairs = _finding(3, 1), _finding(3, 2), _finding(2, 2)
_pass_each, _pass_second, _pass_pairs = _passing(3, 1), _passing(3, 2), _passing(2, 2)


@device
def find_maxima(kernel, stride, source, s0, height, width, y, x, out, o0, rows, columns, lanes):  # type: ignore[no-untyped-def]
    """Maxima of rows and columns of windows, the first of which begins at (y, x) of an image at s0, from out[o0] on."""
    for first in range(0, columns, lanes):
        left, n = x + first * stride, min(columns - first, lanes)
        for row in range(rows):
            top, to = y + row * stride, o0 + row * columns + first
            if stride == 1:
                _find_each(source, s0, height, width, top, left, out, to, n)
            elif kernel == 3:
                _find_second(source, s0, height, width, top, left, out, to, n)
            else:
                _find_pairs(source, s0, height, width, top, left, out, to, n)


@device
def pass_to_maxima(kernel, stride, source, s0, height, width, y, x, highest, given, h0, rows, columns, back, lanes):  # type: ignore[no-untyped-def]
    """Add what is given to each window to the first of its pixels that equals its maximum, in `back`, from s0 on."""
    if kernel == stride:  # no sums to keep for the next row: long rows are better read as they lie
        for row in range(rows):
            for first in range(0, columns, lanes):
                top, left, n, at = y + row * stride, x + first * stride, min(columns - first, lanes), h0 + row * columns
                _pass_pairs(source, s0, height, width, top, left, highest, given, at + first, columns, 1, n, back)
        return
    most = lanes - (kernel - 1) // stride
    for first in range(0, columns, most):
        left, n, at = x + first * stride, min(columns - first, most), h0 + first
        if stride == 1:
            _pass_each(source, s0, height, width, y, left, highest, given, at, columns, rows, n, back)
        else:
            _pass_second(source, s0, height, width, y, left, highest, given, at, columns, rows, n, back)
