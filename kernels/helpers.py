"""Processes that help to compile: Numba compiles one function at a time, and a first run waits for some twenty.

A helper is a Python process that is told names of kernels, compiles them into the cache on disk, and says when each is
there. Whatever a helper does not do, because it cannot start, say, is compiled where it is needed.
"""

from __future__ import annotations

import importlib
import os
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import suppress
from typing import TYPE_CHECKING

from caffe2lrp.kernels import store

if TYPE_CHECKING:
    from caffe2lrp.kernels.launch import Kernel

# A helper has to import Numba first; with fewer kernels each, that takes longer than it saves.
_LEAST = 3
_MOST = 3
_PATIENCE = 5.0  # seconds that a helper waits for more: the way back follows the forward pass

_helpers: list[_Helper] = []


def shared_out(kernels: Sequence[Kernel], dtype: str, cores: int) -> Iterator[Kernel]:
    """Kernels to compile for a precision, one after the other, less those that helpers on other cores take.

    It ends when helpers have finished what they took.
    """
    waiting = deque(kernels)
    helpers = _some(_helper_count(len(kernels), cores))
    for helper in helpers:
        helper.begin(waiting, dtype)
    try:
        with suppress(IndexError):
            while True:
                yield waiting.popleft()
    finally:
        waiting.clear()
        for helper in helpers:
            helper.finish()


def _helper_count(kernels: int, cores: int) -> int:
    usable = bool(sys.executable) and os.access(store.cache_folder(), os.W_OK)
    return min(cores - 1, kernels // _LEAST - 1, _MOST) if usable and kernels >= 2 * _LEAST else 0


def _some(count: int) -> list[_Helper]:
    """So many helpers: those that are still there, and new ones."""
    _helpers[:] = [helper for helper in _helpers if helper.is_there()]
    _helpers.extend(_Helper() for _ in range(count - len(_helpers)))
    return _helpers[:count]


class _Helper:
    """A helper process, and the thread that hands kernels to it."""

    def __init__(self) -> None:
        self._change = threading.Condition()
        self._waiting: deque[Kernel] = deque()
        self._dtype = ""
        self._busy = False
        self._thread = threading.Thread(target=self._feed, daemon=True)
        self._thread.start()

    def is_there(self) -> bool:
        """Whether it has not given up."""
        return self._thread.is_alive()

    def begin(self, waiting: deque[Kernel], dtype: str) -> None:
        """Take kernels from the end of those that are waiting."""
        with self._change:
            self._waiting, self._dtype = waiting, dtype
            self._change.notify_all()

    def finish(self) -> None:
        """Wait for the kernel that is being compiled, if there is one."""
        with self._change:
            self._change.wait_for(lambda: not self._busy)

    def _feed(self) -> None:
        # -P: the folder that a user works in may hold anything
        command = [sys.executable, "-P", "-m", __name__]
        with (
            suppress(OSError, ValueError),
            subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
            ) as process,
        ):
            assert process.stdin is not None
            assert process.stdout is not None
            # it says that it is there, and then after each kernel that it has done it
            while process.stdout.readline():
                task = self._next()
                if task is None:
                    break
                process.stdin.write(f"{task}\n")
                process.stdin.flush()
            process.stdin.close()
        self._rest()

    def _next(self) -> str | None:
        """What to compile next, in words; None if nothing has come for a while."""
        self._rest()
        with self._change:
            while self._change.wait_for(lambda: self._waiting, _PATIENCE):
                with suppress(IndexError):  # the caller takes from the other end without asking
                    kernel = self._waiting.pop()
                    self._busy = True
                    return f"{self._dtype} {kernel.function.__module__}:{kernel.name}"
        return None

    def _rest(self) -> None:
        with self._change:
            self._busy = False
            self._change.notify_all()


def _serve() -> None:
    """Compile the kernels that come in, "precision module:name" in a line each, and answer each with a line."""
    print(flush=True)
    for line in sys.stdin:
        dtype, _, place = line.strip().partition(" ")
        module, _, name = place.partition(":")
        getattr(importlib.import_module(module), name).address(dtype)
        print(flush=True)


if __name__ == "__main__":
    _serve()
