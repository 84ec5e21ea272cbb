"""Element-wise functions and Dropout."""

from __future__ import annotations

import numpy as np

from caffe2lrp.converters.onnx.graph import GraphBuilder, tensor_type
from caffe2lrp.converters.onnx.registry import emits
from caffe2lrp.ir import Layer
from caffe2lrp.layers.activation import (
    BNLL,
    ELU,
    AbsVal,
    Exp,
    Log,
    Power,
    PReLU,
    ReLU,
    Sigmoid,
    TanH,
    Threshold,
)
from caffe2lrp.layers.dropout import Dropout

_PLAIN = {"Sigmoid": "Sigmoid", "TanH": "Tanh", "AbsVal": "Abs", "BNLL": "Softplus", "Dropout": "Identity"}


@emits(Sigmoid, TanH, AbsVal, BNLL, Dropout)
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
    _chain(graph, layer, [("Mul", p.scale), ("Add", p.shift), ("Pow", p.power)])


@emits(Exp, single=True)
def _exp(graph: GraphBuilder, layer: Layer) -> None:
    assert isinstance(layer.params, Exp)
    inner, outer = layer.params.factors()
    _chain(graph, layer, [("Mul", inner), ("Exp", None), ("Mul", outer)])


@emits(Log, single=True)
def _log(graph: GraphBuilder, layer: Layer) -> None:
    p = layer.params
    assert isinstance(p, Log)
    _chain(graph, layer, [("Mul", p.scale), ("Add", p.shift), ("Log", None), ("Mul", p.factor())])


_NEUTRAL = {"Mul": 1.0, "Add": 0.0, "Pow": 1.0}
_NAMES = {"Mul": "scale", "Add": "shift", "Pow": "power"}


def _chain(graph: GraphBuilder, layer: Layer, steps: list[tuple[str, float | None]]) -> None:
    """Operators one behind the other, each with its number; those that change nothing are left out."""
    needed = [(op, value) for op, value in steps if value is None or value != _NEUTRAL[op]] or [("Identity", None)]
    (x,) = graph.inputs(layer)
    for i, (op, value) in enumerate(needed):
        operands = [x] if value is None else [x, graph.constant(np.array(value), f"{layer.name}.{_NAMES[op]}")]
        x = graph.node(op, operands, graph.outputs(layer) if i == len(needed) - 1 else None, layer=layer)


@emits(Threshold)
def _threshold(graph: GraphBuilder, layer: Layer) -> None:
    assert isinstance(layer.params, Threshold)
    least = graph.constant(np.array(layer.params.threshold), f"{layer.name}.threshold")
    above = graph.node("Greater", [*graph.inputs(layer), least], layer=layer)
    graph.node("Cast", [above], graph.outputs(layer), layer=layer, to=tensor_type(graph.dtype))
