"""Element-wise layers. Relevance passes through them unchanged (Bach et al. 2015, section 3)."""

from __future__ import annotations

import numpy as np

from caffe2lrp.engine.backward import RelevancePlan
from caffe2lrp.engine.plan import ForwardPlan
from caffe2lrp.engine.registry import forward, gradient, relevance
from caffe2lrp.ir import Layer
from caffe2lrp.kernels import activation as kernels
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
from caffe2lrp.layers.reshape import Flatten, Reshape


@forward(ReLU)
def _relu(plan: ForwardPlan, layer: Layer) -> None:
    assert isinstance(layer.params, ReLU)
    (x,), y = plan.inputs(layer), plan.output(layer)
    plan.program.add(kernels.relu, x.reshape(-1), y.reshape(-1), layer.params.negative_slope, label=layer.name)


@forward(PReLU)
def _prelu(plan: ForwardPlan, layer: Layer) -> None:
    (x,), y = plan.inputs(layer), plan.output(layer)
    shape = (x.shape[0], x.shape[1], -1)
    plan.program.add(kernels.prelu, x.reshape(shape), plan.weight(layer, "slope"), y.reshape(shape), label=layer.name)


@forward(ELU)
def _elu(plan: ForwardPlan, layer: Layer) -> None:
    assert isinstance(layer.params, ELU)
    (x,), y = plan.inputs(layer), plan.output(layer)
    plan.program.add(kernels.elu, x.reshape(-1), y.reshape(-1), layer.params.alpha, label=layer.name)


@forward(Power)
def _power(plan: ForwardPlan, layer: Layer) -> None:
    p = layer.params
    assert isinstance(p, Power)
    (x,), y = plan.inputs(layer), plan.output(layer)
    plan.program.add(kernels.power, x.reshape(-1), y.reshape(-1), p.power, p.scale, p.shift, label=layer.name)


@forward(Sigmoid, TanH, AbsVal, BNLL)
def _plain(plan: ForwardPlan, layer: Layer) -> None:
    functions = {"Sigmoid": kernels.sigmoid, "TanH": kernels.tanh, "AbsVal": kernels.absval, "BNLL": kernels.bnll}
    (x,), y = plan.inputs(layer), plan.output(layer)
    plan.program.add(functions[layer.type], x.reshape(-1), y.reshape(-1), label=layer.name)


@forward(Exp)
def _exp(plan: ForwardPlan, layer: Layer) -> None:
    assert isinstance(layer.params, Exp)
    (x,), y = plan.inputs(layer), plan.output(layer)
    plan.program.add(kernels.exponential, x.reshape(-1), y.reshape(-1), *layer.params.factors(), label=layer.name)


@forward(Log)
def _log(plan: ForwardPlan, layer: Layer) -> None:
    p = layer.params
    assert isinstance(p, Log)
    (x,), y = plan.inputs(layer), plan.output(layer)
    plan.program.add(kernels.logarithm, x.reshape(-1), y.reshape(-1), p.scale, p.shift, p.factor(), label=layer.name)


@forward(Threshold)
def _threshold(plan: ForwardPlan, layer: Layer) -> None:
    assert isinstance(layer.params, Threshold)
    (x,), y = plan.inputs(layer), plan.output(layer)
    plan.program.add(kernels.threshold, x.reshape(-1), y.reshape(-1), layer.params.threshold, label=layer.name)


@forward(Dropout, Flatten, Reshape)
def _same_values(plan: ForwardPlan, layer: Layer) -> None:
    plan.alias(layer.outputs[0], plan.inputs(layer)[0])


@relevance(ReLU)
def _relu_relevance(plan: RelevancePlan, layer: Layer) -> None:
    r = plan.relevance[layer.outputs[0]]
    if plan.settings.relu == "pass":
        plan.pass_on(layer.inputs[0], r)
        return
    x, target = plan.forward.values[layer.inputs[0]], plan.into(layer.inputs[0])
    guided = plan.settings.relu == "guided"
    plan.program.add(kernels.rectify, *(a.reshape(-1) for a in (x, r, target)), guided, label=layer.name)


@relevance(PReLU, ELU, Power, Sigmoid, TanH, AbsVal, Exp, Log, BNLL, Dropout, Flatten, Reshape)
def _pass(plan: RelevancePlan, layer: Layer) -> None:
    plan.pass_on(layer.inputs[0], plan.relevance[layer.outputs[0]])


@gradient(ReLU, PReLU)
def _prelu_gradient(plan: RelevancePlan, layer: Layer) -> None:
    if isinstance(layer.params, ReLU) and plan.settings.relu != "pass":
        _relu_relevance(plan, layer)
        return
    x, r, target = _input_and_relevance(plan, layer)
    if isinstance(layer.params, ReLU):
        slope = np.array([layer.params.negative_slope], plan.dtype)
    else:
        slope = plan.forward.weight(layer, "slope")
    shape = (x.shape[0], x.shape[1] if x.ndim > 1 else 1, -1)
    arrays = [a.reshape(shape) for a in (x, r, target)]
    plan.program.add(kernels.prelu_gradient, arrays[0], slope, *arrays[1:], label=layer.name)


@gradient(Sigmoid, TanH)
def _sigmoid_gradient(plan: RelevancePlan, layer: Layer) -> None:
    _, r, target = _input_and_relevance(plan, layer)
    y = plan.forward.values[layer.outputs[0]]
    function = kernels.sigmoid_gradient if isinstance(layer.params, Sigmoid) else kernels.tanh_gradient
    plan.program.add(function, *(a.reshape(-1) for a in (y, r, target)), label=layer.name)


@gradient(AbsVal)
def _absval_gradient(plan: RelevancePlan, layer: Layer) -> None:
    arrays = [a.reshape(-1) for a in _input_and_relevance(plan, layer)]
    plan.program.add(kernels.absval_gradient, *arrays, label=layer.name)


@gradient(ELU)
def _elu_gradient(plan: RelevancePlan, layer: Layer) -> None:
    assert isinstance(layer.params, ELU)
    arrays = [a.reshape(-1) for a in _input_and_relevance(plan, layer)]
    plan.program.add(kernels.elu_gradient, *arrays, layer.params.alpha, label=layer.name)


@gradient(Power)
def _power_gradient(plan: RelevancePlan, layer: Layer) -> None:
    p = layer.params
    assert isinstance(p, Power)
    arrays = [a.reshape(-1) for a in _input_and_relevance(plan, layer)]
    plan.program.add(kernels.power_gradient, *arrays, p.power, p.scale, p.shift, label=layer.name)


@gradient(Exp)
def _exp_gradient(plan: RelevancePlan, layer: Layer) -> None:
    assert isinstance(layer.params, Exp)
    _, r, target = _input_and_relevance(plan, layer)
    arrays = [a.reshape(-1) for a in (plan.forward.values[layer.outputs[0]], r, target)]
    plan.program.add(kernels.exponential_gradient, *arrays, layer.params.factors()[0], label=layer.name)


@gradient(Log)
def _log_gradient(plan: RelevancePlan, layer: Layer) -> None:
    p = layer.params
    assert isinstance(p, Log)
    arrays = [a.reshape(-1) for a in _input_and_relevance(plan, layer)]
    plan.program.add(kernels.logarithm_gradient, *arrays, p.scale, p.shift, p.factor(), label=layer.name)


@gradient(BNLL)
def _bnll_gradient(plan: RelevancePlan, layer: Layer) -> None:
    arrays = [a.reshape(-1) for a in _input_and_relevance(plan, layer)]
    plan.program.add(kernels.bnll_gradient, *arrays, label=layer.name)


def _input_and_relevance(plan: RelevancePlan, layer: Layer) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Input, relevance of the output, and where the relevance of the input goes."""
    blob = layer.inputs[0]
    return plan.forward.values[blob], plan.relevance[layer.outputs[0]], plan.into(blob)
