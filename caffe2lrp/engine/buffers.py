"""Where the blobs of a forward plan lie in memory.

Blobs that are joined lie side by side in the memory of what they are joined to, so that nothing is copied. Where not
all blobs are asked for, the memory of one that no layer reads any more goes to the next: it is still in the cache.
"""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np

from caffe2lrp.engine.memory import Memory
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
        self._memory = Memory(dtype)
        self._pieces = _joined(network)
        self._placed: dict[str, np.ndarray] = {}  # blobs that had to have their memory before their layer came
        self._last = {} if keep is None else _last_readers(network, keep)
        self._arrays: dict[str, np.ndarray] = {}

    def new(self, blob: str) -> np.ndarray:
        """Memory for a blob."""
        if blob in self._placed:
            return self._placed[blob]
        shape = self.shapes[blob]
        if blob in self._pieces:
            whole, start = self._pieces[blob]
            joined = self._placed[whole] = self.new(whole)
            array = joined.reshape(-1)[start : start + count(shape)].reshape(shape)
            self._memory.share(array)
        else:
            array = self._memory.take(shape)
        self._arrays[blob] = array
        return array

    def enter(self, blob: str, array: np.ndarray) -> None:
        """Note that a blob lies in the memory of another."""
        self._memory.share(array)
        self._arrays[blob] = array

    def done(self, layer: int) -> None:
        """All that a layer (by its place) reads has been read."""
        for blob in self._last.get(layer, ()):
            if blob in self._arrays:
                self._memory.give(self._arrays[blob])


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
