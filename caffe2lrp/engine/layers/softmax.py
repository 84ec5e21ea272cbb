"""Softmax. Relevance starts below it, at the scores: a softmax ties all classes together."""

from __future__ import annotations

from caffe2lrp.engine.backward import RelevancePlan
from caffe2lrp.engine.plan import ForwardPlan
from caffe2lrp.engine.registry import forward, gradient
from caffe2lrp.ir import Layer
from caffe2lrp.kernels import softmax as kernels
from caffe2lrp.layers.softmax import Softmax


@forward(Softmax)
def _softmax(plan: ForwardPlan, layer: Layer) -> None:
    assert isinstance(layer.params, Softmax)
    (x,), y = plan.inputs(layer), plan.output(layer)
    layout = layer.params.layout(x.shape)
    plan.program.add(kernels.softmax, x.reshape(layout), y.reshape(layout), label=layer.name)


@gradient(Softmax)
def _softmax_gradient(plan: RelevancePlan, layer: Layer) -> None:
    assert isinstance(layer.params, Softmax)
    y, r = plan.forward.values[layer.outputs[0]], plan.relevance[layer.outputs[0]]
    target, layout = plan.into(layer.inputs[0]), layer.params.layout(y.shape)
    plan.program.add(kernels.softmax_gradient, *(a.reshape(layout) for a in (y, r, target)), label=layer.name)
