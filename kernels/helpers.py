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


def shared_out(kernels: Sequence[Kernel], dtype: str, cores: int) -> Iterator[Kernel]:
    """Kernels to compile for a precision, one after the other, less those that helpers on other cores take.

    It ends when helpers have finished what they took.
    """
    waiting = deque(kernels)
    helpers = [_Helper(waiting, dtype) for _ in range(_helper_count(len(kernels), cores))]
    try:
        with suppress(IndexError):
            while True:
                yield waiting.popleft()
    finally:
        for helper in helpers:
            helper.finish()


def _helper_count(kernels: int, cores: int) -> int:
    usable = bool(sys.executable) and os.access(store.cache_folder(), os.W_OK)
    return min(cores - 1, kernels // _LEAST - 1, _MOST) if usable and kernels >= 2 * _LEAST else 0


class _Helper:
    """A helper process, and the thread that hands kernels to it."""

    def __init__(self, waiting: deque[Kernel], dtype: str) -> None:
        self._waiting = waiting
        self._there = False
        self._thread: threading.Thread | None = None
        # -P: the folder that a user works in may hold anything
        command = [sys.executable, "-P", "-m", __name__, dtype]
        try:
            self._process = subprocess.Popen(
                command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
            )
        except OSError:
            return
        self._thread = threading.Thread(target=self._feed, daemon=True)
        self._thread.start()

    def _feed(self) -> None:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        with suppress(OSError, ValueError):
            # it says that it is there, and then after each kernel that it has done it
            while self._process.stdout.readline():
                self._there = True
                try:
                    kernel = self._waiting.pop()
                except IndexError:
                    return
                self._process.stdin.write(f"{kernel.function.__module__}:{kernel.name}\n")
                self._process.stdin.flush()

    def finish(self) -> None:
        """Wait for the kernel that is being compiled, if there is one, and end the process."""
        if self._thread is None:
            return
        self._waiting.clear()
        if not self._there:
            self._process.terminate()
        self._thread.join()
        with suppress(OSError):
            self._process.communicate()


def _serve(dtype: str) -> None:
    """Compile the kernels whose names come in, one a line, and answer each with a line."""
    print(flush=True)
    for line in sys.stdin:
        module, _, name = line.strip().partition(":")
        getattr(importlib.import_module(module), name).address(dtype)
        print(flush=True)


if __name__ == "__main__":
    _serve(sys.argv[1])
