"""Normalize."""

from __future__ import annotations

import numpy as np

from caffe2lrp.converters.onnx.graph import GraphBuilder
from caffe2lrp.converters.onnx.registry import emits
from caffe2lrp.ir import Layer
from caffe2lrp.layers.normalize import Normalize


@emits(Normalize, single=True)
def _normalize(graph: GraphBuilder, layer: Layer) -> None:
    p = layer.params
    assert isinstance(p, Normalize)
    (x,), rank = graph.inputs(layer), len(graph.shape(layer.inputs[0]))
    axes = graph.constant(list(range(1, rank)) if p.across_spatial else [1], f"{layer.name}.axes")
    squares = graph.node("Mul", [x, x], layer=layer)
    total = graph.node("ReduceSum", [squares, axes], layer=layer, keepdims=1)
    total = graph.node("Add", [total, graph.constant(np.array(p.epsilon), f"{layer.name}.epsilon")], layer=layer)
    unit = graph.node("Div", [x, graph.node("Sqrt", [total], layer=layer)], layer=layer)
    scale = graph.weight(layer, "scale", () if p.channel_shared else (-1, *[1] * (rank - 2)))
    graph.node("Mul", [unit, scale], graph.outputs(layer), layer=layer)
