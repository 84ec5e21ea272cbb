"""Normalize. Relevance takes the length of a vector for a constant.

The layer then is a factor for each value, one input to one output, and relevance passes unchanged. The length ties
all values together as a softmax does, but it only sets their common size: it takes part in no decision between them,
and relevance is shared out in proportions, which it does not change.
"""

from __future__ import annotations

import numpy as np

from caffe2lrp.engine.backward import RelevancePlan
from caffe2lrp.engine.plan import ForwardPlan
from caffe2lrp.engine.registry import forward, gradient, relevance
from caffe2lrp.ir import Layer
from caffe2lrp.kernels import normalize as kernels
from caffe2lrp.layers.base import Shape, count
from caffe2lrp.layers.normalize import Normalize


def _layout(shape: Shape) -> Shape:
    return (shape[0], shape[1], count(shape, 2))


def _lengths(plan: ForwardPlan | RelevancePlan, layer: Layer, x: np.ndarray) -> np.ndarray:
    """Lengths of all vectors; a call that computes them is appended."""
    p = layer.params
    assert isinstance(p, Normalize)
    # One length for the image and one for its only pixel differ in nothing but how the kernel goes about it.
    norm = plan.new((x.shape[0], 1 if p.across_spatial else x.shape[2]))
    plan.program.add(kernels.lengths, x, p.epsilon, norm, label=layer.name)
    return norm


@forward(Normalize)
def _normalize(plan: ForwardPlan, layer: Layer) -> None:
    (x,), y = plan.inputs(layer), plan.output(layer)
    layout, scale = _layout(x.shape), plan.weight(layer, "scale").reshape(-1)
    norm = _lengths(plan, layer, x.reshape(layout))
    plan.program.add(kernels.normalize, x.reshape(layout), norm, scale, y.reshape(layout), label=layer.name)


@relevance(Normalize)
def _normalize_relevance(plan: RelevancePlan, layer: Layer) -> None:
    plan.pass_on(layer.inputs[0], plan.relevance[layer.outputs[0]])


@gradient(Normalize)
def _normalize_gradient(plan: RelevancePlan, layer: Layer) -> None:
    x, r, target = plan.forward.values[layer.inputs[0]], plan.relevance[layer.outputs[0]], plan.into(layer.inputs[0])
    x, r, target = (a.reshape(_layout(x.shape)) for a in (x, r, target))
    scale = plan.forward.weight(layer, "scale").reshape(-1)
    norm = _lengths(plan, layer, x)
    dot = plan.new(norm.shape)
    plan.program.add(kernels.products, x, r, scale, dot, label=layer.name)
    plan.program.add(kernels.normalize_gradient, x, norm, scale, r, dot, target, label=layer.name)
