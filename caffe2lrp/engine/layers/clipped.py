"""Clip, Swish, HardSigmoid and HardSwish: element-wise layers, which relevance passes unchanged."""

from __future__ import annotations

from typing import Any

from caffe2lrp.engine.backward import RelevancePlan
from caffe2lrp.engine.plan import ForwardPlan
from caffe2lrp.engine.registry import forward, gradient, relevance
from caffe2lrp.ir import Layer
from caffe2lrp.kernels import activation
from caffe2lrp.kernels import clipped as kernels
from caffe2lrp.layers.clipped import Clip, HardSigmoid, HardSwish, Swish

_FORWARD = {
    "Clip": kernels.clip,
    "Swish": kernels.swish,
    "HardSigmoid": kernels.hard_sigmoid,
    "HardSwish": kernels.hard_swish,
}
_GRADIENT = {
    "Clip": kernels.clip_gradient,
    "Swish": kernels.swish_gradient,
    "HardSigmoid": kernels.hard_sigmoid_gradient,
    "HardSwish": kernels.hard_swish_gradient,
}


def _numbers(layer: Layer) -> tuple[Any, ...]:
    """What the kernels take besides arrays."""
    p = layer.params
    if isinstance(p, Clip):
        return p.low, p.high
    if isinstance(p, HardSigmoid):
        return p.alpha, p.beta
    return (p.beta,) if isinstance(p, Swish) else ()


@forward(Clip, Swish, HardSigmoid, HardSwish)
def _elementwise(plan: ForwardPlan, layer: Layer) -> None:
    (x,), y = plan.inputs(layer), plan.output(layer)
    plan.program.add(_FORWARD[layer.type], x.reshape(-1), y.reshape(-1), *_numbers(layer), label=layer.name)


@relevance(Clip, Swish, HardSigmoid, HardSwish)
def _pass(plan: RelevancePlan, layer: Layer) -> None:
    plan.pass_on(layer.inputs[0], plan.relevance[layer.outputs[0]])


@gradient(Clip, Swish, HardSigmoid, HardSwish)
def _derivative(plan: RelevancePlan, layer: Layer) -> None:
    blob = layer.inputs[0]
    x, r, target = plan.forward.values[blob], plan.relevance[layer.outputs[0]], plan.into(blob)
    arrays = [a.reshape(-1) for a in (x, r, target)]
    # A ReLU6 is a rectifier as a ReLU is; above 6 it passes nothing, whatever the baseline.
    if isinstance(layer.params, Clip) and layer.params.low == 0 and plan.settings.relu != "pass":
        guided = plan.settings.relu == "guided"
        plan.program.add(activation.rectify, *arrays, guided, label=layer.name)
        if guided:
            plan.program.add(kernels.clip_gradient, arrays[0], arrays[2], arrays[2], *_numbers(layer), label=layer.name)
        return
    plan.program.add(_GRADIENT[layer.type], *arrays, *_numbers(layer), label=layer.name)
