"""Vector instructions that intrinsics are made of: what the micro-kernel, short rows and minimal filtering share."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from caffe2lrp.kernels.compiling import cgutils, ir, types


def data_of(context: Any, builder: Any, kind: Any, array: Any) -> Any:
    """Pointer to the values of an array that was handed to an intrinsic."""
    return cgutils.create_struct_proxy(kind)(context, builder, array).data


def with_data(context: Any, builder: Any, signature: Any, arguments: Sequence[Any]) -> list[Any]:
    """What was handed to an intrinsic, with a pointer to its values for each array."""
    pairs = zip(signature.args, arguments, strict=True)
    return [data_of(context, builder, kind, a) if isinstance(kind, types.Array) else a for kind, a in pairs]


def number_type() -> Any:
    """The kind of places and counts."""
    return ir.IntType(64)


def emit_cases(builder: Any, value: Any, cases: Mapping[int, Callable[[], None]]) -> None:
    """Emit the code for each of several numbers, of which `value` is one; for any other there is none."""
    done = builder.append_basic_block("done")
    switch = builder.switch(value, done)
    for number, emit in cases.items():
        block = builder.append_basic_block(f"case{number}")
        switch.add_case(value.type(number), block)
        builder.position_at_end(block)
        emit()
        builder.branch(done)
    builder.position_at_end(done)


def emit_apart(builder: Any, name: str, arguments: Sequence[Any], emit: Callable[..., None]) -> None:
    """Emit code as a function of its own, and call it: its loops need not share registers with what is around."""
    kind = ir.FunctionType(ir.VoidType(), [argument.type for argument in arguments])
    function = ir.Function(builder.module, kind, builder.module.get_unique_name(name))
    function.linkage = "internal"
    function.attributes.add("noinline")
    inner = ir.IRBuilder(function.append_basic_block())
    emit(inner, *function.args)
    inner.ret_void()
    builder.call(function, arguments)


def keep_rolled(builder: Any, branch: Any) -> None:
    """Have the compiler leave a loop, which the branch ends, as it is.

    It cannot know that a loop is short, and would put one for the rest beside one over several steps at once. The
    processor foresees the end of neither.
    """
    module = builder.module
    off = module.add_metadata([ir.MetaDataString(module, "llvm.loop.unroll.disable")])
    loop = module.add_metadata([ir.MetaDataString(module, f"loop {len(module.metadata)}"), off])
    loop.operands = (loop, off)  # what is said of a loop begins with itself, so that it is not taken for another's
    branch.set_metadata("llvm.loop", loop)


class Vectors:
    """Emits instructions for vectors of `width` numbers of the kind `scalar`."""

    def __init__(self, builder: Any, scalar: Any, width: int) -> None:
        self.builder, self.scalar, self.width = builder, scalar, width
        self.size = 4 if isinstance(scalar, ir.FloatType) else 8
        self.vector = ir.VectorType(scalar, width)
        self.zero = ir.Constant(self.vector, [0.0] * width)
        self._aligned = ir.IntType(32)(self.size)

    def pointer(self, base: Any, at: Any) -> Any:
        return self.builder.bitcast(self.builder.gep(base, [at]), self.vector.as_pointer())

    def load(self, base: Any, at: Any) -> Any:
        return self.builder.load(self.pointer(base, at), align=self.size)

    def store(self, value: Any, base: Any, at: Any) -> None:
        self.builder.store(value, self.pointer(base, at), align=self.size)

    def load_where(self, mask: Any, place: Any, others: Any = None) -> Any:
        """Those lanes that the mask has a 1 for; the others are zeros, or those of `others`."""
        return self._masked("load", self.vector, place, self._aligned, mask, self.zero if others is None else others)

    def store_where(self, mask: Any, value: Any, place: Any) -> None:
        """Store those lanes that the mask has a 1 for."""
        self._masked("store", ir.VoidType(), value, place, self._aligned, mask)

    def _masked(self, what: str, result: Any, *arguments: Any) -> Any:
        name = f"v{self.width}f{8 * self.size}"
        kind = ir.FunctionType(result, [argument.type for argument in arguments])
        function = cgutils.get_or_insert_function(self.builder.module, kind, f"llvm.masked.{what}.{name}.p0{name}")
        return self.builder.call(function, arguments)

    def below(self, count: Any) -> Any:
        """The mask of the first `count` lanes."""
        lane = ir.IntType(8 * self.size)
        lanes = ir.Constant(ir.VectorType(lane, self.width), list(range(self.width)))
        count = self.builder.trunc(count, lane) if self.size < 8 else count
        return self.builder.icmp_signed("<", lanes, self.spread(count))

    def between(self, start: Any, stop: Any) -> Any:
        """The mask of the lanes from `start` to the one before `stop`; both may lie outside the vector."""
        return self.builder.xor(self.below(start), self.below(stop))

    def spread(self, value: Any) -> Any:
        """A number of any kind in all lanes."""
        number = ir.IntType(32)
        undefined = ir.Constant(ir.VectorType(value.type, self.width), ir.Undefined)
        single = self.builder.insert_element(undefined, value, number(0))
        lanes = ir.Constant(ir.VectorType(number, self.width), [0] * self.width)
        return self.builder.shuffle_vector(single, undefined, lanes)

    def add_product(self, factor: Any, value: Any, total: Any) -> Any:
        """factor * value + total, rounded once."""
        kind = ir.FunctionType(self.vector, [self.vector] * 3)
        name = f"llvm.fma.v{self.width}f{8 * self.size}"
        return self.builder.call(
            cgutils.get_or_insert_function(self.builder.module, kind, name), (factor, value, total)
        )

    def rectify(self, value: Any) -> Any:
        return self.at_least(self.zero, value)

    def at_least(self, least: Any, value: Any) -> Any:
        # "not less than" lets NaN through, as max(0, NaN) of the plain loop does
        return self.builder.select(self.builder.fcmp_ordered("<", value, least), least, value)

    def pick(self, first: Any, second: Any, lanes: Sequence[int]) -> Any:
        """Some of the lanes of two vectors."""
        chosen = ir.Constant(ir.VectorType(ir.IntType(32), self.width), list(lanes))
        return self.builder.shuffle_vector(first, second, chosen)

    def interleave(self, vectors: list[Any]) -> list[Any]:
        """Vectors with the lanes of all in turn; their number is a power of two."""
        if len(vectors) == 1:
            return vectors
        lanes = [lane + self.width * half for lane in range(self.width) for half in range(2)]
        halves = (lanes[: self.width], lanes[self.width :])
        pairs = zip(self.interleave(vectors[::2]), self.interleave(vectors[1::2]), strict=True)
        return [self.pick(even, odd, half) for even, odd in pairs for half in halves]

    def deal(self, vectors: list[Any]) -> list[Any]:
        """The contrary: lanes dealt out to as many vectors in turn."""
        if len(vectors) == 1:
            return vectors
        pairs = list(zip(vectors[::2], vectors[1::2], strict=True))
        evens, odds = (
            self.deal([self.pick(*pair, list(range(first, 2 * self.width, 2))) for pair in pairs]) for first in (0, 1)
        )
        return [vector for pair in zip(evens, odds, strict=True) for vector in pair]
