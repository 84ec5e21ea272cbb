"""Reduction: ONNX's reductions over the last axes."""

from __future__ import annotations

import numpy as np

from caffe2lrp.converters.onnx.graph import GraphBuilder
from caffe2lrp.converters.onnx.registry import emits
from caffe2lrp.ir import Layer
from caffe2lrp.layers.base import canonical_axis
from caffe2lrp.layers.reduction import Reduction

_OPERATORS = {"SUM": "ReduceSum", "ASUM": "ReduceL1", "SUMSQ": "ReduceSumSquare", "MEAN": "ReduceMean"}


@emits(Reduction, opset=18, single=True)
def _reduction(graph: GraphBuilder, layer: Layer) -> None:
    p = layer.params
    assert isinstance(p, Reduction)
    shape, outputs = graph.shape(layer.inputs[0]), graph.outputs(layer)
    axes = graph.constant(list(range(canonical_axis(p.axis, shape), len(shape))), f"{layer.name}.axes")
    plain = p.coefficient == 1
    inputs = [*graph.inputs(layer), axes]
    y = graph.node(_OPERATORS[p.operation], inputs, outputs if plain else None, layer=layer, keepdims=0)
    if not plain:
        coefficient = graph.constant(np.array(p.coefficient), f"{layer.name}.coefficient")
        graph.node("Mul", [y, coefficient], outputs, layer=layer)
