"""Embed, BatchReindex and Filter: rows chosen by another tensor."""

from __future__ import annotations

import numpy as np

from caffe2lrp.converters.onnx.graph import GraphBuilder, tensor_type
from caffe2lrp.converters.onnx.registry import emits
from caffe2lrp.ir import Layer
from caffe2lrp.layers.embed import Embed
from caffe2lrp.layers.selection import BatchReindex, Filter


@emits(Embed)
def _embed(graph: GraphBuilder, layer: Layer) -> None:
    assert isinstance(layer.params, Embed)
    outputs = graph.outputs(layer)
    index = _whole(graph, layer, graph.inputs(layer)[0])
    bias = layer.params.bias
    vectors = graph.node("Gather", [graph.weight(layer, "weight"), index], None if bias else outputs, layer=layer)
    if bias:
        graph.node("Add", [vectors, graph.weight(layer, "bias")], outputs, layer=layer)


@emits(BatchReindex)
def _batch_reindex(graph: GraphBuilder, layer: Layer) -> None:
    x, index = graph.inputs(layer)
    graph.node("Gather", [x, _whole(graph, layer, index)], graph.outputs(layer), layer=layer)


def _whole(graph: GraphBuilder, layer: Layer, index: str) -> str:
    return graph.node("Cast", [index], layer=layer, to=tensor_type(np.int64))


@emits(Filter)
def _filter(graph: GraphBuilder, layer: Layer) -> None:
    """Any images may be left out here: sizes of ONNX tensors may depend on the data."""
    *images, selector = graph.inputs(layer)
    flat = graph.node("Reshape", [selector, graph.constant([-1], f"{layer.name}.shape")], layer=layer)
    chosen = graph.node("Cast", [flat], layer=layer, to=tensor_type(np.bool_))
    for x, y in zip(images, graph.outputs(layer), strict=False):
        graph.node("Compress", [x, chosen], [y], layer=layer, axis=0)
