"""Memory that is taken over by others when nobody needs it any more: it is still in the cache."""

from __future__ import annotations

from typing import Any

import numpy as np

from caffe2lrp.layers.base import Shape, count


class Memory:
    """Arrays of one precision, and how many need each; arrays from elsewhere are let alone."""

    def __init__(self, dtype: np.dtype[Any]) -> None:
        self.dtype = dtype
        self._users: dict[int, int] = {}
        self._arrays: dict[int, np.ndarray] = {}
        self._free: list[np.ndarray] = []

    def take(self, shape: Shape) -> np.ndarray:
        """An array that one needs from now on."""
        size = count(shape)
        fitting = [i for i, memory in enumerate(self._free) if memory.size >= size]
        if fitting:
            memory = self._free.pop(min(fitting, key=lambda i: self._free[i].size))
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
                self._free.append(self._arrays[key])


def _root(array: np.ndarray) -> np.ndarray:
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array
