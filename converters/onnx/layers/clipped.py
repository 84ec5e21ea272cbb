"""Clip, Swish, HardSigmoid and HardSwish."""

from __future__ import annotations

import math

import numpy as np

from caffe2lrp.converters.onnx.graph import GraphBuilder
from caffe2lrp.converters.onnx.registry import emits
from caffe2lrp.ir import Layer
from caffe2lrp.layers.clipped import Clip, HardSigmoid, HardSwish, Swish


@emits(Clip)
def _clip(graph: GraphBuilder, layer: Layer) -> None:
    assert isinstance(layer.params, Clip)
    bounds = [
        "" if math.isinf(value) else graph.constant(np.array(value), f"{layer.name}.{name}")
        for name, value in (("low", layer.params.low), ("high", layer.params.high))
    ]
    graph.node("Clip", [*graph.inputs(layer), *bounds], graph.outputs(layer), layer=layer)


@emits(Swish)
def _swish(graph: GraphBuilder, layer: Layer) -> None:
    assert isinstance(layer.params, Swish)
    (x,), beta = graph.inputs(layer), layer.params.beta
    scaled = (
        x if beta == 1 else graph.node("Mul", [x, graph.constant(np.array(beta), f"{layer.name}.beta")], layer=layer)
    )
    gate = graph.node("Sigmoid", [scaled], layer=layer)
    graph.node("Mul", [x, gate], graph.outputs(layer), layer=layer)


@emits(HardSigmoid)
def _hard_sigmoid(graph: GraphBuilder, layer: Layer) -> None:
    p = layer.params
    assert isinstance(p, HardSigmoid)
    graph.node("HardSigmoid", graph.inputs(layer), graph.outputs(layer), layer=layer, alpha=p.alpha, beta=p.beta)


@emits(HardSwish)
def _hard_swish(graph: GraphBuilder, layer: Layer) -> None:
    """ONNX has a HardSwish of its own since opset 14 only."""
    (x,) = graph.inputs(layer)
    gate = graph.node("HardSigmoid", [x], layer=layer, alpha=1 / 6, beta=0.5)
    graph.node("Mul", [x, gate], graph.outputs(layer), layer=layer)
