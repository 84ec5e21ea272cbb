"""Softmax and its logarithm. Relevance starts below it, at the scores: they tie all classes together."""

from __future__ import annotations

from caffe2lrp.engine.backward import RelevancePlan
from caffe2lrp.engine.plan import ForwardPlan
from caffe2lrp.engine.registry import forward, gradient
from caffe2lrp.ir import Layer
from caffe2lrp.kernels import softmax as kernels
from caffe2lrp.layers.softmax import LogSoftmax, Softmax


@forward(Softmax, LogSoftmax)
def _softmax(plan: ForwardPlan, layer: Layer) -> None:
    assert isinstance(layer.params, (Softmax, LogSoftmax))
    (x,), y = plan.inputs(layer), plan.output(layer)
    function = kernels.softmax if isinstance(layer.params, Softmax) else kernels.log_softmax
    layout = layer.params.layout(x.shape)
    plan.program.add(function, x.reshape(layout), y.reshape(layout), label=layer.name)


@gradient(Softmax, LogSoftmax)
def _softmax_gradient(plan: RelevancePlan, layer: Layer) -> None:
    assert isinstance(layer.params, (Softmax, LogSoftmax))
    y, r = plan.forward.values[layer.outputs[0]], plan.relevance[layer.outputs[0]]
    function = kernels.softmax_gradient if isinstance(layer.params, Softmax) else kernels.log_softmax_gradient
    target, layout = plan.into(layer.inputs[0]), layer.params.layout(y.shape)
    plan.program.add(function, *(a.reshape(layout) for a in (y, r, target)), label=layer.name)
