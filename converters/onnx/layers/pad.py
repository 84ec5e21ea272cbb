"""Pad is ONNX's Pad."""

from __future__ import annotations

import numpy as np

from caffe2lrp.converters.onnx.graph import GraphBuilder
from caffe2lrp.converters.onnx.registry import emits
from caffe2lrp.ir import Layer
from caffe2lrp.layers.pad import Pad


@emits(Pad)
def _pad(graph: GraphBuilder, layer: Layer) -> None:
    p = layer.params
    assert isinstance(p, Pad)
    pads = graph.constant([*p.before, *p.after], f"{layer.name}.pads")
    value = graph.constant(np.array(p.value), f"{layer.name}.value")
    graph.node("Pad", [*graph.inputs(layer), pads, value], graph.outputs(layer), layer=layer, mode="constant")
