"""Concat, Slice and Eltwise."""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from caffe2lrp.converters.onnx.graph import GraphBuilder
from caffe2lrp.converters.onnx.registry import emits
from caffe2lrp.ir import Layer
from caffe2lrp.layers.base import canonical_axis
from caffe2lrp.layers.eltwise import Eltwise
from caffe2lrp.layers.join import Concat, Slice


@emits(Concat)
def _concat(graph: GraphBuilder, layer: Layer) -> None:
    assert isinstance(layer.params, Concat)
    axis = canonical_axis(layer.params.axis, graph.shape(layer.inputs[0]))
    graph.node("Concat", graph.inputs(layer), graph.outputs(layer), layer=layer, axis=axis)


@emits(Slice)
def _slice(graph: GraphBuilder, layer: Layer) -> None:
    p = layer.params
    assert isinstance(p, Slice)
    shape = graph.shape(layer.inputs[0])
    if p.parts == 1:  # also of a batch of any size
        graph.node("Identity", graph.inputs(layer), graph.outputs(layer), layer=layer)
        return
    sizes = [b - a for a, b in pairwise(p.bounds(shape))]
    split = graph.constant(sizes, f"{layer.name}.split")
    axis = canonical_axis(p.axis, shape)
    graph.node("Split", [*graph.inputs(layer), split], graph.outputs(layer), layer=layer, axis=axis)


@emits(Eltwise)
def _eltwise(graph: GraphBuilder, layer: Layer) -> None:
    p = layer.params
    assert isinstance(p, Eltwise)
    inputs, outputs = graph.inputs(layer), graph.outputs(layer)
    if p.operation == "SUM":
        factors = p.coefficients or (1.0,) * len(inputs)
        terms = [
            blob if factor == 1 else graph.node("Mul", [blob, _factor(graph, layer, i, factor)], layer=layer)
            for i, (blob, factor) in enumerate(zip(inputs, factors, strict=True))
        ]
        graph.node("Sum", terms, outputs, layer=layer)
    elif p.operation == "MAX":
        graph.node("Max", inputs, outputs, layer=layer)
    else:
        product = inputs[0]
        for i, blob in enumerate(inputs[1:]):
            product = graph.node("Mul", [product, blob], outputs if i == len(inputs) - 2 else None, layer=layer)


def _factor(graph: GraphBuilder, layer: Layer, index: int, value: float) -> str:
    return graph.constant(np.array(value), f"{layer.name}.coefficient{index}")
