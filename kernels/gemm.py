"""The register-tiled matrix product at the bottom of convolution.

A micro-kernel multiplies a packed panel of rows A (K, rows) with rows of columns B, which lie where they are in
memory: a table tells where each of the K rows starts. So a convolution reads its pixels in place. The whole tile
of results stays in vector registers until the end. It is written as LLVM vector instructions, because no compiler
finds this register allocation by itself. Tiles are chosen for the processor that code is generated for; any
other processor gets a smaller tile of the same code.
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from caffe2lrp.kernels.compiling import cgutils, cpu_features, intrinsic, ir, types
from caffe2lrp.kernels.vectors import Vectors, emit_cases, with_data

# What happens to a finished tile: + is the bias of each row, x is an array of the shape of the result.
STORE = 0  # c = tile + bias
STORE_RELU = 1  # c = max(tile + bias, 0)
STORE_TIMES = 2  # c = tile * x
STORE_BOTH = 3  # c = tile + bias, x = max(c, 0)


@dataclass(frozen=True)
class Tiles:
    """Tile sizes for one precision: rows to choose from, vectors per row, values per vector; and how many registers."""

    rows: tuple[int, int]
    vectors: int
    width: int
    registers: int

    @property
    def columns(self) -> int:
        """Columns of a full panel."""
        return self.vectors * self.width


@functools.cache
def tiles(dtype: str) -> Tiles:
    """Tile sizes that fit the vector registers of the processor."""
    features = cpu_features()
    size = np.dtype(dtype).itemsize
    if "avx512f" in features:  # 32 registers of 64 bytes: 24 sums, three columns and a factor
        return Tiles((8, 4), 3, 64 // size, 32)
    if "avx2" in features and "fma" in features:  # 16 registers of 32 bytes
        return Tiles((6, 4), 2, 32 // size, 16)
    if "neon" in features or "asimd" in features:  # 32 registers of 16 bytes
        return Tiles((8, 4), 2, 16 // size, 32)
    return Tiles((4, 2), 2, 16 // size, 16)


def cut_rows(m: int, dtype: str) -> list[int]:
    """Rows of the tiles that `m` rows are cut into: as few as possible beyond `m`, and as few tiles as possible."""
    big, small = tiles(dtype).rows
    cuts = [[big] * n + [small] * -(-max(m - n * big, 0) // small) for n in range(-(-m // big) + 1)]
    return min(cuts, key=lambda cut: (sum(cut), len(cut)))


def pack_rows(matrices: np.ndarray, cut: list[int]) -> np.ndarray:
    """Pack matrices (group, M, K) into panels (K, rows) one after the other, the last filled up with zeros; flat.

    All panels of a size are one copy: memory that is touched for the first time costs more than the copy.
    """
    group, m, k = matrices.shape
    packed = np.empty((group, sum(cut) * k), matrices.dtype)
    first = 0
    for rows, same in itertools.groupby(cut):
        panels = packed[:, first * k :][:, : sum(same) * k].reshape(group, -1, k, rows)
        whole = min(panels.shape[1], (m - first) // rows)
        from_here = matrices[:, first:]
        panels[:, :whole] = from_here[:, : whole * rows].reshape(group, whole, rows, k).transpose(0, 1, 3, 2)
        rest = from_here[:, whole * rows :]
        for panel in range(whole, panels.shape[1]):
            panels[:, panel, :, : rest.shape[1]] = rest.transpose(0, 2, 1)
            panels[:, panel, :, rest.shape[1] :] = 0
        first += panels.shape[1] * rows
    return packed.reshape(-1)


@intrinsic
def micro_kernel(  # type: ignore[no-untyped-def]
    typingctx, rows, halves, a, a0, ahead, b, b0, coming, starts, k, bias, row0, c, c0, stride, x, mode
):
    """One tile of the product, of `rows` rows and `halves` half vectors, as `Tiles` has them.

    While it reads A and B it asks for what lies so many values `ahead` in A, and for what is `coming` so many values
    behind each row of B: the processor by itself does so within pages of 4 KB only.
    """
    word = types.intp
    signature = types.void(
        word, word, a, word, word, b, word, word, starts, word, bias, word, c, word, word, x, word
    )  # fmt: skip

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        rows, halves, *rest = with_data(context, builder, signature, arguments)
        layout = tiles(signature.args[2].dtype.name)

        def emit(m: int, n: int) -> None:
            vectors, width = max(n // 2, 1), layout.width // (1 if n > 1 else 2)
            _Tile(builder, rest, m, vectors, width).emit()

        sizes = itertools.product(layout.rows, (2 * layout.vectors, 2, 1))
        chosen = builder.add(builder.mul(rows, rows.type(64)), halves)
        emit_cases(builder, chosen, {m * 64 + n: functools.partial(emit, m, n) for m, n in sizes})
        return context.get_dummy_value()

    return signature, codegen


def emit_prefetch(builder: Any, base: Any, index: Any, write: int) -> None:
    """Emit the request for the cache line of base[index]; any address will do."""
    small, byte = ir.IntType(32), ir.IntType(8).as_pointer()
    kind = ir.FunctionType(ir.VoidType(), [byte, small, small, small])
    function = cgutils.get_or_insert_function(builder.module, kind, "llvm.prefetch.p0i8")
    address = builder.bitcast(builder.gep(base, [index]), byte)
    builder.call(function, [address, *(ir.Constant(small, n) for n in (write, 3, 1))])


def _prefetching(write: int) -> Any:
    @intrinsic
    def prefetch(typingctx, array, index):  # type: ignore[no-untyped-def]
        """Ask for the cache line of ``array[index]``."""

        def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
            base, at = with_data(context, builder, signature, arguments)
            emit_prefetch(builder, base, at, write)
            return context.get_dummy_value()

        return types.void(array, types.intp), codegen

    return prefetch


prefetch_to_read, prefetch_to_write = _prefetching(0), _prefetching(1)


class _Tile(Vectors):
    """Emits the code of one micro-kernel."""

    def __init__(self, builder: Any, arguments: Sequence[Any], rows: int, vectors: int, width: int) -> None:
        self.rows, self.vectors = rows, vectors
        self.a, self.a0, self.ahead, self.b, self.b0, self.coming, self.starts, self.k, *rest = arguments
        self.bias, self.row0, self.c, self.c0, self.stride, self.x, self.mode = rest
        super().__init__(builder, self.a.type.pointee, width)
        self.word = ir.IntType(64)

    def _int(self, value: int) -> Any:
        return ir.Constant(self.word, value)

    def _spread_from(self, base: Any, offset: Any) -> Any:
        """One value from memory in all lanes."""
        return self.spread(self.builder.load(self.builder.gep(base, [offset])))

    def emit(self) -> None:
        sums = self._products()
        builder = self.builder
        done = builder.append_basic_block("stored")
        finishers = {
            STORE: self._finish_bias,
            STORE_RELU: self._finish_relu,
            STORE_TIMES: self._finish_times,
            STORE_BOTH: self._finish_both,
        }
        blocks = {mode: builder.append_basic_block(f"mode{mode}") for mode in finishers}
        switch = builder.switch(self.mode, blocks[STORE])
        for mode, block in blocks.items():
            if mode != STORE:
                switch.add_case(self._int(mode), block)
            builder.position_at_end(block)
            for m in range(self.rows):
                row = builder.add(self.c0, builder.mul(self.stride, self._int(m)))
                for v in range(self.vectors):
                    offset = builder.add(row, self._int(v * self.width))
                    self.store(finishers[mode](sums[m][v], m, offset), self.c, offset)
            builder.branch(done)
        builder.position_at_end(done)

    def _products(self) -> list[list[Any]]:
        """The loop over K: all sums stay in registers (as phi nodes)."""
        builder = self.builder
        before = builder.block
        loop, after = builder.append_basic_block("products"), builder.append_basic_block("tile")
        builder.branch(loop)
        builder.position_at_end(loop)
        i = builder.phi(self.word)
        i.add_incoming(self._int(0), before)
        sums = [[builder.phi(self.vector) for _ in range(self.vectors)] for _ in range(self.rows)]
        a_row = builder.add(self.a0, builder.mul(i, self._int(self.rows)))
        b_row = builder.add(self.b0, builder.load(builder.gep(self.starts, [i])))
        columns = self._columns(b_row)
        emit_prefetch(builder, self.a, builder.add(a_row, self.ahead), write=0)
        emit_prefetch(builder, self.b, builder.add(b_row, self.coming), write=0)
        added = []
        for m in range(self.rows):
            factor = self._spread_from(self.a, builder.add(a_row, self._int(m)))
            added.append([self.add_product(factor, columns[v], sums[m][v]) for v in range(self.vectors)])
        following = builder.add(i, self._int(1))
        i.add_incoming(following, loop)
        for m in range(self.rows):
            for v in range(self.vectors):
                sums[m][v].add_incoming(self.zero, before)
                sums[m][v].add_incoming(added[m][v], loop)
        builder.cbranch(builder.icmp_signed("<", following, self.k), loop, after)
        builder.position_at_end(after)
        return added

    def _columns(self, start: Any) -> list[Any]:
        """The vectors of a row of B."""
        return [self.load(self.b, self.builder.add(start, self._int(v * self.width))) for v in range(self.vectors)]

    def _finish_bias(self, value: Any, m: int, offset: Any) -> Any:
        return self.builder.fadd(value, self._spread_from(self.bias, self.builder.add(self.row0, self._int(m))))

    def _finish_relu(self, value: Any, m: int, offset: Any) -> Any:
        return self.rectify(self._finish_bias(value, m, offset))

    def _finish_times(self, value: Any, m: int, offset: Any) -> Any:
        return self.builder.fmul(value, self.load(self.x, offset))

    def _finish_both(self, value: Any, m: int, offset: Any) -> Any:
        total = self._finish_bias(value, m, offset)
        self.store(self.rectify(total), self.x, offset)
        return total
