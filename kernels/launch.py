"""How kernels are compiled, cached and run: programs of native calls on one team of threads.

A kernel is a plain Python function on C-contiguous arrays, compiled by Numba to one native entry point
with the uniform signature ``void(record, part, parts, thread, turn)``. `record` holds the addresses, shapes and
numbers of its arguments. A `Program` is a list of such calls; it runs as a whole, outside the
interpreter: every thread walks through the same list, does its part of each call, and waits for the
others at a barrier. So a network of a hundred layers costs one launch, not a hundred, there is only one
team of threads, and nothing depends on Numba's threading layers. Where a program also calls Python functions
(layers of plug-ins), it is one launch for each stretch of kernel calls between them.

A kernel must not raise errors: nobody would hear of them. One of a plug-in may allocate memory, ours do not, so that
they run without Numba once they are compiled.

The two arguments `part` and `parts` tell a kernel which share of its work to do; `share` cuts a range. A call may have
several parts for each thread: those that are fast at the moment take some from those that are slow. So which thread
does a part is not known before. A kernel that needs to know asks for `thread` (what is that thread's own, it may write
to) and `turn` (how many parts of this call the thread has done).
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np

from caffe2lrp.kernels import team

# Annotations of kernel arguments. F: values of the program's precision, I: 64-bit integers.
F1: TypeAlias = np.ndarray
F2: TypeAlias = np.ndarray
F3: TypeAlias = np.ndarray
F4: TypeAlias = np.ndarray
I1: TypeAlias = np.ndarray
I2: TypeAlias = np.ndarray
Int: TypeAlias = int
Thread: TypeAlias = int
Turn: TypeAlias = int
Float: TypeAlias = float

_OF_CALL = ("Thread", "Turn")  # told by who calls, not by the record
_RANK = {"F1": 1, "F2": 2, "F3": 3, "F4": 4, "I1": 1, "I2": 2}
_BYTES = {"float32": 4, "float64": 8}


class Kernel:
    """A function that is compiled to a native entry point on first use, one for each precision.

    The function's first two arguments are `part` and `parts`, and may be followed by `thread` (``Thread``) and `turn`
    (``Turn``); the others are annotated with the names above (``F1`` to ``F4``, ``I1``, ``I2``, ``Int``, ``Float``).
    """

    def __init__(self, function: Callable[..., None]) -> None:
        self.function = function
        self.name = function.__name__
        parameters = [(p.name, str(p.annotation)) for p in inspect.signature(function).parameters.values()][2:]
        self.of_call = [name for name, kind in parameters if kind in _OF_CALL]
        self.parameters = [(name, kind) for name, kind in parameters if kind not in _OF_CALL]
        self._addresses: dict[str, int] = {}

    def address(self, dtype: str) -> int:
        """Address of the native code for a precision (``float32`` or ``float64``), compiling if needed."""
        if dtype not in self._addresses:
            from caffe2lrp.kernels import compiling

            self._addresses[dtype] = compiling.compile_kernel(self, dtype)
        return self._addresses[dtype]

    def record(self, dtype: str, arguments: Sequence[Any]) -> list[int]:
        """Addresses, shapes and numbers of the arguments as 64-bit words."""
        if len(arguments) != len(self.parameters):
            raise TypeError(f"kernel {self.name} takes {len(self.parameters)} arguments, not {len(arguments)}")
        words: list[int] = []
        for (name, kind), value in zip(self.parameters, arguments, strict=True):
            if kind in _RANK:
                wanted = dtype if kind[0] == "F" else "int64"
                if not (value.dtype == wanted and value.ndim == _RANK[kind] and value.flags.c_contiguous):
                    raise TypeError(f"kernel {self.name}: {name} must be a C-contiguous {kind} of {wanted}")
                words += [value.ctypes.data, *value.shape]
            elif kind == "Float":
                words.append(int(np.float64(value).view(np.int64)))
            else:
                words.append(int(value))
        return words

    def __repr__(self) -> str:
        return f"<kernel {self.name}>"


def kernel(function: Callable[..., None]) -> Kernel:
    """Decorator: make a kernel of a function ``f(part, parts, ...)``."""
    return Kernel(function)


class Program:
    """A list of kernel calls on fixed arrays, run as a whole by all threads; Python functions may stand between them.

    Parameters
    ----------
    dtype
        Precision of all floating-point arrays.
    """

    def __init__(self, dtype: np.dtype[Any] | str) -> None:
        self.dtype = np.dtype(dtype).name
        self.labels: list[str] = []
        self._calls: list[tuple[Kernel, list[int], int] | Callable[[], None]] = []
        self._arrays: list[Any] = []  # keeps what the records point at alive
        self._tables: tuple[int, ...] | None = None  # where those of all calls begin: addresses, records, pieces, ticks
        self._behind: tuple[np.ndarray, ...] = ()  # keeps what they point at alive
        self._stops: list[int] = []  # places of the Python functions
        self._room = team.threads()  # kernels' scratch arrays have room for so many threads
        self.ticks = np.zeros(0, np.int64)

    def __len__(self) -> int:
        return len(self._calls)

    def add(self, function: Kernel, *arguments: Any, label: str = "", pieces: int = 1) -> None:
        """Append a call. Arrays are used where they lie: their content at the time of the run counts.

        The work has so many parts, `pieces`, for each thread (one part in all if there is one thread).
        """
        self._calls.append((function, function.record(self.dtype, arguments), pieces))
        self._arrays.append(arguments)
        self.labels.append(label or function.name)
        self._tables = None

    def add_python(self, function: Callable[[], None], label: str) -> None:
        """Append a call of a Python function, which runs in the thread that runs the program."""
        self._stops.append(len(self._calls))
        self._calls.append(function)
        self.labels.append(label)
        self._tables = None

    def prepare(self) -> None:
        """Compile or load all kernels of the program."""
        if self._tables is not None:
            return
        compile_kernels([self])
        # A Python function has the address 0 and no record: its place is never walked over.
        calls = [(None, [], 1) if callable(call) else call for call in self._calls]
        offsets = np.cumsum([0, *(len(r) for _, r, _ in calls)])[:-1].astype(np.int64)
        words = np.array([w for _, r, _ in calls for w in r], np.int64)
        records = words.ctypes.data + 8 * offsets
        addresses = np.array([0 if f is None else f.address(self.dtype) for f, _, _ in calls], np.int64)
        pieces = np.array([n for _, _, n in calls], np.int64)
        self.ticks = np.zeros(len(calls) + 1, np.int64)
        self._behind = (addresses, records, pieces, self.ticks, words)
        self._tables = tuple(int(table.ctypes.data) for table in self._behind[:4])

    def extend(self, other: Program) -> None:
        """Append all calls of another program of the same precision."""
        assert other.dtype == self.dtype
        self.labels += other.labels
        self._stops += [len(self._calls) + stop for stop in other._stops]
        self._calls += other._calls
        self._arrays += other._arrays
        self._tables = None
        self._room = min(self._room, other._room)

    def run(self) -> None:
        """Run all calls in order. Safe to call from several Python threads: programs take turns.

        While a Python function runs, other programs may have a turn, the function's own among them.
        """
        self.prepare()
        start = 0
        for stop in self._stops:
            self._walk(start, stop)
            call = self._calls[stop]
            assert callable(call)
            call()
            start = stop + 1
        self._walk(start, len(self._calls))

    def _walk(self, start: int, stop: int) -> None:
        """Run the kernel calls from start to stop."""
        if start < stop:
            assert self._tables is not None
            team.run(stop - start, [table + 8 * start for table in self._tables], self._room)


def compile_kernels(programs: Sequence[Program]) -> None:
    """Compile or load all kernels of programs of one precision; the more at once, the better cores share the work."""
    called = {call[0] for program in programs for call in program._calls if not callable(call)}
    missing = [f for f in called if programs[0].dtype not in f._addresses]
    if missing:
        from caffe2lrp.kernels import compiling

        compiling.compile_all(sorted(missing, key=lambda f: f.name), programs[0].dtype, team.threads())
