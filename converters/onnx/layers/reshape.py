"""Flatten and Reshape: both are ONNX's Reshape, whose 0 copies an axis, so that the batch size stays open."""

from __future__ import annotations

from caffe2lrp.converters.onnx.graph import GraphBuilder
from caffe2lrp.converters.onnx.registry import emits
from caffe2lrp.ir import Layer
from caffe2lrp.layers.reshape import Flatten, Reshape


@emits(Flatten, Reshape)
def _reshape(graph: GraphBuilder, layer: Layer) -> None:
    before, after = graph.shape(layer.inputs[0]), graph.shape(layer.outputs[0])
    target = list(after)
    if before and after and before[0] == after[0]:
        target[0] = 0
    shape = graph.constant(target, f"{layer.name}.shape")
    graph.node("Reshape", [*graph.inputs(layer), shape], graph.outputs(layer), layer=layer)
