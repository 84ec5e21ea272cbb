"""Lines of a few vectors of pixels, copied to a core's own memory, where no vector is spread over two cache lines."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from caffe2lrp.kernels.compiling import cgutils, intrinsic, ir, types
from caffe2lrp.kernels.gemm import tiles
from caffe2lrp.kernels.vectors import Vectors, emit_apart, emit_cases, number_type, with_data


def most_vectors(dtype: str) -> int:
    """Vectors of a line at most: of two rows, the sums fit the registers beside a vector of pixels and two factors."""
    return min((tiles(dtype).registers - 3) // 2, 8)


class Lines(Vectors):
    """Emits loops over lines of a fixed number of vectors."""

    def __init__(self, builder: Any, scalar: Any, width: int, vectors: int) -> None:
        super().__init__(builder, scalar, width)
        self.starts = [ir.Constant(number_type(), v * width) for v in range(vectors)]

    def read(self, base: Any, at: Any) -> list[Any]:
        """The vectors of a line."""
        return [self.load(base, self.builder.add(at, start)) for start in self.starts]

    def write(self, values: list[Any], base: Any, at: Any) -> None:
        """Store the vectors of a line."""
        for value, start in zip(values, self.starts, strict=True):
            self.store(value, base, self.builder.add(at, start))


def code_of_lines(emit: Callable[..., None]) -> Callable[..., Any]:
    """The code of an intrinsic whose arguments are the number of vectors, an array of their kind, and others.

    `emit` is given the lines and the arguments, with pointers for arrays. What it emits for each number of vectors is a
    function of its own: loops over many vectors need all registers.
    """

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vectors, *given = with_data(context, builder, signature, arguments)
        dtype, scalar = signature.args[1].dtype.name, given[0].type.pointee

        def emit_one(number: int) -> None:
            def within(inner: Any, *values: Any) -> None:
                emit(Lines(inner, scalar, tiles(dtype).width, number), *values)

            emit_apart(builder, f"lines_of_{number}", given, within)

        numbers = range(1, most_vectors(dtype) + 1)
        emit_cases(builder, vectors, {number: functools.partial(emit_one, number) for number in numbers})
        return context.get_dummy_value()

    return codegen


@intrinsic
def gather(typingctx, vectors, src, s0, starts, k0, terms, count, block, b0, columns):  # type: ignore[no-untyped-def]
    """block[b0 + columns * i :] = src[s0 + starts[k0 + i] :] for i < terms: `count` values, which are so many vectors.

    The last vector ends with the last value. A vector is copied where there are fewer values.
    """
    word = types.intp
    signature = types.void(word, src, word, starts, word, word, word, block, word, word)
    return signature, code_of_lines(_emit_gather)


def _emit_gather(
    lines: Lines, source: Any, s0: Any, table: Any, k0: Any, terms: Any, count: Any, target: Any, b0: Any, columns: Any
) -> None:
    """Emit what `gather` does for a fixed number of vectors."""
    builder, number = lines.builder, number_type()
    behind = builder.sub(count, number(lines.width))
    few = builder.icmp_signed("<", behind, number(0))
    lines.starts[-1] = builder.select(few, number(0), behind)
    with cgutils.for_range(builder, terms, intp=number) as loop:
        at = builder.load(builder.gep(table, [builder.add(k0, loop.index)]))
        values = lines.read(source, builder.add(s0, at))
        lines.write(values, target, builder.add(b0, builder.mul(columns, loop.index)))
