"""Lines of a few vectors of pixels, copied to a core's own memory, where no vector is spread over two cache lines."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

from caffe2lrp.kernels.compiling import cgutils, intrinsic, ir, types
from caffe2lrp.kernels.gemm import tiles
from caffe2lrp.kernels.vectors import Vectors, data_of, emit_cases, number_type

VECTORS = 8  # of a line at most


class Lines(Vectors):
    """Emits loops over lines of a fixed number of vectors."""

    def __init__(self, builder: Any, scalar: Any, vectors: int) -> None:
        super().__init__(builder, scalar, tiles("float32" if isinstance(scalar, ir.FloatType) else "float64").width)
        self.starts = [ir.Constant(number_type(), v * self.width) for v in range(vectors)]

    def read(self, base: Any, at: Any) -> list[Any]:
        """The vectors of a line."""
        return [self.load(base, self.builder.add(at, start)) for start in self.starts]

    def write(self, values: list[Any], base: Any, at: Any) -> None:
        """Store the vectors of a line."""
        for value, start in zip(values, self.starts, strict=True):
            self.store(value, base, self.builder.add(at, start))


def emit_for_each(builder: Any, scalar: Any, vectors: Any, emit: Callable[[Lines], None]) -> None:
    """Emit the code for each number of vectors, of which `vectors` chooses one."""
    numbers = range(1, VECTORS + 1)
    emit_cases(builder, vectors, {n: functools.partial(emit, Lines(builder, scalar, n)) for n in numbers})


@intrinsic
def gather(typingctx, vectors, src, s0, starts, k0, terms, count, block, b0, columns):  # type: ignore[no-untyped-def]
    """block[b0 + columns * i :] = src[s0 + starts[k0 + i] :] for i < terms: `count` values, which are so many vectors.

    The last vector ends with the last value. A vector is copied where there are fewer values.
    """
    word = types.intp
    signature = types.void(word, src, word, starts, word, word, word, block, word, word)

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vectors, src, s0, starts, k0, terms, count, block, b0, columns = arguments
        source, table, target = (
            data_of(context, builder, signature.args[i], array) for i, array in ((1, src), (3, starts), (7, block))
        )

        def emit(lines: Lines) -> None:
            behind = builder.sub(count, number_type()(lines.width))
            few = builder.icmp_signed("<", behind, number_type()(0))
            lines.starts[-1] = builder.select(few, number_type()(0), behind)
            with cgutils.for_range(builder, terms, intp=number_type()) as loop:
                at = builder.load(builder.gep(table, [builder.add(k0, loop.index)]))
                values = lines.read(source, builder.add(s0, at))
                lines.write(values, target, builder.add(b0, builder.mul(columns, loop.index)))

        emit_for_each(builder, source.type.pointee, vectors, emit)
        return context.get_dummy_value()

    return signature, codegen
