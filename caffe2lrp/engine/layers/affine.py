"""BatchNorm, BN, Scale and Bias.

Where such a layer follows a convolution or fully connected layer, explanations merge it into that layer
first (`caffe2lrp.engine.folding`), so that rules see the one linear layer that the network really has
(Montavon et al. 2019, "LRP: an overview", section 10.3.2; Guillemot et al. 2020). What stands alone is a
linear layer y = a x + b with one input per output: the epsilon rule leaves the input its part a x / y and
gives b's part to the bias.
"""

from __future__ import annotations

import numpy as np

from caffe2lrp.engine.backward import RelevancePlan
from caffe2lrp.engine.plan import ForwardPlan
from caffe2lrp.engine.registry import forward, gradient, relevance
from caffe2lrp.ir import Layer
from caffe2lrp.kernels import affine as kernels
from caffe2lrp.kernels import eltwise
from caffe2lrp.layers.affine import Bias, Scale
from caffe2lrp.layers.base import Shape, count
from caffe2lrp.layers.batch_norm import BN, BatchNorm


def factor_and_offset(layer: Layer) -> tuple[np.ndarray, np.ndarray]:
    """Learned factor and offset (float64) of a BatchNorm, BN, Scale or Bias with one input: y = factor x + offset."""
    weights = {name: np.asarray(value, np.float64) for name, value in layer.weights.items()}
    if isinstance(layer.params, BatchNorm):
        weight = float(weights["weight"][0])
        norm = 1 / weight if weight else 0.0
        factor = 1 / np.sqrt(weights["variance"] * norm + layer.params.epsilon)
        return factor, -weights["mean"] * norm * factor
    if isinstance(layer.params, BN):
        factor, offset = weights["scale"], weights["bias"]
        if layer.params.statistics:
            factor = factor / np.sqrt(weights["variance"] + layer.params.epsilon)
            offset = offset - weights["mean"] * factor
        return factor, offset
    if isinstance(layer.params, Scale):
        factor = weights["scale"].reshape(-1)
        return factor, weights["bias"].reshape(-1) if layer.params.bias else np.zeros_like(factor)
    offset = weights["bias"].reshape(-1)
    return np.ones_like(offset), offset


def _layout(layer: Layer, inputs: list[Shape]) -> tuple[int, int, int]:
    if isinstance(layer.params, (Scale, Bias)):
        return layer.params.layout(inputs)
    shape = inputs[0]
    return (shape[0], shape[1], count(shape, 2)) if len(shape) > 1 else (1, 1, count(shape))


@forward(BatchNorm, BN, Scale, Bias)
def _affine(plan: ForwardPlan, layer: Layer) -> None:
    inputs, y = plan.inputs(layer), plan.output(layer)
    layout = _layout(layer, [x.shape for x in inputs])
    x = inputs[0].reshape(layout)
    if len(inputs) == 1:
        factor, offset = (a.astype(plan.dtype) for a in factor_and_offset(layer))
    else:
        given = inputs[1].reshape(-1)
        is_scale = isinstance(layer.params, Scale)
        factor = given if is_scale else np.ones(layout[1], plan.dtype)
        learned = layer.weights.get("bias")
        offset = np.zeros(layout[1], plan.dtype) if learned is None else learned.reshape(-1).astype(plan.dtype)
        offset = offset if is_scale else given
    plan.program.add(kernels.affine, x, factor, offset, y.reshape(layout), label=layer.name)


@relevance(BatchNorm, BN, Scale, Bias)
def _affine_relevance(plan: RelevancePlan, layer: Layer) -> None:
    inputs = [plan.forward.values[blob] for blob in layer.inputs]
    layout = _layout(layer, [x.shape for x in inputs])
    if len(inputs) == 1:
        factor, _ = factor_and_offset(layer)
        weighted = _weighted_input(plan, layer, inputs[0].reshape(layout), factor.astype(plan.dtype))
        plan.share_out(layer, [(layer.inputs[0], weighted)])
    elif isinstance(layer.params, Bias):
        spread, given = plan.new(layout), plan.new(layout)
        plan.program.add(kernels.spread, inputs[1].reshape(-1), spread, label=layer.name)
        plan.share_out(layer, [(layer.inputs[0], inputs[0].reshape(layout)), (None, spread)], into={1: given})
        _sum_onto(plan, layer, layout, given)
    else:
        _product(plan, layer, layout, inputs)


def _weighted_input(plan: RelevancePlan, layer: Layer, x: np.ndarray, factor: np.ndarray) -> np.ndarray:
    weighted = plan.new(x.shape)
    plan.program.add(kernels.scale, x, factor, weighted, label=layer.name)
    return weighted


def _product(plan: RelevancePlan, layer: Layer, layout: tuple[int, int, int], inputs: list[np.ndarray]) -> None:
    """A product of two blobs: both factors get the same share, a constant one none; the bias gets its own."""
    given = plan.relevance[layer.outputs[0]]
    if "bias" in layer.weights:
        weighted, given = plan.new(layout), plan.new(layout)
        plan.program.add(kernels.scale, inputs[0].reshape(layout), inputs[1].reshape(-1), weighted, label=layer.name)
        plan.share_out(layer, [(None, weighted)], into={0: given})
    factors = [blob in plan.dependent for blob in layer.inputs]
    share = 1 / sum(factors)
    if factors[0]:
        target = plan.into(layer.inputs[0])
        plan.program.add(eltwise.scaled, given.reshape(-1), share, target.reshape(-1), label=layer.name)
    if factors[1]:
        part = plan.new(layout)
        plan.program.add(eltwise.scaled, given.reshape(-1), share, part.reshape(-1), label=layer.name)
        _sum_onto(plan, layer, layout, part)


def _sum_onto(plan: RelevancePlan, layer: Layer, layout: tuple[int, int, int], given: np.ndarray) -> None:
    """Relevance of the second, smaller input: the sum over what it was broadcast to."""
    target = plan.into(layer.inputs[1])
    plan.program.add(kernels.sum_slices, given.reshape(layout), target.reshape(-1), label=layer.name)


@gradient(BatchNorm, BN, Scale, Bias)
def _affine_gradient(plan: RelevancePlan, layer: Layer) -> None:
    inputs = [plan.forward.values[blob] for blob in layer.inputs]
    layout = _layout(layer, [x.shape for x in inputs])
    r, target = plan.relevance[layer.outputs[0]].reshape(layout), plan.into(layer.inputs[0]).reshape(layout)
    if len(inputs) == 1:
        factor = factor_and_offset(layer)[0].astype(plan.dtype)
    elif isinstance(layer.params, Scale):
        factor = inputs[1].reshape(-1)
    else:
        factor = np.ones(layout[1], plan.dtype)
    plan.program.add(kernels.scale, r, factor, target, label=layer.name)
    if len(inputs) == 2:
        given = r
        if isinstance(layer.params, Scale):
            given = plan.new(layout)
            flat = [a.reshape(-1) for a in (inputs[0], r, given)]
            plan.program.add(eltwise.times, *flat, label=layer.name)
        _sum_onto(plan, layer, layout, given)
