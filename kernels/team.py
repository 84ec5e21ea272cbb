"""The threads that programs run on: how many, on which cores, and how a program is handed to them.

All threads but the calling one wait in native code (`executor`). They look out for the next program for a moment after
each, because one often follows: the way back after the forward pass, the next image of many. Then they sleep.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import sys
import threading
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

_PATIENCE = 25_000  # looks for the next program, all but the first of them system calls: some three milliseconds

# The interpreter's own locks: every system has them, and threads wait for them without its help.
_allocate = ctypes.pythonapi.PyThread_allocate_lock
_allocate.restype = ctypes.c_void_p
_acquire = ctypes.pythonapi.PyThread_acquire_lock
_acquire.argtypes = [ctypes.c_void_p, ctypes.c_int]
_release = ctypes.pythonapi.PyThread_release_lock

_turn = threading.Lock()
_team: _Team | None = None
_threads: int | None = None


def threads() -> int:
    """Number of threads that programs run on: set_threads, NUMBA_NUM_THREADS, or the usable cores."""
    global _threads
    if _threads is None:
        wanted = os.environ.get("NUMBA_NUM_THREADS", "")
        _threads = int(wanted) if wanted.isdigit() and int(wanted) > 0 else len(_cores())
    return _threads


def set_threads(n: int) -> None:
    """Use `n` threads from now on."""
    global _threads, _team
    if n < 1:
        raise ValueError(f"the number of threads must be at least 1, not {n}")
    with _turn:
        _threads = n
        if _team is not None and _team.count != n:
            _team.dismiss()
            _team = None


def run(calls: int, tables: Sequence[int], room: int) -> None:
    """Run a program on at most `room` threads.

    Programs take turns: each uses all cores anyway, and its threads wait for each other, so they must all be running.

    Parameters
    ----------
    calls
        Number of calls, at least one.
    tables
        Where the addresses of kernels, of their records, and the numbers of their pieces are, and where the ticks go.
    room
        The most threads.
    """
    global _team
    with _turn:
        if _team is None:
            _team = _Team(threads())
        _team.run(calls, tables, room)


def _after_fork() -> None:
    """Threads do not survive a fork; the child makes its own."""
    global _team, _turn
    _team = None
    _turn = threading.Lock()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


class _Team:
    """Some threads; the calling one is the first of them."""

    def __init__(self, count: int) -> None:
        # imported here: whoever compiles imports this module before intrinsics can be declared
        from caffe2lrp.kernels import compiling, executor

        self.count = count
        self._executor = executor
        self._work = compiling.executor()
        self._table = np.zeros((1 + 2 * count, executor.ROW), np.int64)
        self._table[0, executor.TAKEN] = (1 + count) * executor.ROW
        self._table[0, executor.PATIENCE] = _PATIENCE if count <= len(_cores()) else 0
        # A sleeper holds its lock, and waits for it once more. The few locks are never freed: the caller may still be
        # about to let go of one when its sleeper has woken and left.
        for desk in self._table[2 : 1 + count]:
            desk[executor.STATE] = executor.THERE
            desk[executor.LOCK] = _allocate()
            _acquire(int(desk[executor.LOCK]), 1)
        self._others = [
            threading.Thread(target=self._start, args=(part,), name=f"caffe2lrp-{part}", daemon=True)
            for part in range(1, count)
        ]
        for thread in self._others:
            thread.start()
        self._caller_core: int | None = None  # where the calling thread ran when the others were given their cores

    def run(self, calls: int, tables: Sequence[int], room: int) -> None:
        """Run a program on as many threads as there is room for."""
        parts = min(self.count, room)
        if parts > 1:
            self._spread()
        self._table[0, : self._executor.BASE] = (calls, *tables, parts)
        self._start(0)

    def dismiss(self) -> None:
        """Let the threads end."""
        self._table[0, self._executor.CALLS] = self._executor.LEAVE
        self._table[0, self._executor.PARTS] = self.count
        self._start(0)

    def _start(self, part: int) -> None:
        self._work(self._table.ctypes.data, part, *_SYSTEM)

    def _spread(self) -> None:
        """Give each other thread a core of its own, beside that of the calling thread, if there is one for each.

        Left alone, the system wakes a thread on the core of the one that calls it, and takes milliseconds to see
        that another core is idle; by then a network has run.
        """
        here = _core_number()
        if here == self._caller_core:
            return
        self._caller_core = here
        cores = _cores()
        if self.count == len(cores):
            for thread, core in zip(self._others, sorted(cores - {here}), strict=False):
                with contextlib.suppress(OSError):  # a system may forbid it: then it places threads as it likes
                    os.sched_setaffinity(thread.native_id or 0, {core})


def _cores() -> set[int]:
    """The cores that this process may use."""
    return os.sched_getaffinity(0) if hasattr(os, "sched_getaffinity") else set(range(os.cpu_count() or 1))


def _address(function: Any) -> int:
    """Where a C function lies."""
    address = ctypes.cast(function, ctypes.c_void_p).value
    assert address is not None
    return address


def _yield_function() -> Any:
    """The system call that lets another thread run, for waits that last longer than expected."""
    return ctypes.CDLL("kernel32").SwitchToThread if sys.platform == "win32" else ctypes.CDLL(None).sched_yield


def _core_function() -> Callable[[], int | None]:
    """The system's function that tells the number of the core that the calling thread runs on; None where it has none.

    Where threads cannot be given cores, nobody needs to know.
    """
    if not hasattr(os, "sched_setaffinity"):
        return lambda: None
    return getattr(ctypes.CDLL(None), "sched_getcpu", lambda: None)


_core_number = _core_function()
_SYSTEM = tuple(_address(function) for function in (_yield_function(), _acquire, _release))
