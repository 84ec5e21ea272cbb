"""Compiling kernels with Numba, and keeping what was compiled.

All settings of the compiler are here. Compiled code is cached on disk, and a cached entry is valid for
exactly the sources of all kernels (a kernel inlines others, so its own file's date says too little).
"""

from __future__ import annotations

import ctypes
import functools
import hashlib
import os
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.core.caching import CompileResultCacheImpl, FunctionCache, _CacheLocator
from numba.core.ccallback import CFunc
from numba.core.registry import cpu_target
from numba.extending import intrinsic as _typed_intrinsic

from caffe2lrp.kernels.launch import _RANK, Kernel

# Sums may be reordered and fused (the result differs by rounding only); NaN and infinity keep their meaning.
FASTMATH = {"reassoc", "contract", "nsz"}
OPTIONS: dict[str, Any] = {"nopython": True, "nogil": True, "fastmath": FASTMATH, "error_model": "numpy"}


def device(function: Callable[..., Any]) -> Any:
    """Decorator for functions that kernels call; they need no entry points of their own."""
    options: dict[str, Any] = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}
    return njit(fastmath=FASTMATH, error_model="numpy", nogil=True, **options)(function)


intrinsic: Any = _typed_intrinsic  # calls leave out the typing context, which its type does not tell


def cpu_features() -> frozenset[str]:
    """Features of the processor that code is generated for, for example ``avx512f``."""
    _, _, features = cpu_target.target_context.codegen().magic_tuple()
    return frozenset(f[1:] for f in features.split(",") if f.startswith("+"))


# -- native entry points ---------------------------------------------------------------------------


@intrinsic
def _float32_pointer(typingctx: Any, address: Any) -> Any:
    return _pointer(types.float32)


@intrinsic
def _float64_pointer(typingctx: Any, address: Any) -> Any:
    return _pointer(types.float64)


@intrinsic
def _int64_pointer(typingctx: Any, address: Any) -> Any:
    return _pointer(types.int64)


def _pointer(element: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))

    return types.CPointer(element)(types.int64), codegen


@intrinsic
def _as_double(typingctx: Any, word: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.DoubleType())

    return types.float64(types.int64), codegen


def compile_kernel(kernel: Kernel, dtype: str) -> int:
    """Compile a kernel for a precision, or load it from the cache; the address of its entry point."""
    signature = types.void(types.CPointer(types.int64), types.int64, types.int64)
    entry = _entry_function(kernel, dtype)
    return _compile(entry, signature, keep=kernel.function.__module__.startswith(f"{__package__}."))


def _entry_function(kernel: Kernel, dtype: str) -> Callable[..., None]:
    """Python source of the entry point: unpack the record, call the kernel's function."""
    from numba import carray

    word, lines, names = 0, [], []
    for name, kind in kernel.parameters:
        names.append(name)
        if kind in _RANK:
            shape = ", ".join(f"record[{word + 1 + i}]" for i in range(_RANK[kind]))
            pointer = f"{dtype}_pointer" if kind[0] == "F" else "int64_pointer"
            lines.append(f"    {name} = carray({pointer}(record[{word}]), ({shape},))")
            word += 1 + _RANK[kind]
        else:
            value = f"real(as_double(record[{word}]))" if kind == "Float" else f"record[{word}]"
            lines.append(f"    {name} = {value}")
            word += 1
    entry_name = f"{kernel.name}_{dtype}"
    source = "\n".join(
        [f"def {entry_name}(record, part, parts):", *lines, f"    function(part, parts, {', '.join(names)})"]
    )
    scope: dict[str, Any] = {
        "__name__": kernel.function.__module__,
        "carray": carray,
        "float32_pointer": _float32_pointer,
        "float64_pointer": _float64_pointer,
        "int64_pointer": _int64_pointer,
        "as_double": _as_double,
        "real": getattr(np, dtype),
        "function": device(kernel.function),
    }
    exec(compile(source, __file__, "exec"), scope)
    return scope[entry_name]


def compile_all(kernels: Sequence[Kernel], dtype: str) -> None:
    """Compile several kernels, saying so on standard error when it takes a moment."""
    started, told = time.perf_counter(), False
    for kernel in kernels:
        if not told and time.perf_counter() - started > 1.0:
            told = True
            print("caffe2lrp: compiling kernels for this machine (once) ...", file=sys.stderr, flush=True)
        kernel.address(dtype)
    if told:
        print(f"caffe2lrp: compiled in {time.perf_counter() - started:.1f} s", file=sys.stderr, flush=True)


def _compile(function: Callable[..., Any], signature: Any, *, keep: bool = True) -> int:
    code: Any = CFunc(function, (signature.args, signature.return_type), {}, dict(OPTIONS))
    if keep:  # else it is a kernel of a plug-in, of whose sources the cache knows nothing
        code._cache = _KernelCache(function)
    code.compile()
    _alive.append(code)
    return int(code.address)


_alive: list[Any] = []  # native code lives as long as its library object


# -- the cache -------------------------------------------------------------------------------------


@functools.cache
def _sources_stamp() -> str:
    digest = hashlib.sha256()
    for path in sorted(Path(__file__).parent.glob("*.py")):
        digest.update(path.name.encode() + path.read_bytes())
    return digest.hexdigest()


@functools.cache
def cache_folder() -> str:
    """Where compiled kernels are kept: NUMBA_CACHE_DIR, beside the sources, or the user's cache."""
    from numba import config
    from numba.misc.appdirs import AppDirs

    chosen = getattr(config, "CACHE_DIR", "")
    beside = Path(__file__).parent / "__pycache__"
    user = Path(AppDirs("caffe2lrp", appauthor=False).user_cache_dir) / "kernels"
    for folder in ([Path(chosen) / "caffe2lrp"] if chosen else []) + [beside, user]:
        try:
            folder.mkdir(parents=True, exist_ok=True)
        except OSError:
            continue
        if os.access(folder, os.W_OK):
            return str(folder)
    return str(user)


class _Locator(_CacheLocator):
    """One folder for all kernels; valid as long as no kernel's source changes."""

    def __init__(self, function: Any, file: str) -> None:
        self._py_file = file

    def get_cache_path(self) -> str:
        return cache_folder()

    def get_source_stamp(self) -> str:
        return _sources_stamp()

    def get_disambiguator(self) -> str:
        return "kernel"

    @classmethod
    def from_function(cls, py_func: Any, py_file: str) -> _Locator:
        return cls(py_func, py_file)


class _KernelCacheImpl(CompileResultCacheImpl):
    _locator_classes = [_Locator]  # noqa: RUF012


class _KernelCache(FunctionCache):
    _impl_class = _KernelCacheImpl


# -- the executor ----------------------------------------------------------------------------------


@intrinsic
def _call(typingctx: Any, address: Any, record: Any, part: Any, parts: Any) -> Any:
    """Call the entry point of a kernel at an address."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        word = ir.IntType(64)
        kind = ir.FunctionType(ir.VoidType(), [word.as_pointer(), word, word])
        function = builder.inttoptr(arguments[0], kind.as_pointer())
        builder.call(function, [builder.inttoptr(arguments[1], word.as_pointer()), arguments[2], arguments[3]])
        return context.get_dummy_value()

    return types.void(types.int64, types.int64, types.int64, types.int64), codegen


@intrinsic
def _call_plain(typingctx: Any, address: Any) -> Any:
    """Call a C function without arguments at an address."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = ir.FunctionType(ir.IntType(32), [])
        builder.call(builder.inttoptr(arguments[0], kind.as_pointer()), [])
        return context.get_dummy_value()

    return types.void(types.int64), codegen


@intrinsic
def _atomic_add(typingctx: Any, pointer: Any, value: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.atomic_rmw("add", arguments[0], arguments[1], "seq_cst")

    return types.int64(types.CPointer(types.int64), types.int64), codegen


@intrinsic
def _atomic_load(typingctx: Any, pointer: Any) -> Any:
    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        return builder.load_atomic(arguments[0], "seq_cst", 8)

    return types.int64(types.CPointer(types.int64)), codegen


@intrinsic
def _cycles(typingctx: Any) -> Any:
    """The processor's cycle counter (0 where it has none)."""

    def codegen(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        kind = ir.FunctionType(ir.IntType(64), [])
        return builder.call(cgutils.get_or_insert_function(builder.module, kind, "llvm.readcyclecounter"), [])

    return types.int64(), codegen


# Spinning this often takes some ten microseconds: longer than threads drift apart within a call, shorter
# than what it costs others if this thread keeps a core that one of them needs.
_SPINS = 20_000


def _walk(addresses: Any, records: Any, calls: int, barrier: Any, ticks: Any, part: int, parts: int, rest: int) -> None:
    if part == 0:
        ticks[0] = _cycles()
    for i in range(calls):
        _call(addresses[i], records[i], part, parts)
        _atomic_add(barrier, 1)
        spins = 0
        while _atomic_load(barrier) < parts * (i + 1):
            spins += 1
            if spins > _SPINS:
                _call_plain(rest)
        if part == 0:
            ticks[i + 1] = _cycles()


@functools.cache
def executor() -> Callable[..., None]:
    """The function that walks through a program; called through ctypes, which lets go of the interpreter lock."""
    pointer, word = types.CPointer(types.int64), types.int64
    address = _compile(_walk, types.void(pointer, pointer, word, pointer, pointer, word, word, word))
    return ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 8)(address)
