"""Short rows: what is done with a few neighbouring values, some dozen at most, many times over.

Compilers make such loops of whole vectors and a rest, one value after the other; with rows of 14 pixels all is rest.
Where the processor can leave out lanes of a vector, these loops take whole vectors only, the last with a mask.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from caffe2lrp.kernels.compiling import cgutils, cpu_features, intrinsic, ir, overload, types
from caffe2lrp.kernels.vectors import Vectors, data_of


def _bytes() -> int:
    """Size of a vector whose lanes can be left out; 0 where the processor has none."""
    features = cpu_features()
    return 64 if "avx512f" in features else 32 if "avx2" in features else 0


def has_masks() -> bool:
    """Whether lanes of a vector can be left out at little cost."""
    return _bytes() > 0


class _Row(Vectors):
    """Emits a loop over whole vectors of a row."""

    def __init__(self, context: Any, builder: Any, kinds: Sequence[Any], values: Sequence[Any]) -> None:
        self.bases = [data_of(context, builder, kind, value) for kind, value in zip(kinds, values, strict=True)]
        scalar = self.bases[0].type.pointee
        super().__init__(builder, scalar, _bytes() // (4 if isinstance(scalar, ir.FloatType) else 8))

    def emit(self, starts: Sequence[Any], n: Any, inputs: int, body: Callable[..., Sequence[Any]]) -> None:
        """The first `inputs` arrays are read, the others get what the body makes of them, from places `starts` on."""
        word = ir.IntType(64)
        with cgutils.for_range_slice(self.builder, word(0), n, word(self.width), intp=word) as (i, _):
            mask = self.below(self.builder.sub(n, i))
            at = [self.builder.add(start, i) for start in starts]
            read = [self.load_where(mask, self.pointer(self.bases[j], at[j])) for j in range(inputs)]
            for j, value in enumerate(body(self, *read), inputs):
                self.store_where(mask, value, self.pointer(self.bases[j], at[j]))


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


_copy = _row_function(2, 1, lambda row, value: [value])
_rectify = _row_function(2, 1, lambda row, value: [row.rectify(value)])
_both = _row_function(3, 1, lambda row, value: [value, row.rectify(value)])
_times = _row_function(3, 2, lambda row, value, factor: [row.builder.fmul(value, factor)])


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
    return (lambda source, s, out, o, n: _copy(source, s, out, o, n)) if _bytes() else copy_row


@overload(rectify_row)
def _rectify_row(source, s, out, o, n):  # type: ignore[no-untyped-def]
    return (lambda source, s, out, o, n: _rectify(source, s, out, o, n)) if _bytes() else rectify_row


@overload(both_row)
def _both_row(source, s, out, o, rectified, p, n):  # type: ignore[no-untyped-def]
    if not _bytes():
        return both_row
    return lambda source, s, out, o, rectified, p, n: _both(source, s, out, o, rectified, p, n)


@overload(times_row)
def _times_row(source, s, factor, f, out, o, n):  # type: ignore[no-untyped-def]
    if not _bytes():
        return times_row
    return lambda source, s, factor, f, out, o, n: _times(source, s, factor, f, out, o, n)
