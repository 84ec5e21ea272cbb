"""Element-wise functions of one input."""

from __future__ import annotations

import numpy as np

from caffe2lrp.converters.from_onnx.node import Node, ReadError
from caffe2lrp.converters.from_onnx.registry import reads
from caffe2lrp.layers import LayerParams
from caffe2lrp.layers.activation import BNLL, ELU, AbsVal, Exp, Log, Power, PReLU, ReLU, Sigmoid, TanH
from caffe2lrp.layers.clipped import Clip, HardSigmoid, HardSwish

_PLAIN: dict[str, LayerParams] = {
    "Abs": AbsVal(),
    "Exp": Exp(),
    "HardSwish": HardSwish(),
    "Log": Log(),
    "Neg": Power(scale=-1.0),
    "Reciprocal": Power(power=-1.0),
    "Relu": ReLU(),
    "Sigmoid": Sigmoid(),
    "Softplus": BNLL(),
    "Sqrt": Power(power=0.5),
    "Tanh": TanH(),
}
"""Operators without attributes that matter."""

_LARGEST = float(np.finfo(np.float32).max)


@reads(*_PLAIN)
def _plain(node: Node) -> None:
    node.add(_PLAIN[node.proto.op_type], node.blob())


@reads("LeakyRelu")
def _leaky_relu(node: Node) -> None:
    node.add(ReLU(node.number("alpha", 0.01)), node.blob())


@reads("Elu")
def _elu(node: Node) -> None:
    node.add(ELU(node.number("alpha", 1.0)), node.blob())


@reads("PRelu")
def _prelu(node: Node) -> None:
    """The slope is broadcast like a second term; before opset 7 it is one of each channel, or a single one."""
    x, slope = node.blob(), node.weights(1)
    if slope.size == 1:
        node.add(PReLU(channel_shared=True), x, weights={"slope": slope.reshape(1)})
        return
    channels = x.shape[1] if len(x.shape) > 1 else 0
    inner = 0 if node.opset < 7 else len(x.shape) - 2
    if slope.shape not in ((channels, *[1] * inner), (1, channels, *[1] * inner)):
        raise ReadError(f"its slopes have the shape {slope.shape}, which is not one of each channel of {x.shape}")
    node.add(PReLU(), x, weights={"slope": slope.reshape(channels)})


@reads("Clip")
def _clip(node: Node) -> None:
    """From 0 on without an upper limit it is a ReLU. Where the limits contradict each other, the upper one holds."""
    low, high = node.constant_number("min", 1, -_LARGEST), node.constant_number("max", 2, _LARGEST)
    if low == 0 and high >= _LARGEST:
        node.add(ReLU(), node.blob())
    else:
        node.add(Clip(min(low, high), high), node.blob())


@reads("HardSigmoid")
def _hard_sigmoid(node: Node) -> None:
    node.add(HardSigmoid(node.number("alpha", 0.2), node.number("beta", 0.5)), node.blob())
