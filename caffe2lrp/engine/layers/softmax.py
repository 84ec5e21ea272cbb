"""Softmax. Relevance starts below it, at the scores: a softmax ties all classes together."""

from __future__ import annotations

from caffe2lrp.engine.plan import ForwardPlan
from caffe2lrp.engine.registry import forward
from caffe2lrp.ir import Layer
from caffe2lrp.kernels import softmax as kernels
from caffe2lrp.layers.softmax import Softmax


@forward(Softmax)
def _softmax(plan: ForwardPlan, layer: Layer) -> None:
    assert isinstance(layer.params, Softmax)
    (x,), y = plan.inputs(layer), plan.output(layer)
    layout = layer.params.layout(x.shape)
    plan.program.add(kernels.softmax, x.reshape(layout), y.reshape(layout), label=layer.name)
