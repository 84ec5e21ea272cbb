"""Parameter and DummyData: blobs that nothing is read for."""

from __future__ import annotations

import numpy as np

from caffe2lrp.converters.onnx.graph import GraphBuilder
from caffe2lrp.converters.onnx.registry import emits
from caffe2lrp.ir import Layer
from caffe2lrp.layers.source import DummyData, Parameter


@emits(Parameter)
def _parameter(graph: GraphBuilder, layer: Layer) -> None:
    graph.node("Identity", [graph.weight(layer, "value")], graph.outputs(layer), layer=layer)


@emits(DummyData)
def _dummy_data(graph: GraphBuilder, layer: Layer) -> None:
    p = layer.params
    assert isinstance(p, DummyData)
    value = graph.constant(np.array(p.value), f"{layer.name}.value")
    graph.node("Expand", [value, graph.constant(p.shape, f"{layer.name}.shape")], graph.outputs(layer), layer=layer)
