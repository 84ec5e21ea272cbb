"""Element-wise layers. Relevance passes through them unchanged (Bach et al. 2015, section 3)."""

from __future__ import annotations

from caffe2lrp.engine.backward import RelevancePlan
from caffe2lrp.engine.plan import ForwardPlan
from caffe2lrp.engine.registry import forward, relevance
from caffe2lrp.ir import Layer
from caffe2lrp.kernels import activation as kernels
from caffe2lrp.layers.activation import ELU, AbsVal, Power, PReLU, ReLU, Sigmoid, TanH
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


@forward(Sigmoid, TanH, AbsVal)
def _plain(plan: ForwardPlan, layer: Layer) -> None:
    function = {"Sigmoid": kernels.sigmoid, "TanH": kernels.tanh, "AbsVal": kernels.absval}[layer.type]
    (x,), y = plan.inputs(layer), plan.output(layer)
    plan.program.add(function, x.reshape(-1), y.reshape(-1), label=layer.name)


@forward(Dropout, Flatten, Reshape)
def _same_values(plan: ForwardPlan, layer: Layer) -> None:
    plan.alias(layer.outputs[0], plan.inputs(layer)[0])


@relevance(ReLU, PReLU, ELU, Power, Sigmoid, TanH, AbsVal, Dropout, Flatten, Reshape)
def _pass(plan: RelevancePlan, layer: Layer) -> None:
    plan.pass_on(layer.inputs[0], plan.relevance[layer.outputs[0]])
