"""Compiling kernels with Numba to machine code that needs no Numba to run.

All settings of the compiler are here. What is compiled uses no Python objects, and nothing is kept of how Numba's
functions report errors: a kernel must not raise any.
"""

from __future__ import annotations

import contextlib
import functools
import itertools
import types as python
from collections.abc import Callable, Iterator
from typing import Any

import llvmlite.binding as llvm
import numpy as np
from llvmlite import ir
from numba import carray, njit, types
from numba.core import compiler
from numba.core.ccallback import CFunc
from numba.core.codegen import JITCodeLibrary
from numba.core.compiler_lock import global_compiler_lock
from numba.core.registry import cpu_target
from numba.extending import intrinsic as _typed_intrinsic
from numba.extending import overload

from caffe2lrp.kernels import compiling
from caffe2lrp.kernels.launch import _RANK, Kernel
from caffe2lrp.kernels.store import MachineCode

# Sums may be reordered and fused (the result differs by rounding only); NaN and infinity keep their meaning.
FASTMATH = {"reassoc", "contract", "nsz"}
OPTIONS: dict[str, Any] = {"nogil": True, "fastmath": FASTMATH, "error_model": "numpy"}
BARE = {"no_cpython_wrapper": True, "no_cfunc_wrapper": True}

intrinsic: Any = _typed_intrinsic  # calls leave out the typing context, which its type does not tell


def cpu_features() -> str:
    """Features of the processor that code is generated for, as LLVM writes them: ``+avx512f,-sse4a,...``."""
    _, _, features = cpu_target.target_context.codegen().magic_tuple()
    return str(features)


# -- what kernels are made of --------------------------------------------------------------------------------


def _with_compiled_globals(function: Callable[..., Any]) -> Callable[..., Any]:
    """The same function, seeing Numba's own objects in place of device functions and declared intrinsics."""
    assert isinstance(function, python.FunctionType)
    named = {name: function.__globals__.get(name) for name in _names(function.__code__)}
    kinds = (compiling.Device, compiling.Intrinsic)
    found = {name: _known(value) for name, value in named.items() if isinstance(value, kinds)}
    copy = python.FunctionType(
        function.__code__, {**function.__globals__, **found}, function.__name__, function.__defaults__
    )
    copy.__module__, copy.__qualname__ = function.__module__, function.__qualname__
    return copy


def _names(code: python.CodeType) -> set[str]:
    """Names that a function uses, and functions within it."""
    inner = [_names(constant) for constant in code.co_consts if isinstance(constant, python.CodeType)]
    return set(code.co_names).union(*inner)


@functools.cache
def _known(declared: compiling.Device | compiling.Intrinsic) -> Any:
    """What Numba knows a declared function as."""
    if isinstance(declared, compiling.Intrinsic):
        return intrinsic(declared.function)
    return _compiled(declared.function)


def _compiled(function: Callable[..., Any]) -> Any:
    options: dict[str, Any] = {**OPTIONS, **BARE}
    return njit(**options)(_with_compiled_globals(function))


def _register_overloads() -> None:
    while compiling.overloads:
        function, implementation = compiling.overloads.pop()
        overload(function)(_with_compiled_globals(implementation))


# -- entry points --------------------------------------------------------------------------------------------


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


def _entry_function(kernel: Kernel, dtype: str) -> Callable[..., None]:
    """Python source of the entry point: unpack the record, call the kernel's function."""
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
    own = ["part", "parts", *kernel.of_call]
    source = "\n".join(
        [f"def {entry_name}(record, part, parts, thread, turn):", *lines, f"    function({', '.join(own + names)})"]
    )
    scope: dict[str, Any] = {
        "__name__": kernel.function.__module__,
        "carray": carray,
        "float32_pointer": _float32_pointer,
        "float64_pointer": _float64_pointer,
        "int64_pointer": _int64_pointer,
        "as_double": _as_double,
        "real": getattr(np, dtype),
        "function": _compiled(kernel.function),
    }
    exec(compile(source, __file__, "exec"), scope)
    return scope[entry_name]


built: list[str] = []
"""Names of what was compiled in this process."""


class Source:
    """A function to be compiled, with the types of its arguments; it returns nothing."""

    def __init__(self, function: Callable[..., None], arguments: tuple[Any, ...]) -> None:
        self.function = function
        self.arguments = arguments

    @global_compiler_lock
    def build(self) -> MachineCode:
        """Compile to machine code that nothing of Numba is needed for."""
        built.append(self.function.__name__)
        target = cpu_target.target_context
        flags: Any = compiler.Flags()
        cpu_target.options.parse_as_flags(flags, {"nopython": True, **OPTIONS, **BARE})
        flags.no_compile = True  # no machine code yet: the entry point comes first
        cpu_target.typing_context.refresh()
        target.refresh()
        with _parts_of_others(target.codegen()):
            compiled = compiler.compile_extra(
                cpu_target.typing_context, target, self.function, self.arguments, types.void, flags, {}
            )
            entry = f"caffe2lrp_{self.function.__name__}_{next(_numbers)}"
            compiled.library.add_ir_module(_entry_point(entry, compiled.fndesc, target))
            compiled.library.finalize()
        return _finish(compiled.library, entry)

    def compile_in_place(self) -> int:
        """Compile into this process by Numba's own means; the address. What it returns lives as long as the process."""
        code: Any = CFunc(self.function, (self.arguments, types.void), {}, {"nopython": True, **OPTIONS})
        code.compile()
        _alive.append(code)
        return int(code.address)


_numbers = itertools.count()
_alive: list[Any] = []  # Numba's code lives as long as its library object


class _Part(JITCodeLibrary):
    """Code that is compiled only to become a part of other code, which is optimised as a whole."""

    def _optimize_final_module(self) -> None:
        pass

    def _finalize_final_module(self) -> None:
        self._finalized = True


@contextlib.contextmanager
def _parts_of_others(codegen: Any) -> Iterator[None]:
    """Whatever is compiled becomes a part of other code.

    Numba would optimise each function by itself, too, and bring it to machine code that nobody calls, which takes as
    long as all the rest. And it would look there for what a function needs to deal with Python objects.
    """
    codegen._library_class, codegen.set_env = _Part, lambda *_: None
    try:
        yield
    finally:
        del codegen._library_class, codegen.set_env


def _entry_point(name: str, description: Any, target: Any) -> Any:
    """A C function that calls a compiled one and does not look at whether it raised an error."""
    module = target.create_module(name)
    kind = target.call_conv.get_function_type(description.restype, description.argtypes)
    function = ir.Function(module, kind, description.llvm_func_name)
    kinds = [target.get_value_type(a) for a in description.argtypes]
    entry = ir.Function(module, ir.FunctionType(ir.VoidType(), kinds), name)
    builder = ir.IRBuilder(entry.append_basic_block("entry"))
    target.call_conv.call_function(builder, function, description.restype, description.argtypes, entry.args)
    builder.ret_void()
    return module


def _finish(library: Any, entry: str) -> MachineCode:
    """Optimise a library, and emit it as an object file, without a trip through Numba's own engine.

    Nothing but the entry point is seen from outside. So all else is inlined or left out, and with it what Numba's
    functions need to raise errors in Python.
    """
    module = library._final_module
    for value in itertools.chain(module.functions, module.global_variables):
        if not value.is_declaration and value.name != entry:
            value.linkage = "internal"
    JITCodeLibrary._optimize_final_module(library)
    _remove_unused(library)
    needs = _declared(module)
    if {name for name in needs if name.startswith("NRT_")} == {_RELEASE}:
        _define_release(library)
        needs.remove(_RELEASE)
    return MachineCode(entry, tuple(sorted(needs)), library._codegen._tm.emit_object(module))


def _declared(module: Any) -> set[str]:
    """Names of what a module uses and does not define."""
    values = itertools.chain(module.functions, module.global_variables)
    return {value.name for value in values if value.is_declaration and not value.name.startswith("llvm.")}


_RELEASE = "NRT_MemInfo_call_dtor"


def _define_release(library: Any) -> None:
    """Let releasing memory do nothing. Code that takes no memory calls this only for null pointers, so never."""
    module = cpu_target.target_context.create_module("release")
    kind = ir.FunctionType(ir.VoidType(), [ir.IntType(8).as_pointer()])
    ir.IRBuilder(ir.Function(module, kind, _RELEASE).append_basic_block()).ret_void()
    library._final_module.link_in(llvm.parse_assembly(str(module)))
    library._final_module.get_function(_RELEASE).linkage = "internal"


def _remove_unused(library: Any) -> None:
    if hasattr(llvm, "create_new_module_pass_manager"):
        passes = llvm.create_new_module_pass_manager()
        if hasattr(passes, "add_global_dead_code_eliminate_pass"):
            passes.add_global_dead_code_eliminate_pass()
            passes.run(library._final_module, library._codegen._pass_builder())
            return
    passes = llvm.create_module_pass_manager()  # before llvmlite 0.45
    passes.add_global_dce_pass()
    passes.run(library._final_module)


def kernel_source(kernel: Kernel, dtype: str) -> Source:
    """The entry point of a kernel for a precision."""
    _register_overloads()
    pointer = types.CPointer(types.int64)
    return Source(_entry_function(kernel, dtype), (pointer, *[types.int64] * 4))


def executor_source() -> Source:
    """The function that threads run programs with."""
    from caffe2lrp.kernels.executor import work

    word = types.int64
    return Source(_with_compiled_globals(work), (types.CPointer(word), word, word, word, word))
