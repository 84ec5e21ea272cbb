"""Maxima of small windows, a vector of windows at a time: 3 x 3 at every pixel or every second, 2 x 2 at every second.

Rows are read where they lie. Columns beside the image are lanes that are left out; for rows above or below it, its
first or last row counts once more, which every window that reaches so far has in it.
"""

from __future__ import annotations

from typing import Any

from caffe2lrp.kernels.compiling import device, intrinsic, ir, types
from caffe2lrp.kernels.gemm import tiles
from caffe2lrp.kernels.vectors import Vectors, data_of

LOWEST = -3.4028234663852886e38  # Caffe starts from -FLT_MAX, in double precision too


def has_windows(window: tuple[int, ...]) -> bool:
    """Whether maxima of a window (kernel, stride and padding) can be found here."""
    return window[:4] in {(3, 3, 1, 1), (3, 3, 2, 2), (2, 2, 2, 2)}


class _Windows(Vectors):
    """Emits the maxima of a vector of windows of a kernel size at a stride."""

    def __init__(self, builder: Any, scalar: Any, width: int) -> None:
        super().__init__(builder, scalar, width)
        self.lowest = ir.Constant(self.vector, [LOWEST] * width)

    def larger(self, value: Any, other: Any) -> Any:
        """The larger value, or the second where the first is NaN."""
        return self.builder.select(self.builder.fcmp_ordered(">", value, other), value, other)

    def columns(self, kernel: int, stride: int) -> list[int]:
        """Where the vectors of pixels begin that the windows see."""
        if stride == 1:
            return list(range(kernel))
        return [i * self.width for i in range(kernel)]

    def along(self, kernel: int, stride: int, values: list[Any]) -> Any:
        """Maxima along the row, of what `columns` says."""
        if stride == 2:
            evens, odds = (self.pick(values[0], values[1], range(i, 2 * self.width, 2)) for i in range(2))
            values = [evens, odds, *values[2:]]
        if stride == 2 and kernel == 3:
            values[2] = self.pick(values[0], values[2], range(1, self.width + 1))
        found = values[0]
        for value in values[1:]:
            found = self.larger(value, found)
        return found


def _finding(kernel: int, stride: int) -> Any:
    @intrinsic
    def find(typingctx, source, s0, height, width, y, x, out, o0, n):  # type: ignore[no-untyped-def]
        """out[o0 : o0 + n], at most a vector, = maxima of the windows that begin at (y, x) of an image at s0."""
        word = types.intp

        def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            _, s0, height, width, y, x, _, o0, n = arguments
            image, target = (data_of(context, builder, signature.args[i], arguments[i]) for i in (0, 6))
            v = _Windows(builder, image.type.pointee, tiles(signature.args[0].dtype.name).width)
            number, b = ir.IntType(64), builder
            last = b.sub(height, number(1))
            places = v.columns(kernel, stride)
            masks = [
                b.xor(v.below(b.sub(width, b.add(x, number(i)))), v.below(b.neg(b.add(x, number(i))))) for i in places
            ]
            found = [v.lowest] * len(places)
            for ky in range(kernel):
                row = b.add(y, number(ky))
                row = b.select(b.icmp_signed("<", row, number(0)), number(0), row)
                row = b.select(b.icmp_signed(">", row, last), last, row)
                at = b.add(b.add(s0, x), b.mul(row, width))
                read = [
                    v.load_where(mask, v.pointer(image, b.add(at, number(i))), v.lowest)
                    for i, mask in zip(places, masks, strict=True)
                ]
                found = [v.larger(value, other) for value, other in zip(read, found, strict=True)]
            v.store_where(v.below(n), v.along(kernel, stride, found), v.pointer(target, o0))
            return context.get_dummy_value()

        return types.void(source, word, word, word, word, word, out, word, word), codegen

    return find


_three_at_each, _three_at_second, _two_at_second = _finding(3, 1), _finding(3, 2), _finding(2, 2)


@device
def find_maxima(kernel, stride, source, s0, height, width, y, x, out, o0, rows, columns, lanes):  # type: ignore[no-untyped-def]
    """Maxima of rows and columns of windows, the first of which begins at (y, x) of an image at s0, from out[o0] on."""
    for first in range(0, columns, lanes):
        left, n = x + first * stride, min(columns - first, lanes)
        for row in range(rows):
            top, to = y + row * stride, o0 + row * columns + first
            if stride == 1:
                _three_at_each(source, s0, height, width, top, left, out, to, n)
            elif kernel == 3:
                _three_at_second(source, s0, height, width, top, left, out, to, n)
            else:
                _two_at_second(source, s0, height, width, top, left, out, to, n)
