"""Where the blobs of a forward plan lie in memory.

Blobs that are joined lie side by side in the memory of what they are joined to, so that nothing is copied. Where not
all blobs are asked for, the memory of one that no layer reads any more goes to the next: it is still in the cache.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np

from caffe2lrp.ir import Network
from caffe2lrp.layers.base import canonical_axis, count
from caffe2lrp.layers.join import Concat


class Buffers:
    """The memory of all blobs but the inputs.

    Parameters
    ----------
    network
        Fitted to its input shapes.
    dtype
        Precision.
    keep
        Blobs that must be there at the end; None for all.
    """

    def __init__(self, network: Network, dtype: np.dtype[Any], keep: frozenset[str] | None) -> None:
        self.shapes = network.shapes
        self.dtype = dtype
        self._pieces = _joined(network)
        self._placed: dict[str, np.ndarray] = {}  # blobs that had to have their memory before their layer came
        self._last = {} if keep is None else _last_readers(network, keep)
        self._members: dict[int, set[str]] = defaultdict(set)  # memory -> blobs in it that are still to be read
        self._memory: dict[int, np.ndarray] = {}  # all that was taken
        self._free: list[np.ndarray] = []

    def new(self, blob: str) -> np.ndarray:
        """Memory for a blob."""
        if blob in self._placed:
            return self._placed[blob]
        shape = self.shapes[blob]
        if blob in self._pieces:
            whole, start = self._pieces[blob]
            joined = self.new(whole)
            self._placed[whole] = joined
            array = joined.reshape(-1)[start : start + count(shape)].reshape(shape)
        else:
            array = self._take(count(shape)).reshape(shape)
        self.enter(blob, array)
        return array

    def enter(self, blob: str, array: np.ndarray) -> None:
        """Note that a blob lies in some memory, that of another blob perhaps; only memory from here is ever reused."""
        key = id(_root(array))
        if key in self._memory:
            self._members[key].add(blob)

    def done(self, layer: int) -> None:
        """All that a layer (by its place) reads has been read."""
        for blob in self._last.get(layer, ()):
            for key, members in list(self._members.items()):
                if blob in members:
                    members.discard(blob)
                    if not members:
                        del self._members[key]
                        self._free.append(self._memory[key])

    def _take(self, size: int) -> np.ndarray:
        fitting = [i for i, memory in enumerate(self._free) if memory.size >= size]
        if not fitting:
            memory = np.empty(size, self.dtype)
            self._memory[id(memory)] = memory
            return memory
        return self._free.pop(min(fitting, key=lambda i: self._free[i].size))[:size]


def _root(array: np.ndarray) -> np.ndarray:
    while isinstance(array.base, np.ndarray):
        array = array.base
    return array


def _joined(network: Network) -> dict[str, tuple[str, int]]:
    """Blobs that are a run of the memory of what they are joined to: blob -> (joined blob, first value)."""
    found: dict[str, tuple[str, int]] = {}
    for layer in network.layers:
        shape = network.shapes[layer.outputs[0]]
        if isinstance(layer.params, Concat) and count(shape, 0, canonical_axis(layer.params.axis, shape)) == 1:
            start = 0
            for blob in layer.inputs:
                if blob not in network.inputs:
                    found.setdefault(blob, (layer.outputs[0], start))
                start += count(network.shapes[blob])
    return found


def _last_readers(network: Network, keep: frozenset[str]) -> dict[int, list[str]]:
    """For each layer, by its place, the blobs that nobody reads after it."""
    last: dict[str, int] = {}
    for place, layer in enumerate(network.layers):
        last.update(dict.fromkeys((*layer.inputs, *layer.outputs), place))
    found = defaultdict(list)
    for blob, place in last.items():
        if blob not in keep and blob not in network.inputs:
            found[place].append(blob)
    return dict(found)
