"""RNN and LSTM, step by step.

Relevance goes back through time (Arras et al. 2017, "Explaining recurrent neural network predictions in sentiment
analysis"). Weighted sums share it out by the epsilon rule, tanh passes it on, and so do products with a gate, which
takes nothing itself: the signal takes all. The continuation indicators are such a gate.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from caffe2lrp import rules
from caffe2lrp.engine.backward import Ledger, RelevancePlan, Term
from caffe2lrp.engine.plan import ForwardPlan
from caffe2lrp.engine.registry import forward, gradient, relevance
from caffe2lrp.errors import ModelError
from caffe2lrp.ir import Layer
from caffe2lrp.kernels import activation, affine, eltwise, inner_product
from caffe2lrp.kernels import recurrent as kernels
from caffe2lrp.kernels import relevance as sharing
from caffe2lrp.kernels.launch import Kernel
from caffe2lrp.layers.recurrent import LSTM, RNN, Recurrent

# -- forward ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Unrolled:
    """Buffers of a recurrent layer; T steps, N streams, D hidden units, G = D sums a step (LSTM: 4 D).

    Attributes
    ----------
    x
        Input, (T N, K).
    cont
        Continuation indicators, (T, N).
    static
        Static input, (N, S), or None.
    first
        States before the first step, (N, D) each: of the hidden units, of the cells.
    z
        Weighted sums, (T, N, G).
    conted
        Hidden states before each step times the indicators, (T, N, D).
    hidden, cells
        States behind each step, (T, N, D); `cells` is empty for an RNN.
    """

    x: np.ndarray
    cont: np.ndarray
    static: np.ndarray | None
    first: list[np.ndarray]
    z: np.ndarray
    conted: np.ndarray
    hidden: np.ndarray
    cells: np.ndarray

    def before(self, t: int) -> np.ndarray:
        """Hidden states before step t."""
        return self.hidden[t - 1] if t else self.first[0]

    def cells_before(self, t: int) -> np.ndarray:
        """Cells before step t."""
        return self.cells[t - 1] if t else self.first[1]


@forward(LSTM)
def _lstm(plan: ForwardPlan, layer: Layer) -> None:
    run = _unroll(plan, layer, plan.output(layer))
    for t in _recur(plan, layer, run):
        arrays = (run.z[t], run.cont[t], run.cells_before(t), run.cells[t], run.hidden[t])
        plan.program.add(kernels.lstm_unit, *arrays, label=layer.name)
    _expose(plan, layer, [run.hidden, run.cells])


@forward(RNN)
def _rnn(plan: ForwardPlan, layer: Layer) -> None:
    y = plan.output(layer)
    run = _unroll(plan, layer, plan.new(y.shape))
    for t in _recur(plan, layer, run):
        plan.program.add(activation.tanh, run.z[t].reshape(-1), run.hidden[t].reshape(-1), label=layer.name)
    w, bias = plan.weight(layer, "output_weight"), plan.weight(layer, "output_bias")
    rows = [a.reshape(-1, w.shape[0]) for a in (run.hidden, y)]
    plan.program.add(inner_product.inner_product, w, rows[0], bias, rows[1], False, label=layer.name)
    plan.program.add(activation.tanh, y.reshape(-1), y.reshape(-1), label=layer.name)
    _expose(plan, layer, [run.hidden])


def _unroll(plan: ForwardPlan, layer: Layer, hidden: np.ndarray) -> Unrolled:
    """Make the buffers, and append what all steps have in common: the sums over the input and the static input."""
    p = layer.params
    assert isinstance(p, Recurrent)
    inputs = plan.inputs(layer)
    steps, streams, size = hidden.shape
    w, bias = plan.weight(layer, "weight"), plan.weight(layer, "bias")
    states = inputs[-p.states :] if p.expose_hidden else [np.zeros((streams, size), plan.dtype)] * p.states
    static = inputs[2].reshape(streams, -1) if p.has_static(len(inputs)) else None
    run = Unrolled(
        x=inputs[0].reshape(steps * streams, -1),
        cont=inputs[1],
        static=static,
        first=[state.reshape(streams, size) for state in states],
        z=plan.new((steps, streams, w.shape[0])),
        conted=plan.new(hidden.shape),
        hidden=hidden,
        cells=plan.new(hidden.shape if p.states > 1 else (0,)),
    )
    plan.internals[layer.name] = run
    rows = run.z.reshape(steps * streams, -1)
    plan.program.add(inner_product.inner_product, w, run.x, bias, rows, False, label=layer.name)
    if static is not None:
        w = plan.weight(layer, "static_weight")
        once, nothing = plan.new((streams, w.shape[0])), np.zeros(w.shape[0], plan.dtype)
        plan.program.add(inner_product.inner_product, w, static, nothing, once, False, label=layer.name)
        for t in range(steps):
            plan.program.add(eltwise.add_scaled, once.reshape(-1), 1.0, run.z[t].reshape(-1), label=layer.name)
    return run


def _recur(plan: ForwardPlan, layer: Layer, run: Unrolled) -> Iterator[int]:
    """The steps in order, each with its sums complete."""
    w = plan.weight(layer, "hidden_weight")
    for t in range(len(run.z)):
        plan.program.add(affine.scale, run.before(t)[None], run.cont[t], run.conted[t][None], label=layer.name)
        plan.program.add(kernels.add_product, w, run.conted[t], run.z[t], label=layer.name)
        yield t


def _expose(plan: ForwardPlan, layer: Layer, states: list[np.ndarray]) -> None:
    for blob, state in zip(layer.outputs[1:], states, strict=False):
        plan.alias(blob, state[-1])


# -- back through time --------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Back:
    """What the ways back of relevance and of derivatives have in common.

    Attributes
    ----------
    plan, layer, run
        The plan, the layer, and its buffers of the forward pass.
    carried
        What the hidden states (N, D) get from the step behind them, and the cells of an LSTM.
    product
        A step's product with the transposed weights of the hidden states, (N, D).
    """

    plan: RelevancePlan
    layer: Layer
    run: Unrolled
    carried: list[np.ndarray]
    product: np.ndarray

    @property
    def arriving(self) -> np.ndarray:
        """What arrives at the output, (T, N, D)."""
        return self.plan.relevance[self.layer.outputs[0]]

    def steps(self) -> Iterator[int]:
        """The steps from the last to the first."""
        return reversed(range(len(self.run.z)))

    def like(self, array: np.ndarray) -> np.ndarray:
        """A new buffer of the shape of another one."""
        return self.plan.new(array.shape)

    def call(self, kernel: Kernel, *arguments: Any) -> None:
        """Append a kernel call to the program."""
        self.plan.program.add(kernel, *arguments, label=f"{self.layer.name} back")

    def copy(self, source: np.ndarray, target: np.ndarray) -> None:
        self.call(eltwise.scaled, source.reshape(-1), 1.0, target.reshape(-1))

    def add(self, source: np.ndarray, target: np.ndarray) -> None:
        self.call(eltwise.add_scaled, source.reshape(-1), 1.0, target.reshape(-1))

    def times(self, a: np.ndarray, b: np.ndarray, target: np.ndarray) -> None:
        self.call(eltwise.times, a.reshape(-1), b.reshape(-1), target.reshape(-1))

    def ratio(self, r: np.ndarray, z: np.ndarray, epsilon: float, s: np.ndarray) -> None:
        """s = r / z, stabilised."""
        three_axes = [a.reshape(1, 1, -1) for a in (z, s)]
        self.call(sharing.ratio, r.reshape(1, -1), three_axes[0], 0, 1.0, epsilon, sharing.SIGN, three_axes[1])

    def transposed(self, w: np.ndarray, s: np.ndarray, target: np.ndarray) -> None:
        """target = s W."""
        rows, columns = s.reshape(-1, w.shape[0]), target.reshape(-1, w.shape[1])
        self.call(inner_product.transposed_part_product, w, 1.0, 0.0, 0.0, 0.0, rows, columns)

    def weight(self, name: str) -> np.ndarray:
        """The rows of a weight that relevance goes through: all of an RNN's, the new input's of an LSTM."""
        w = self.plan.forward.weight(self.layer, name)
        return w if self.plan.settings.derivative else w[-self.run.hidden.shape[2] :]

    def finish(self, s: np.ndarray, weigh: bool) -> None:
        """From the sums of all steps, s (T, N, G), to the inputs and the first states; `weigh` by the values."""
        run, layer = self.run, self.layer
        self._into(layer.inputs[0], "weight", s, run.x if weigh else None)
        if run.static is not None:
            total = self.plan.new(s.shape[1:])
            self.call(sharing.sum_sources, s.reshape(1, len(s), -1), total.reshape(1, -1))
            self._into(layer.inputs[2], "static_weight", total, run.static if weigh else None)
        assert isinstance(layer.params, Recurrent)
        if layer.params.expose_hidden:
            for blob, carried in zip(layer.inputs[-layer.params.states :], self.carried, strict=True):
                self.copy(carried, self.plan.into(blob))

    def _into(self, blob: str, weight: str, s: np.ndarray, value: np.ndarray | None) -> None:
        target = self.plan.into(blob)
        self.transposed(self.weight(weight), s, target)
        if value is not None:
            self.times(target, value, target)


def _begin(plan: RelevancePlan, layer: Layer) -> _Back:
    """The way back, with what arrives at the states behind the last step."""
    run: Unrolled = plan.forward.internals[layer.name]
    assert isinstance(layer.params, Recurrent)
    shape = run.hidden.shape[1:]
    back = _Back(plan, layer, run, [plan.new(shape) for _ in range(layer.params.states)], plan.new(shape))
    for i, carried in enumerate(back.carried):
        if 1 + i < len(layer.outputs):
            back.copy(plan.relevance[layer.outputs[1 + i]], carried)
        else:
            back.call(eltwise.fill, carried.reshape(-1), 0.0)
    return back


def _ledger(plan: RelevancePlan, layer: Layer) -> tuple[Ledger, float]:
    """The account of the layer, and the epsilon of its rule."""
    rule = plan.rules[layer.name]
    epsilon = rule.denominators[0].epsilon
    if replace(rule, name="") != replace(rules.epsilon(epsilon), name=""):
        raise ModelError(
            f"{layer}: relevance goes through it by the epsilon rule only, not by {rule.name}; choose a composite "
            "that has it for fully connected layers, for example composite='epsilon_plus'"
        )
    ledger = plan.ledgers[layer.name] = Ledger(layer, rule)
    return ledger, epsilon


@relevance(LSTM)
def _lstm_relevance(plan: RelevancePlan, layer: Layer) -> None:
    ledger, epsilon = _ledger(plan, layer)
    back = _begin(plan, layer)
    run, size = back.run, back.run.hidden.shape[2]
    w = back.weight("hidden_weight")
    r, q, r_g, s = (back.like(run.hidden) for _ in range(4))
    for t in back.steps():
        forward_values = (run.z[t], run.cont[t], run.cells_before(t), run.cells[t])
        results = (r[t], q[t], r_g[t], s[t])
        back.call(kernels.lstm_relevance, *forward_values, back.arriving[t], *back.carried, *results, epsilon)
        back.transposed(w, s[t], back.product)
        back.times(back.product, run.conted[t], back.carried[0])
    bias = plan.forward.weight(layer, "bias")[-size:]
    ledger.terms.append(Term(r, run.cells, q, None, 1.0, epsilon))
    ledger.terms.append(Term(r_g, run.z[:, :, -size:], s, bias, 1.0, epsilon))
    back.finish(s, weigh=True)


@relevance(RNN)
def _rnn_relevance(plan: RelevancePlan, layer: Layer) -> None:
    ledger, epsilon = _ledger(plan, layer)
    back = _begin(plan, layer)
    run = back.run
    w = back.weight("hidden_weight")
    r, s = back.like(run.hidden), back.like(run.hidden)
    _output_relevance(back, ledger, epsilon, r)
    for t in back.steps():
        back.add(back.carried[0], r[t])
        back.ratio(r[t], run.z[t], epsilon, s[t])
        back.transposed(w, s[t], back.product)
        back.times(back.product, run.conted[t], back.carried[0])
    ledger.terms.append(Term(r, run.z, s, plan.forward.weight(layer, "bias"), 1.0, epsilon))
    back.finish(s, weigh=True)


def _output_relevance(back: _Back, ledger: Ledger, epsilon: float, r: np.ndarray) -> None:
    """Through the output layer of an RNN to the hidden states of all steps, r (T, N, D)."""
    plan, layer, run = back.plan, back.layer, back.run
    w, bias = plan.forward.weight(layer, "output_weight"), plan.forward.weight(layer, "output_bias")
    z, s = back.like(r), back.like(r)
    rows = [a.reshape(-1, w.shape[0]) for a in (run.hidden, z)]
    back.call(inner_product.inner_product, w, rows[0], bias, rows[1], False)
    back.ratio(back.arriving, z, epsilon, s)
    ledger.terms.append(Term(back.arriving, z, s, bias, 1.0, epsilon))
    back.transposed(w, s, r)
    back.times(r, run.hidden, r)


# -- derivatives --------------------------------------------------------------------------------------------------


@gradient(LSTM)
def _lstm_gradient(plan: RelevancePlan, layer: Layer) -> None:
    back = _begin(plan, layer)
    run = back.run
    g_z, g_cont = back.like(run.z), _gradient_of_cont(back)
    for t in back.steps():
        forward_values = (run.z[t], run.cont[t], run.cells_before(t), run.cells[t])
        back.call(kernels.lstm_gradient, *forward_values, back.arriving[t], *back.carried, g_z[t], g_cont[t])
        _step_back(back, g_z[t], g_cont[t], t)
    back.finish(g_z, weigh=False)


@gradient(RNN)
def _rnn_gradient(plan: RelevancePlan, layer: Layer) -> None:
    back = _begin(plan, layer)
    run = back.run
    g_cont, g_o, g_h, g_z = _gradient_of_cont(back), *(back.like(run.hidden) for _ in range(3))
    y = plan.forward.values[layer.outputs[0]]
    back.call(activation.tanh_gradient, *(a.reshape(-1) for a in (y, back.arriving, g_o)))
    back.transposed(plan.forward.weight(layer, "output_weight"), g_o, g_h)
    for t in back.steps():
        back.add(back.carried[0], g_h[t])
        back.call(activation.tanh_gradient, *(a[t].reshape(-1) for a in (run.hidden, g_h, g_z)))
        _step_back(back, g_z[t], g_cont[t], t)
    back.finish(g_z, weigh=False)


def _gradient_of_cont(back: _Back) -> np.ndarray:
    """Buffer for the derivative by the continuation indicators, (T, N), which the steps add up in."""
    target = back.plan.into(back.layer.inputs[1])
    back.call(eltwise.fill, target.reshape(-1), 0.0)
    return target


def _step_back(back: _Back, g_z: np.ndarray, g_cont: np.ndarray, t: int) -> None:
    """From the sums of a step to the hidden states before it."""
    back.transposed(back.weight("hidden_weight"), g_z, back.product)
    back.call(kernels.add_row_products, back.product, back.run.before(t), g_cont)
    back.call(affine.scale, back.product[None], back.run.cont[t], back.carried[0][None])
