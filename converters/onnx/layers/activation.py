"""Element-wise functions and Dropout."""

from __future__ import annotations

import numpy as np

from caffe2lrp.converters.onnx.graph import GraphBuilder
from caffe2lrp.converters.onnx.registry import emits
from caffe2lrp.ir import Layer
from caffe2lrp.layers.activation import ELU, AbsVal, Power, PReLU, ReLU, Sigmoid, TanH
from caffe2lrp.layers.dropout import Dropout

_PLAIN = {"Sigmoid": "Sigmoid", "TanH": "Tanh", "AbsVal": "Abs", "Dropout": "Identity"}


@emits(Sigmoid, TanH, AbsVal, Dropout)
def _plain(graph: GraphBuilder, layer: Layer) -> None:
    graph.node(_PLAIN[layer.type], graph.inputs(layer), graph.outputs(layer), layer=layer)


@emits(ReLU)
def _relu(graph: GraphBuilder, layer: Layer) -> None:
    assert isinstance(layer.params, ReLU)
    slope = layer.params.negative_slope
    if slope == 0:
        graph.node("Relu", graph.inputs(layer), graph.outputs(layer), layer=layer)
    else:
        graph.node("LeakyRelu", graph.inputs(layer), graph.outputs(layer), layer=layer, alpha=slope)


@emits(PReLU)
def _prelu(graph: GraphBuilder, layer: Layer) -> None:
    inner = len(graph.shape(layer.inputs[0])) - 2
    slope = graph.weight(layer, "slope", (-1, *[1] * inner))
    graph.node("PRelu", [*graph.inputs(layer), slope], graph.outputs(layer), layer=layer)


@emits(ELU)
def _elu(graph: GraphBuilder, layer: Layer) -> None:
    assert isinstance(layer.params, ELU)
    graph.node("Elu", graph.inputs(layer), graph.outputs(layer), layer=layer, alpha=layer.params.alpha)


@emits(Power, single=True)
def _power(graph: GraphBuilder, layer: Layer) -> None:
    """Steps that change nothing are left out; a power of 0 is 1 whatever the input is, as in Caffe."""
    p = layer.params
    assert isinstance(p, Power)
    steps = [("Mul", p.scale, 1.0), ("Add", p.shift, 0.0), ("Pow", p.power, 1.0)]
    (x,), outputs = graph.inputs(layer), graph.outputs(layer)
    needed = [(op, value) for op, value, nothing in steps if value != nothing]
    for op, value in needed[:-1]:
        x = graph.node(op, [x, _scalar(graph, layer, op, value)], layer=layer)
    if needed:
        op, value = needed[-1]
        graph.node(op, [x, _scalar(graph, layer, op, value)], outputs, layer=layer)
    else:
        graph.node("Identity", [x], outputs, layer=layer)


def _scalar(graph: GraphBuilder, layer: Layer, op: str, value: float) -> str:
    names = {"Mul": "scale", "Add": "shift", "Pow": "power"}
    return graph.constant(np.array(value), f"{layer.name}.{names[op]}")
