"""What linear layers write: their own output, what the ReLU behind them makes of it, or both; and which write together.

A ReLU that alone reads the output of a linear layer is done by that layer, while its results are in the registers.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

from caffe2lrp.ir import Layer, Network
from caffe2lrp.layers.activation import ReLU
from caffe2lrp.layers.convolution import Convolution, Convolving
from caffe2lrp.layers.inner_product import InnerProduct


@dataclass(frozen=True)
class Written:
    """The blobs that a linear layer writes; None for one that is not formed."""

    plain: str | None
    rectified: str | None

    @property
    def only(self) -> str | None:
        """The blob, if it is only one."""
        return self.plain or self.rectified if None in (self.plain, self.rectified) else None


def written(network: Network, keep: frozenset[str] | None) -> dict[str, Written]:
    """What each linear layer writes, by the blob of its output, where some blobs are asked for, or all (None)."""
    consumers = network.consumers
    found = {}
    for layer in network.layers:
        if isinstance(layer.params, (Convolving, InnerProduct)):
            (plain, *_), readers = layer.outputs, consumers[layer.outputs[0]]
            if len(readers) == 1 and readers[0].params == ReLU():
                kept = keep is None or plain in keep
                found[plain] = Written(plain if kept else None, readers[0].outputs[0])
            else:
                found[plain] = Written(plain, None)
    return found


def spaced(network: Network, outputs: Mapping[str, Written]) -> frozenset[str]:
    """Blobs (N, C, H, W) that convolutions can write with space between the images, for one reader alone."""
    consumers = network.consumers
    blobs = (outputs[layer.outputs[0]].only for layer in network.layers if _moves_over_images(network, layer))
    return frozenset(blob for blob in blobs if blob is not None and len(consumers[blob]) == 1)


def together(network: Network, outputs: Mapping[str, Written]) -> dict[str, list[Layer]]:
    """Convolutions that are one product: by the output of the first, all of them.

    They see single pixels of one blob, and write one blob each, all with or all without a ReLU.
    """
    found: dict[str, list[Layer]] = {}
    for readers in network.consumers.values():
        left = readers
        while left:
            first, *others = left
            alike, left = [first], []
            for layer in others:
                (alike if _alike(network, outputs, first, layer) else left).append(layer)
            if len(alike) > 1:
                found[first.outputs[0]] = alike
    return found


def _moves_over_images(network: Network, layer: Layer) -> bool:
    p, shape = layer.params, network.shapes[layer.outputs[0]]
    return isinstance(p, Convolution) and len(p.kernel) == 2 and len(shape) == 4 and p.axis % 4 == 1


def _alike(network: Network, outputs: Mapping[str, Written], first: Layer, layer: Layer) -> bool:
    """Whether a layer may be one product with the first."""
    p, q = first.params, layer.params
    if not (isinstance(p, Convolution) and isinstance(q, Convolution) and _moves_over_images(network, first)):
        return False
    if p.kernel != (1, 1) or p.group != 1 or replace(q, num_output=p.num_output, bias=p.bias) != p:
        return False
    one, other = outputs[first.outputs[0]], outputs[layer.outputs[0]]
    return bool(one.only and other.only) and (one.plain is None) == (other.plain is None)
