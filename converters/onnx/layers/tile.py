"""Tile is ONNX's Tile."""

from __future__ import annotations

from caffe2lrp.converters.onnx.graph import GraphBuilder
from caffe2lrp.converters.onnx.registry import emits
from caffe2lrp.ir import Layer
from caffe2lrp.layers.base import canonical_axis
from caffe2lrp.layers.tile import Tile


@emits(Tile)
def _tile(graph: GraphBuilder, layer: Layer) -> None:
    p = layer.params
    assert isinstance(p, Tile)
    shape = graph.shape(layer.inputs[0])
    repeats = [1] * len(shape)
    repeats[canonical_axis(p.axis, shape)] = p.tiles
    inputs = [*graph.inputs(layer), graph.constant(repeats, f"{layer.name}.repeats")]
    graph.node("Tile", inputs, graph.outputs(layer), layer=layer)
