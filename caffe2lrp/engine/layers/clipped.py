"""HardSigmoid and HardSwish: element-wise layers, which relevance passes unchanged."""

from __future__ import annotations

from caffe2lrp.engine.backward import RelevancePlan
from caffe2lrp.engine.plan import ForwardPlan
from caffe2lrp.engine.registry import forward, gradient, relevance
from caffe2lrp.ir import Layer
from caffe2lrp.kernels import clipped as kernels
from caffe2lrp.layers.clipped import HardSigmoid, HardSwish


def _numbers(layer: Layer) -> tuple[float, ...]:
    """What the kernels take besides arrays."""
    p = layer.params
    return (p.alpha, p.beta) if isinstance(p, HardSigmoid) else ()


@forward(HardSigmoid, HardSwish)
def _elementwise(plan: ForwardPlan, layer: Layer) -> None:
    function = kernels.hard_sigmoid if isinstance(layer.params, HardSigmoid) else kernels.hard_swish
    (x,), y = plan.inputs(layer), plan.output(layer)
    plan.program.add(function, x.reshape(-1), y.reshape(-1), *_numbers(layer), label=layer.name)


@relevance(HardSigmoid, HardSwish)
def _pass(plan: RelevancePlan, layer: Layer) -> None:
    plan.pass_on(layer.inputs[0], plan.relevance[layer.outputs[0]])


@gradient(HardSigmoid, HardSwish)
def _derivative(plan: RelevancePlan, layer: Layer) -> None:
    is_sigmoid = isinstance(layer.params, HardSigmoid)
    function = kernels.hard_sigmoid_gradient if is_sigmoid else kernels.hard_swish_gradient
    blob = layer.inputs[0]
    x, r, target = plan.forward.values[blob], plan.relevance[layer.outputs[0]], plan.into(blob)
    plan.program.add(function, *(a.reshape(-1) for a in (x, r, target)), *_numbers(layer), label=layer.name)
