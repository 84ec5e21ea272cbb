"""Axpy, a x + y: the epsilon rule shares relevance out to a x and y, and a and x get equal shares of the first."""

from __future__ import annotations

import numpy as np

from caffe2lrp.engine.backward import RelevancePlan
from caffe2lrp.engine.plan import ForwardPlan
from caffe2lrp.engine.registry import forward, gradient, relevance
from caffe2lrp.ir import Layer
from caffe2lrp.kernels import affine, eltwise
from caffe2lrp.layers.axpy import Axpy
from caffe2lrp.layers.base import Shape, count


def _layout(shape: Shape) -> Shape:
    """The images and channels as one axis, which the factors belong to."""
    return (1, shape[0] * shape[1], count(shape, 2))


@forward(Axpy)
def _axpy(plan: ForwardPlan, layer: Layer) -> None:
    (a, x, y), z = plan.inputs(layer), plan.output(layer)
    layout = _layout(x.shape)
    plan.program.add(affine.scale, x.reshape(layout), a.reshape(-1), z.reshape(layout), label=layer.name)
    plan.program.add(eltwise.add_scaled, y.reshape(-1), 1.0, z.reshape(-1), label=layer.name)


@relevance(Axpy)
def _axpy_relevance(plan: RelevancePlan, layer: Layer) -> None:
    a, x, y = (plan.forward.values[blob] for blob in layer.inputs)
    layout = _layout(x.shape)
    product, given = plan.new(layout), plan.new(layout)
    plan.program.add(affine.scale, x.reshape(layout), a.reshape(-1), product, label=layer.name)
    plan.share_out(layer, [(None, product), (layer.inputs[2], y)], into={0: given})
    half, target = given.reshape(-1), plan.into(layer.inputs[1])
    plan.program.add(eltwise.scaled, half, 0.5, half, label=layer.name)
    plan.program.add(eltwise.scaled, half, 1.0, target.reshape(-1), label=layer.name)
    plan.program.add(affine.sum_slices, given, plan.into(layer.inputs[0]).reshape(-1), label=layer.name)


@gradient(Axpy)
def _axpy_gradient(plan: RelevancePlan, layer: Layer) -> None:
    a, x, _ = (plan.forward.values[blob] for blob in layer.inputs)
    r, layout = plan.relevance[layer.outputs[0]], _layout(x.shape)
    targets: list[np.ndarray] = [plan.into(blob) for blob in layer.inputs]
    product = plan.new(x.shape)
    plan.program.add(eltwise.times, *(array.reshape(-1) for array in (r, x, product)), label=layer.name)
    plan.program.add(affine.sum_slices, product.reshape(layout), targets[0].reshape(-1), label=layer.name)
    plan.program.add(affine.scale, r.reshape(layout), a.reshape(-1), targets[1].reshape(layout), label=layer.name)
    plan.program.add(eltwise.scaled, r.reshape(-1), 1.0, targets[2].reshape(-1), label=layer.name)
