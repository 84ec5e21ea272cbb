"""Batches in stages: the first layers take a few images at a time, one for each thread, the others all at once.

Blobs of the first layers are large, and no cache holds those of a whole batch; their weights are few, and may be read
again for each image. Behind them it is the other way round. The numbers are the same either way.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from caffe2lrp.engine.outputs import written
from caffe2lrp.engine.plan import ForwardPlan, cached
from caffe2lrp.ir import Layer, Network
from caffe2lrp.kernels import team
from caffe2lrp.layers.activation import Activation
from caffe2lrp.layers.base import Shape, count
from caffe2lrp.layers.batch_norm import BN, BatchNorm
from caffe2lrp.layers.convolution import Convolving
from caffe2lrp.layers.dropout import Dropout
from caffe2lrp.layers.join import Concat
from caffe2lrp.layers.lrn import LRN
from caffe2lrp.layers.pooling import Pooling

# Layers for which each image of a batch is on its own.
_BY_IMAGE = (Activation, BN, BatchNorm, Dropout, LRN, Pooling)
_CACHE = 2**22  # bytes of a blob that stay in the cache until they are read
# Reading weights again for each image costs as much as so many times their bytes of blobs that stay in the cache.
_AGAIN = 8
_LEAST = 2**21  # bytes an image that have to be saved


class StagedPlan:
    """The forward program of a network for a large batch, in two stages.

    Parameters
    ----------
    network
        Fitted to its input shapes.
    dtype
        Precision.
    keep
        Blobs whose values must be there after the run.
    cut
        The blob between the stages.
    together
        Images that pass the first stage at a time.
    """

    def __init__(self, network: Network, dtype: np.dtype[Any], keep: frozenset[str], cut: str, together: int) -> None:
        self._batch, self._together, self._cut = network.input_shape[0], together, cut
        first = network.until(cut)
        sizes = {together, self._batch % together or together}
        self._heads = {
            n: ForwardPlan(first.with_batch(n), dtype, frozenset({cut}), times=self._batch / n) for n in sizes
        }
        rest = network.layers[_place(network, cut) + 1 :]
        self._tail = ForwardPlan(network.with_layers(rest, {cut: network.shapes[cut]}), dtype, keep)
        self._lock = threading.Lock()

    def run(self, inputs: Mapping[str, np.ndarray], names: Sequence[str]) -> dict[str, np.ndarray]:
        """Run on arrays by input blob and return copies of blobs."""
        joined = self._tail.values[self._cut]
        with self._lock:
            for start in range(0, self._batch, self._together):
                stop = min(start + self._together, self._batch)
                head = self._heads[stop - start]
                head.compute({blob: array[start:stop] for blob, array in inputs.items()})
                np.copyto(joined[start:stop], head.values[self._cut])
            return self._tail.run({}, names)


def batch_plan(
    network: Network, shapes: Mapping[str, Shape], dtype: np.dtype[Any], keep: frozenset[str]
) -> ForwardPlan | StagedPlan:
    """The plan of a forward pass for shapes of all inputs, in stages if that pays; plans are kept with the network."""

    def make() -> ForwardPlan | StagedPlan:
        fitted, together = network.with_input_shapes(shapes), team.threads()
        cut = best_cut(fitted, dtype, keep) if fitted.input_shape[0] > together else None
        return ForwardPlan(fitted, dtype, keep) if cut is None else StagedPlan(fitted, dtype, keep, cut, together)

    key = tuple(shapes[blob] for blob in network.inputs)
    plan: ForwardPlan | StagedPlan = cached(network, ("batch", key, dtype.name, keep), make)
    return plan


def best_cut(network: Network, dtype: np.dtype[Any], keep: frozenset[str]) -> str | None:
    """The blob up to which the most is saved by taking few images at a time; None if it is not worth the trouble."""
    batch = network.input_shape[0]
    # what a ReLU writes is written by the layer before
    again = {blobs.rectified for blobs in written(network, keep).values()}
    last = {blob: place for place, layer in enumerate(network.layers) for blob in layer.inputs}
    last.update(dict.fromkeys(keep, len(network.layers)))
    alive, saved = set(network.inputs), 0.0
    most, best = float(_LEAST), None
    for place, layer in enumerate(network.layers):
        if len(network.inputs) > 1 or not _by_image(network, layer, batch):
            break
        for blob in layer.outputs:
            size = count(network.shapes[blob]) * dtype.itemsize
            saved += size / batch if size > _CACHE and blob not in again else 0
        saved -= _AGAIN * sum(weight.size for weight in layer.weights.values()) * dtype.itemsize
        alive = {blob for blob in (*alive, *layer.outputs) if last.get(blob, -1) > place}
        if len(alive) == 1 and network.input not in alive:
            (cut,) = alive
            copied = 2 * count(network.shapes[cut]) * dtype.itemsize / batch  # read and written
            if saved - copied > most:
                most, best = saved - copied, cut
    return best


def _by_image(network: Network, layer: Layer, batch: int) -> bool:
    """Whether a layer computes each image of a batch by itself."""
    if any(network.shapes[blob][:1] != (batch,) for blob in (*layer.inputs, *layer.outputs)):
        return False
    if isinstance(layer.params, (Concat, Convolving)):
        return layer.params.axis % len(network.shapes[layer.outputs[0]]) > 0
    return isinstance(layer.params, _BY_IMAGE)


def _place(network: Network, blob: str) -> int:
    return next(place for place, layer in enumerate(network.layers) if blob in layer.outputs)
