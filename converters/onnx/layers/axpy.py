"""Axpy."""

from __future__ import annotations

from caffe2lrp.converters.onnx.graph import GraphBuilder
from caffe2lrp.converters.onnx.registry import emits
from caffe2lrp.ir import Layer
from caffe2lrp.layers.axpy import Axpy


@emits(Axpy)
def _axpy(graph: GraphBuilder, layer: Layer) -> None:
    a, x, y = graph.inputs(layer)
    shapes = [graph.shape(blob) for blob in layer.inputs]
    if len(shapes[0]) != len(shapes[1]):
        target = graph.constant([0, shapes[1][1], *[1] * (len(shapes[1]) - 2)], f"{layer.name}.shape")
        a = graph.node("Reshape", [a, target], layer=layer)
    product = graph.node("Mul", [a, x], layer=layer)
    graph.node("Add", [product, y], graph.outputs(layer), layer=layer)
