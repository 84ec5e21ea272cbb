"""Short rows: what is done with a few neighbouring values, some dozen at most, many times over.

Compilers make such loops of whole vectors and a rest, one value after the other; with rows of 14 pixels all is rest.
Where the processor can leave out lanes of a vector, these loops take whole vectors only, the last with a mask.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir

from caffe2lrp.kernels.compiling import cgutils, cpu_features, intrinsic, overload, types

_BYTES = 64  # of a vector


class _Row:
    """Emits a loop over whole vectors of a row."""

    def __init__(self, context: Any, builder: Any, kinds: Sequence[Any], values: Sequence[Any]) -> None:
        self.builder = builder
        self.bases = [
            cgutils.create_struct_proxy(k)(context, builder, v).data for k, v in zip(kinds, values, strict=True)
        ]
        self.scalar = self.bases[0].type.pointee
        self.short = "f32" if isinstance(self.scalar, ir.FloatType) else "f64"
        self.size = 4 if self.short == "f32" else 8
        self.lanes = _BYTES // self.size
        self.vector = ir.VectorType(self.scalar, self.lanes)
        self.flags = ir.VectorType(ir.IntType(1), self.lanes)
        self.pointer = self.vector.as_pointer()
        self.name = f"v{self.lanes}{self.short}.p0v{self.lanes}{self.short}"

    def spread(self, value: Any) -> Any:
        """A number in all lanes."""
        undefined = ir.Constant(ir.VectorType(value.type, self.lanes), ir.Undefined)
        single = self.builder.insert_element(undefined, value, ir.Constant(ir.IntType(32), 0))
        zeros = ir.Constant(ir.VectorType(ir.IntType(32), self.lanes), [0] * self.lanes)
        return self.builder.shuffle_vector(single, undefined, zeros)

    @property
    def zero(self) -> Any:
        return ir.Constant(self.vector, [0.0] * self.lanes)

    def load(self, base: Any, at: Any, mask: Any) -> Any:
        number = ir.IntType(32)
        kind = ir.FunctionType(self.vector, [self.pointer, number, self.flags, self.vector])
        function = cgutils.get_or_insert_function(self.builder.module, kind, f"llvm.masked.load.{self.name}")
        address = self.builder.bitcast(self.builder.gep(base, [at]), self.pointer)
        return self.builder.call(function, [address, number(self.size), mask, self.zero])

    def store(self, value: Any, base: Any, at: Any, mask: Any) -> None:
        number = ir.IntType(32)
        kind = ir.FunctionType(ir.VoidType(), [self.vector, self.pointer, number, self.flags])
        function = cgutils.get_or_insert_function(self.builder.module, kind, f"llvm.masked.store.{self.name}")
        address = self.builder.bitcast(self.builder.gep(base, [at]), self.pointer)
        self.builder.call(function, [value, address, number(self.size), mask])

    def emit(self, starts: Sequence[Any], n: Any, inputs: int, body: Callable[..., Sequence[Any]]) -> None:
        """The first `inputs` arrays are read, the others get what the body makes of them, from places `starts` on."""
        word = ir.IntType(64)
        counting = ir.Constant(ir.VectorType(word, self.lanes), list(range(self.lanes)))
        with cgutils.for_range_slice(self.builder, word(0), n, word(self.lanes), intp=word) as (i, _):
            places = self.builder.add(self.spread(i), counting)
            mask = self.builder.icmp_signed("<", places, self.spread(n))
            at = [self.builder.add(start, i) for start in starts]
            read = [self.load(self.bases[j], at[j], mask) for j in range(inputs)]
            for j, value in enumerate(body(self, *read), inputs):
                self.store(value, self.bases[j], at[j], mask)


def _row_function(arrays: int, inputs: int, body: Callable[..., Sequence[Any]]) -> Any:
    """Intrinsic ``f(array, start, array, start, ..., n)``."""

    def make(*arguments: Any) -> Any:
        signature = types.void(*arguments)

        def codegen(context: Any, builder: Any, signature: Any, values: Any) -> Any:
            row = _Row(context, builder, signature.args[: 2 * arrays : 2], values[: 2 * arrays : 2])
            row.emit(values[1 : 2 * arrays : 2], values[-1], inputs, body)
            return context.get_dummy_value()

        return signature, codegen

    if arrays == 2:

        @intrinsic
        def two(typingctx, a, a0, b, b0, n):  # type: ignore[no-untyped-def]
            return make(a, types.intp, b, types.intp, types.intp)

        return two

    @intrinsic
    def three(typingctx, a, a0, b, b0, c, c0, n):  # type: ignore[no-untyped-def]
        return make(a, types.intp, b, types.intp, c, types.intp, types.intp)

    return three


def _rectified(row: _Row, value: Any) -> Any:
    # "not less than" lets NaN through, as max(0, NaN) of the plain loop does
    return row.builder.select(row.builder.fcmp_ordered("<", value, row.zero), row.zero, value)


_copy = _row_function(2, 1, lambda row, value: [value])
_rectify = _row_function(2, 1, lambda row, value: [_rectified(row, value)])
_both = _row_function(3, 1, lambda row, value: [value, _rectified(row, value)])
_times = _row_function(3, 2, lambda row, value, factor: [row.builder.fmul(value, factor)])


def _masked() -> bool:
    return "avx512f" in cpu_features()


# An overload has to be a Python function that calls the intrinsic; the intrinsic itself is none.
# ruff: noqa: PLW0108


def copy_row(source, s, out, o, n):  # type: ignore[no-untyped-def]
    """out[o : o + n] = source[s : s + n]; in the same array, out may lie before the source and overlap it."""
    for i in range(n):
        out[o + i] = source[s + i]


def rectify_row(source, s, out, o, n):  # type: ignore[no-untyped-def]
    """out[o : o + n] = max(source[s : s + n], 0)."""
    zero = source.dtype.type(0)
    for i in range(n):
        out[o + i] = zero if source[s + i] < zero else source[s + i]


def both_row(source, s, out, o, rectified, p, n):  # type: ignore[no-untyped-def]
    """The two above."""
    zero = source.dtype.type(0)
    for i in range(n):
        out[o + i] = source[s + i]
        rectified[p + i] = zero if source[s + i] < zero else source[s + i]


def times_row(source, s, factor, f, out, o, n):  # type: ignore[no-untyped-def]
    """out[o : o + n] = source[s : s + n] * factor[f : f + n]."""
    for i in range(n):
        out[o + i] = source[s + i] * factor[f + i]


@overload(copy_row)
def _copy_row(source, s, out, o, n):  # type: ignore[no-untyped-def]
    return (lambda source, s, out, o, n: _copy(source, s, out, o, n)) if _masked() else copy_row


@overload(rectify_row)
def _rectify_row(source, s, out, o, n):  # type: ignore[no-untyped-def]
    return (lambda source, s, out, o, n: _rectify(source, s, out, o, n)) if _masked() else rectify_row


@overload(both_row)
def _both_row(source, s, out, o, rectified, p, n):  # type: ignore[no-untyped-def]
    if not _masked():
        return both_row
    return lambda source, s, out, o, rectified, p, n: _both(source, s, out, o, rectified, p, n)


@overload(times_row)
def _times_row(source, s, factor, f, out, o, n):  # type: ignore[no-untyped-def]
    if not _masked():
        return times_row
    return lambda source, s, factor, f, out, o, n: _times(source, s, factor, f, out, o, n)
