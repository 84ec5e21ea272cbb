"""Permute and ShuffleChannel."""

from __future__ import annotations

from caffe2lrp.converters.onnx.graph import GraphBuilder
from caffe2lrp.converters.onnx.registry import emits
from caffe2lrp.ir import Layer
from caffe2lrp.layers.permute import Permute, ShuffleChannel


@emits(Permute)
def _permute(graph: GraphBuilder, layer: Layer) -> None:
    assert isinstance(layer.params, Permute)
    order = layer.params.axes(graph.shape(layer.inputs[0]))
    graph.node("Transpose", graph.inputs(layer), graph.outputs(layer), layer=layer, perm=order)


@emits(ShuffleChannel)
def _shuffle(graph: GraphBuilder, layer: Layer) -> None:
    assert isinstance(layer.params, ShuffleChannel)
    shape, group = graph.shape(layer.inputs[0]), layer.params.group
    groups = graph.constant([0, group, shape[1] // group, -1], f"{layer.name}.groups")
    grouped = graph.node("Reshape", [*graph.inputs(layer), groups], layer=layer)
    turned = graph.node("Transpose", [grouped], layer=layer, perm=(0, 2, 1, 3))
    target = graph.constant([0, *shape[1:]], f"{layer.name}.shape")
    graph.node("Reshape", [turned, target], graph.outputs(layer), layer=layer)
