"""Which blobs can be known never to be negative: alpha-beta rules then need half the products."""

from __future__ import annotations

from caffe2lrp.ir import Layer, Network
from caffe2lrp.layers.activation import BNLL, AbsVal, Exp, ReLU, Sigmoid, Threshold
from caffe2lrp.layers.argmax import ArgMax
from caffe2lrp.layers.batch import BatchReindex, Filter
from caffe2lrp.layers.clipped import Clip, HardSigmoid, Swish
from caffe2lrp.layers.crop import Crop
from caffe2lrp.layers.dropout import Dropout
from caffe2lrp.layers.eltwise import Eltwise
from caffe2lrp.layers.im2col import Im2col
from caffe2lrp.layers.join import Concat, Slice
from caffe2lrp.layers.lrn import LRN
from caffe2lrp.layers.pad import Pad
from caffe2lrp.layers.permute import Permute, ShuffleChannel
from caffe2lrp.layers.pooling import SPP, Pooling
from caffe2lrp.layers.reduction import Reduction
from caffe2lrp.layers.regions import ROIPooling
from caffe2lrp.layers.reshape import Flatten, Reshape
from caffe2lrp.layers.softmax import Softmax
from caffe2lrp.layers.tile import Tile
from caffe2lrp.layers.upsample import Interp, Upsample

_MAKING = (AbsVal, BNLL, Exp, HardSigmoid, Sigmoid, Softmax, Threshold)
_KEEPING = (
    ArgMax, BatchReindex, Concat, Crop, Dropout, Filter, Flatten, Im2col, LRN, Pooling, Reshape, Slice, SPP, Swish, Tile
)  # fmt: skip
_MOVING = (Interp, Permute, ROIPooling, ShuffleChannel, Upsample)


def nonnegative_blobs(network: Network) -> set[str]:
    """Blobs whose values are at least 0, whatever the input."""
    found: set[str] = set()
    for layer in network.layers:
        if _makes_nonnegative(layer) or (_keeps_sign(layer) and all(blob in found for blob in layer.value_inputs)):
            found.update(layer.outputs)
    return found


def _makes_nonnegative(layer: Layer) -> bool:
    p = layer.params
    if isinstance(p, (Pooling, SPP)):
        return p.method == "STOCHASTIC"
    if isinstance(p, ArgMax):
        return not p.out_max_val
    if isinstance(p, Reduction):
        return p.operation in ("ASUM", "SUMSQ") and p.coefficient >= 0
    if isinstance(p, Clip):
        return p.low >= 0
    return isinstance(p, _MAKING) or (isinstance(p, ReLU) and p.negative_slope == 0)


def _keeps_sign(layer: Layer) -> bool:
    p = layer.params
    if isinstance(p, Eltwise):
        return all(c >= 0 for c in p.coefficients)
    if isinstance(p, Pad):
        return p.value >= 0
    if isinstance(p, Reduction):
        return p.coefficient >= 0
    if isinstance(p, Clip):
        return p.high >= 0
    return isinstance(p, (*_KEEPING, *_MOVING, ReLU))
