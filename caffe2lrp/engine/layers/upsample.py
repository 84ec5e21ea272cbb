"""Upsample and Interp.

By a mask, or repeated: each output has one input, which gets its relevance back. Interpolation is a linear layer whose
weights are known, and shares out relevance in proportion to w_ij x_i (the epsilon rule; Bach et al. 2015, eq. 58).
"""

from __future__ import annotations

from typing import Any

import numpy as np

from caffe2lrp.engine.backward import RelevancePlan
from caffe2lrp.engine.plan import ForwardPlan
from caffe2lrp.engine.registry import forward, gradient, relevance
from caffe2lrp.ir import Layer
from caffe2lrp.kernels import eltwise
from caffe2lrp.kernels import upsample as kernels
from caffe2lrp.layers.base import Shape
from caffe2lrp.layers.upsample import Interp, Upsample


def _planes(array: np.ndarray) -> np.ndarray:
    return array.reshape(-1, *array.shape[2:])


@forward(Upsample)
def _upsample(plan: ForwardPlan, layer: Layer) -> None:
    assert isinstance(layer.params, Upsample)
    x, *mask = map(_planes, plan.inputs(layer))
    y = _planes(plan.output(layer))
    if mask:
        plan.program.add(kernels.unpool, x, mask[0], y, label=layer.name)
    else:
        plan.program.add(kernels.repeat, x, y, *layer.params.scale, label=layer.name)


@relevance(Upsample)
def _upsample_relevance(plan: RelevancePlan, layer: Layer) -> None:
    """What is also the derivative: no value is changed on its way."""
    assert isinstance(layer.params, Upsample)
    r, target = _planes(plan.relevance[layer.outputs[0]]), _planes(plan.into(layer.inputs[0]))
    if len(layer.inputs) == 1:
        plan.program.add(kernels.repeat_back, r, target, *layer.params.scale, label=layer.name)
        return
    mask = _planes(plan.forward.values[layer.inputs[1]])
    plan.program.add(kernels.unpool_back, mask, r, plan.new(r.shape), target, label=layer.name)


@forward(Interp)
def _interp(plan: ForwardPlan, layer: Layer) -> None:
    (x,), y = plan.inputs(layer), plan.output(layer)
    tables = _tables(layer, x.shape, y.shape, plan.dtype)
    plan.program.add(kernels.interpolate, _planes(x), _planes(y), *tables, label=layer.name)


def _tables(layer: Layer, source: Shape, target: Shape, dtype: np.dtype[Any]) -> list[np.ndarray]:
    """For rows and for columns: the two pixels around each output, and how far behind the first it lies."""
    p = layer.params
    assert isinstance(p, Interp)
    tables = []
    for size, out in zip(p.cropped(source), target[2:], strict=True):
        # The corners lie on each other, so output k is at k (size - 1) / (out - 1).
        place = np.arange(out) * (size - 1)
        whole, rest = np.divmod(place, max(out - 1, 1))
        pair = np.stack([whole, np.minimum(whole + 1, size - 1)], axis=1) + p.crop[0]
        tables += [pair.astype(np.int64), (rest / max(out - 1, 1)).astype(dtype)]
    return tables


def _transposed(plan: RelevancePlan, layer: Layer, r: np.ndarray, target: np.ndarray) -> None:
    tables = _tables(layer, target.shape, r.shape, plan.dtype)
    plan.program.add(kernels.interpolate_back, _planes(r), _planes(target), *tables, label=layer.name)


@relevance(Interp)
def _interp_relevance(plan: RelevancePlan, layer: Layer) -> None:
    target = plan.into(layer.inputs[0])
    s = plan.shares(layer)
    _transposed(plan, layer, s, target)
    x = plan.forward.values[layer.inputs[0]]
    plan.program.add(eltwise.times, *(a.reshape(-1) for a in (x, target, target)), label=layer.name)


@gradient(Interp)
def _interp_gradient(plan: RelevancePlan, layer: Layer) -> None:
    _transposed(plan, layer, plan.relevance[layer.outputs[0]], plan.into(layer.inputs[0]))
