"""Embed is ONNX's Gather."""

from __future__ import annotations

from caffe2lrp.converters.onnx.graph import GraphBuilder
from caffe2lrp.converters.onnx.registry import emits
from caffe2lrp.ir import Layer
from caffe2lrp.layers.embed import Embed


@emits(Embed)
def _embed(graph: GraphBuilder, layer: Layer) -> None:
    assert isinstance(layer.params, Embed)
    outputs, bias = graph.outputs(layer), layer.params.bias
    rows = [graph.weight(layer, "weight"), graph.index(layer, 0)]
    vectors = graph.node("Gather", rows, None if bias else outputs, layer=layer)
    if bias:
        graph.node("Add", [vectors, graph.weight(layer, "bias")], outputs, layer=layer)
