"""Memory that is taken over by others some time after the last one needs it no more (`kernels.room` says why)."""

from __future__ import annotations

from typing import Any

import numpy as np

from caffe2lrp.kernels.room import REST
from caffe2lrp.layers.base import Shape, count

# Bytes of arrays whose memory need not rest: little of them is in any cache for long, the less the more there are.
LARGE = 2**22


class Memory:
    """Arrays of one precision, and how many need each; arrays from elsewhere are let alone."""

    def __init__(self, dtype: np.dtype[Any]) -> None:
        self.dtype = dtype
        self._users: dict[int, int] = {}
        self._arrays: dict[int, np.ndarray] = {}
        self._free: list[tuple[int, np.ndarray]] = []  # and how many values had been handed out when it came back
        self._handed_out = 0

    def take(self, shape: Shape) -> np.ndarray:
        """An array that one needs from now on."""
        size = count(shape)
        rest = 0 if size * self.dtype.itemsize >= LARGE else REST // self.dtype.itemsize
        rested = self._handed_out - rest
        fitting = [i for i, (since, memory) in enumerate(self._free) if memory.size >= size and since <= rested]
        self._handed_out += size
        if fitting:
            _, memory = self._free.pop(min(fitting, key=lambda i: self._free[i][1].size))
        else:
            memory = np.empty(size, self.dtype)
            self._arrays[id(memory)] = memory
        self._users[id(memory)] = 1
        return memory[:size].reshape(shape)

    def share(self, array: np.ndarray) -> None:
        """One more needs an array or a part of it."""
        key = id(_root(array))
        if key in self._users:
            self._users[key] += 1

    def give(self, array: np.ndarray) -> None:
        """One needs it no more."""
        key = id(_root(array))
        if key in self._users:
            self._users[key] -= 1
            if not self._users[key]:
                del self._users[key]
                self._free.append((self._handed_out, self._arrays[key]))


def _root(array: np.ndarray) -> np.ndarray:
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array
