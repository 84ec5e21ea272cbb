"""Where the blobs of a forward plan lie in memory.

Blobs that are joined lie side by side in the memory of what they are joined to, so that nothing is copied. Where not
all blobs are asked for, the memory of one that no layer reads any more goes to a later one.
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
    spaced
        Blobs that may have space between their images: each is read by one layer alone.
    """

    def __init__(
        self, network: Network, dtype: np.dtype[Any], keep: frozenset[str] | None, spaced: frozenset[str]
    ) -> None:
        self.shapes = network.shapes
        self._memory = Memory(dtype)
        self._pieces = _joined(network, spaced)
        self._placed: dict[str, np.ndarray] = {}  # blobs that had to have their memory before their layer came
        self._last = {} if keep is None else _last_readers(network, keep)
        self._arrays: dict[str, np.ndarray] = {}

    def new(self, blob: str) -> np.ndarray:
        """Memory for a blob."""
        if blob in self._placed:
            return self._placed[blob]
        shape = self.shapes[blob]
        if blob in self._pieces:
            whole, axis, start = self._pieces[blob]
            joined = self._placed[whole] = self.new(whole)
            array = joined[(slice(None),) * axis + (slice(start, start + shape[axis]),)]
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


def _joined(network: Network, spaced: frozenset[str]) -> dict[str, tuple[str, int, int]]:
    """Blobs that lie in the memory of what they are joined to: blob -> (joined blob, axis, first place on it).

    Each is a run of that memory, but for those that may have space between their images.
    """
    found: dict[str, tuple[str, int, int]] = {}
    for layer in network.layers:
        if isinstance(layer.params, Concat):
            shape = network.shapes[layer.outputs[0]]
            axis = canonical_axis(layer.params.axis, shape)
            in_one_piece = count(shape, 0, axis) == 1
            start = 0
            for blob in layer.inputs:
                if blob not in network.inputs and (in_one_piece or (axis == 1 and blob in spaced)):
                    found.setdefault(blob, (layer.outputs[0], axis, start))
                start += network.shapes[blob][axis]
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
