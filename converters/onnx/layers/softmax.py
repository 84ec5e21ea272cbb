"""Softmax and its logarithm."""

from __future__ import annotations

from caffe2lrp.converters.onnx.graph import GraphBuilder
from caffe2lrp.converters.onnx.registry import emits
from caffe2lrp.ir import Layer
from caffe2lrp.layers.base import canonical_axis
from caffe2lrp.layers.softmax import LogSoftmax, Softmax


@emits(Softmax, LogSoftmax)
def _softmax(graph: GraphBuilder, layer: Layer) -> None:
    assert isinstance(layer.params, (Softmax, LogSoftmax))
    axis = canonical_axis(layer.params.axis, graph.shape(layer.inputs[0]))
    graph.node(layer.type, graph.inputs(layer), graph.outputs(layer), layer=layer, axis=axis)
