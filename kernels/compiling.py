"""What kernels are declared with, and how they become native code: from the cache, or else by the compiler.

Numba is imported only where something has to be compiled. Then it is imported once, by `building`.
"""

from __future__ import annotations

import ctypes
import functools
import importlib
import itertools
import sys
import threading
import time
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

from caffe2lrp.kernels import store

if TYPE_CHECKING:
    from caffe2lrp.kernels.building import Source
    from caffe2lrp.kernels.launch import Kernel

Function = TypeVar("Function", bound=Callable[..., Any])


class Device:
    """A function that kernels call; it is compiled with each of them."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function
        functools.update_wrapper(self, function)

    def __call__(self, *arguments: Any) -> Any:
        """Run it as plain Python."""
        return self.function(*arguments)


def device(function: Callable[..., Any]) -> Any:
    """Decorator for functions that kernels call; they need no entry points of their own."""
    return Device(function)


class Intrinsic:
    """A function that emits code; the compiler makes it one of Numba's intrinsics when it meets it."""

    def __init__(self, function: Callable[..., Any]) -> None:
        self.function = function


def intrinsic(function: Callable[..., Any]) -> Any:
    """Decorator, as Numba's of this name, for functions of a module and for what is made during compilation."""
    building = sys.modules.get(f"{__package__}.building")
    return Intrinsic(function) if building is None else building.intrinsic(function)


class _Later:
    """A module that is imported when something of it is used first."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, name: str) -> Any:
        return getattr(importlib.import_module(self._name), name)


types: Any = _Later("numba.core.types")
cgutils: Any = _Later("numba.core.cgutils")
ir: Any = _Later("llvmlite.ir")

overloads: list[tuple[Callable[..., Any], Callable[..., Any]]] = []
"""What `overload` declared and the compiler does not know yet."""


def overload(function: Callable[..., Any]) -> Callable[[Function], Function]:
    """Decorator, as Numba's of this name: it returns what to compile for a function, given the types of arguments."""

    def declare(implementation: Function) -> Function:
        overloads.append((function, implementation))
        return implementation

    return declare


@functools.cache
def cpu_features() -> frozenset[str]:
    """Features of the processor that code is generated for, for example ``avx512f``."""
    kept = store.read("processor")
    if kept is None:
        from caffe2lrp.kernels import building

        features = building.cpu_features()
        store.write("processor", features=features)
    else:
        features = kept[0]["features"]
    return frozenset(f[1:] for f in features.split(",") if f.startswith("+"))


# -- kernels -------------------------------------------------------------------------------------------------


def compile_kernel(kernel: Kernel, dtype: str) -> int:
    """Compile a kernel for a precision, or load it from the cache; the address of its entry point."""

    def source() -> Source:
        from caffe2lrp.kernels import building

        return building.kernel_source(kernel, dtype)

    return _load(_kept_name(kernel, dtype), source)


def _kept_name(kernel: Kernel, dtype: str) -> str | None:
    """The name that code is kept under; None for plug-ins, of whose sources the cache knows nothing."""
    package, _, module = kernel.function.__module__.rpartition(".")
    return f"{module}.{kernel.name}_{dtype}" if package == __package__ else None


def compile_all(kernels: Sequence[Kernel], dtype: str, cores: int) -> None:
    """Compile or load several kernels, saying so on standard error when it takes a moment."""
    from caffe2lrp.kernels import helpers

    started, told = time.perf_counter(), False
    missing = [kernel for kernel in kernels if (name := _kept_name(kernel, dtype)) and store.read_code(name) is None]
    for kernel in itertools.chain(helpers.shared_out(missing, dtype, cores), kernels):
        if not told and time.perf_counter() - started > 1.0:
            told = True
            print("caffe2lrp: compiling kernels for this machine (once) ...", file=sys.stderr, flush=True)
        kernel.address(dtype)
    if told:
        print(f"caffe2lrp: compiled in {time.perf_counter() - started:.1f} s", file=sys.stderr, flush=True)


@functools.cache
def executor() -> Callable[..., None]:
    """`executor.work`, called through ctypes, which lets go of the interpreter lock."""

    def source() -> Source:
        from caffe2lrp.kernels import building

        return building.executor_source()

    return ctypes.CFUNCTYPE(None, *[ctypes.c_int64] * 5)(_load("executor", source))


_turn = threading.RLock()


def _load(name: str | None, source: Callable[[], Source]) -> int:
    """Load what is kept under a name, or compile the source and keep it; the address of the entry point."""
    with _turn:
        kept = store.read_code(name) if name is not None else None
        if kept is not None:
            try:
                return store.link(kept)
            except RuntimeError:
                pass  # it needs what only Numba brings into the process
        made = source()
        code = kept or made.build()
        try:
            address = store.link(code)
        except RuntimeError:
            return made.compile_in_place()
        if name is not None and kept is None:
            store.write_code(name, code)
        return address
