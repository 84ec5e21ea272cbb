"""Embed is ONNX's Gather."""

from __future__ import annotations

import numpy as np

from caffe2lrp.converters.onnx.graph import GraphBuilder, tensor_type
from caffe2lrp.converters.onnx.registry import emits
from caffe2lrp.ir import Layer
from caffe2lrp.layers.embed import Embed


@emits(Embed)
def _embed(graph: GraphBuilder, layer: Layer) -> None:
    assert isinstance(layer.params, Embed)
    (x,), outputs, bias = graph.inputs(layer), graph.outputs(layer), layer.params.bias
    index = graph.node("Cast", [x], layer=layer, to=tensor_type(np.int64))
    vectors = graph.node("Gather", [graph.weight(layer, "weight"), index], None if bias else outputs, layer=layer)
    if bias:
        graph.node("Add", [vectors, graph.weight(layer, "bias")], outputs, layer=layer)
