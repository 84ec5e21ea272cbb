"""RNN and LSTM: a Scan over the steps.

ONNX's own RNN and LSTM operators know no continuation indicators, which begin new sequences in the midst of others.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from caffe2lrp.converters.onnx.graph import GraphBuilder
from caffe2lrp.converters.onnx.registry import emits
from caffe2lrp.ir import Layer
from caffe2lrp.layers.recurrent import LSTM, RNN, Recurrent

if TYPE_CHECKING:
    import onnx


@emits(LSTM, single=True)
def _lstm(graph: GraphBuilder, layer: Layer) -> None:
    size = _params(layer).num_output
    body = _Body(graph, layer)
    i, f, o, g = body.split(body.sums, [size] * 4)
    kept = body.node("Mul", body.node("Mul", body.cont, body.node("Sigmoid", f)), body.states[1])
    cell = body.node("Add", kept, body.node("Mul", body.node("Sigmoid", i), body.node("Tanh", g)))
    hidden = body.node("Mul", body.node("Sigmoid", o), body.node("Tanh", cell))
    _scan(graph, layer, body, [hidden, cell], graph.outputs(layer)[0])


@emits(RNN, single=True)
def _rnn(graph: GraphBuilder, layer: Layer) -> None:
    body = _Body(graph, layer)
    hidden = graph.tensor(f"{layer.name}/hidden")
    _scan(graph, layer, body, [body.node("Tanh", body.sums)], hidden)
    product = graph.node("MatMul", [hidden, _turned(graph, layer, "output_weight")], layer=layer)
    biased = graph.node("Add", [product, graph.weight(layer, "output_bias")], layer=layer)
    graph.node("Tanh", [biased], graph.outputs(layer)[:1], layer=layer)


def _params(layer: Layer) -> Recurrent:
    assert isinstance(layer.params, Recurrent)
    return layer.params


def _turned(graph: GraphBuilder, layer: Layer, key: str) -> str:
    """A weight as MatMul wants it."""
    return graph.constant(np.ascontiguousarray(layer.weights[key].T), f"{layer.name}.{key}")


class _Body:
    """One step as a graph of its own, up to the weighted sums; weights and other constants lie outside.

    Attributes
    ----------
    states
        States before the step, (N, D).
    cont
        Continuation indicators as a column, (N, 1).
    sums
        All weighted sums of the step, (N, G).
    """

    def __init__(self, graph: GraphBuilder, layer: Layer) -> None:
        self.graph, self.layer = graph, layer
        self.nodes: list[onnx.NodeProto] = []
        self.states = [self.tensor(name) for name in ("h", "c")[: _params(layer).states]]
        self._input, self._cont = self.tensor("z"), self.tensor("cont")
        self.cont = self.node("Unsqueeze", self._cont, self.graph.constant([1], f"{layer.name}.axis"))
        conted = self.node("Mul", self.states[0], self.cont)
        self.sums = self.node("Add", self.node("MatMul", conted, _turned(graph, layer, "hidden_weight")), self._input)

    def tensor(self, name: str) -> str:
        return self.graph.tensor(f"{self.layer.name}/step/{name}")

    def node(self, op_type: str, *inputs: str) -> str:
        output = self.tensor(op_type)
        self._append(op_type, inputs, [output])
        return output

    def split(self, whole: str, sizes: list[int]) -> list[str]:
        """Cut along axis 1."""
        parts = [self.tensor("Split") for _ in sizes]
        split = self.graph.constant(sizes, f"{self.layer.name}.split")
        self._append("Split", [whole, split], parts, axis=1)
        return parts

    def _append(self, op_type: str, inputs: Sequence[str], outputs: list[str], **attributes: Any) -> None:
        from onnx import helper

        self.nodes.append(helper.make_node(op_type, list(inputs), outputs, outputs[0], **attributes))

    def finish(self, states: list[str]) -> onnx.GraphProto:
        """The step with its states behind it; the hidden one is the output, too."""
        from onnx import helper

        p, streams = _params(self.layer), self.graph.shape(self.layer.inputs[0])[1]
        kind = helper.np_dtype_to_tensor_dtype(self.graph.dtype)

        def info(name: str, *shape: int) -> onnx.ValueInfoProto:
            return helper.make_tensor_value_info(name, kind, (streams, *shape))

        before = [info(name, p.num_output) for name in self.states]
        inputs = [*before, info(self._input, p.gates * p.num_output), info(self._cont)]
        behind = [info(name, p.num_output) for name in (*states, self.node("Identity", states[0]))]
        return helper.make_graph(self.nodes, f"{self.layer.name} step", inputs, behind)


def _scan(graph: GraphBuilder, layer: Layer, body: _Body, states: list[str], output: str) -> None:
    """Run a step for all; `states` are those that it makes, `output` is the hidden one of all steps, (T, N, D)."""
    p = _params(layer)
    first = _first_states(graph, layer)
    names = [graph.tensor(f"{layer.name}/last") for _ in states]
    graph.node(
        "Scan",
        [*first, _sums_of_inputs(graph, layer), graph.inputs(layer)[1]],
        [*names, output],
        layer=layer,
        body=body.finish(states),
        num_scan_inputs=2,
    )
    if p.expose_hidden:
        axis = graph.constant([0], f"{layer.name}.state_axis")
        for name, exposed in zip(names, graph.outputs(layer)[1:], strict=False):
            graph.node("Unsqueeze", [name, axis], [exposed], layer=layer)


def _first_states(graph: GraphBuilder, layer: Layer) -> list[str]:
    """States before the first step, (N, D)."""
    p = _params(layer)
    if p.expose_hidden:
        axis = graph.constant([0], f"{layer.name}.state_axis")
        return [graph.node("Squeeze", [blob, axis], layer=layer) for blob in graph.inputs(layer)[-p.states :]]
    zeros = np.zeros((graph.shape(layer.inputs[0])[1], p.num_output), np.float32)
    return [graph.constant(zeros, f"{layer.name}.first")] * p.states


def _sums_of_inputs(graph: GraphBuilder, layer: Layer) -> str:
    """What the sequence and the static input add to the sums of all steps, (T, N, G)."""
    inputs = graph.inputs(layer)
    x = inputs[0]
    if len(graph.shape(layer.inputs[0])) > 3:
        x = graph.node("Reshape", [x, graph.constant([0, 0, -1], f"{layer.name}.sequence")], layer=layer)
    product = graph.node("MatMul", [x, _turned(graph, layer, "weight")], layer=layer)
    sums = graph.node("Add", [product, graph.weight(layer, "bias")], layer=layer)
    if not _params(layer).has_static(len(inputs)):
        return sums
    static = inputs[2]
    if len(graph.shape(layer.inputs[2])) > 2:
        static = graph.node("Flatten", [static], layer=layer, axis=1)
    once = graph.node("MatMul", [static, _turned(graph, layer, "static_weight")], layer=layer)
    return graph.node("Add", [sums, once], layer=layer)
