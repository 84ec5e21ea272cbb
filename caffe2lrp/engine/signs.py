"""Which blobs can be known never to be negative: alpha-beta rules then need half the products."""

from __future__ import annotations

from caffe2lrp.ir import Layer, Network
from caffe2lrp.layers.activation import AbsVal, ReLU, Sigmoid
from caffe2lrp.layers.dropout import Dropout
from caffe2lrp.layers.eltwise import Eltwise
from caffe2lrp.layers.join import Concat, Slice
from caffe2lrp.layers.lrn import LRN
from caffe2lrp.layers.pad import Pad
from caffe2lrp.layers.pooling import Pooling
from caffe2lrp.layers.reshape import Flatten, Reshape
from caffe2lrp.layers.softmax import Softmax

_KEEPING = (Concat, Dropout, Flatten, LRN, Pooling, Reshape, Slice)


def nonnegative_blobs(network: Network) -> set[str]:
    """Blobs whose values are at least 0, whatever the input."""
    found: set[str] = set()
    for layer in network.layers:
        if _makes_nonnegative(layer) or (_keeps_sign(layer) and all(blob in found for blob in layer.inputs)):
            found.update(layer.outputs)
    return found


def _makes_nonnegative(layer: Layer) -> bool:
    p = layer.params
    return isinstance(p, (Sigmoid, AbsVal, Softmax)) or (isinstance(p, ReLU) and p.negative_slope == 0)


def _keeps_sign(layer: Layer) -> bool:
    p = layer.params
    if isinstance(p, Eltwise):
        return all(c >= 0 for c in p.coefficients)
    if isinstance(p, Pad):
        return p.value >= 0
    return isinstance(p, (*_KEEPING, ReLU))
