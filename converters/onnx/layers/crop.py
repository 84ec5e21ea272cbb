"""Crop is ONNX's Slice, with the sizes written out."""

from __future__ import annotations

from caffe2lrp.converters.onnx.graph import GraphBuilder
from caffe2lrp.converters.onnx.registry import emits
from caffe2lrp.ir import Layer
from caffe2lrp.layers.crop import Crop


@emits(Crop)
def _crop(graph: GraphBuilder, layer: Layer) -> None:
    assert isinstance(layer.params, Crop)
    shape, part = graph.shape(layer.inputs[0]), graph.shape(layer.outputs[0])
    starts = layer.params.starts(shape)
    axes = [i for i, (size, left) in enumerate(zip(shape, part, strict=True)) if size != left]
    bounds = {
        "starts": [starts[i] for i in axes],
        "ends": [starts[i] + part[i] for i in axes],
        "axes": axes,
    }
    named = [graph.constant(values, f"{layer.name}.{name}") for name, values in bounds.items()]
    operator = "Slice" if axes else "Identity"
    graph.node(operator, [graph.inputs(layer)[0], *(named if axes else [])], graph.outputs(layer), layer=layer)
