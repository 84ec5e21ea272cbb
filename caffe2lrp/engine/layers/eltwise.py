"""Eltwise: sum, product, maximum.

Relevance of a sum goes to its terms in proportion to their values: it is a linear layer with one input
of each blob, under the epsilon rule (Bach et al. 2015, eq. 58). The winner of a maximum takes all, as in
max pooling. The factors of a product get equal shares: the logarithm of a product is a sum of symmetric
terms, and no factor is more the cause than another. Constant factors are weights and get nothing.
"""

from __future__ import annotations

import numpy as np

from caffe2lrp.engine.backward import RelevancePlan
from caffe2lrp.engine.plan import ForwardPlan
from caffe2lrp.engine.registry import forward, gradient, relevance
from caffe2lrp.ir import Layer
from caffe2lrp.kernels import eltwise as kernels
from caffe2lrp.layers.eltwise import Eltwise


def _coefficients(layer: Layer) -> tuple[float, ...]:
    assert isinstance(layer.params, Eltwise)
    return layer.params.coefficients or (1.0,) * len(layer.inputs)


@forward(Eltwise)
def _eltwise(plan: ForwardPlan, layer: Layer) -> None:
    assert isinstance(layer.params, Eltwise)
    inputs = [x.reshape(-1) for x in plan.inputs(layer)]
    y = plan.output(layer).reshape(-1)
    if layer.params.operation == "SUM":
        coefficients = _coefficients(layer)
        plan.program.add(kernels.scaled, inputs[0], coefficients[0], y, label=layer.name)
        for x, coefficient in zip(inputs[1:], coefficients[1:], strict=True):
            plan.program.add(kernels.add_scaled, x, coefficient, y, label=layer.name)
        return
    function = kernels.times if layer.params.operation == "PROD" else kernels.maximum
    plan.program.add(function, inputs[0], inputs[1], y, label=layer.name)
    for x in inputs[2:]:
        plan.program.add(function, y, x, y, label=layer.name)


@relevance(Eltwise)
def _eltwise_relevance(plan: RelevancePlan, layer: Layer) -> None:
    assert isinstance(layer.params, Eltwise)
    if layer.params.operation == "SUM":
        _sum(plan, layer)
    elif layer.params.operation == "PROD":
        _product(plan, layer)
    else:
        _maximum(plan, layer)


def _sum(plan: RelevancePlan, layer: Layer) -> None:
    terms: list[tuple[str | None, np.ndarray]] = []
    for blob, coefficient in zip(layer.inputs, _coefficients(layer), strict=True):
        value = plan.forward.values[blob]
        if coefficient != 1:
            weighted = plan.new(value.shape)
            plan.program.add(kernels.scaled, value.reshape(-1), coefficient, weighted.reshape(-1), label=layer.name)
            value = weighted
        terms.append((blob, value))
    plan.share_out(layer, terms)


def _product(plan: RelevancePlan, layer: Layer) -> None:
    r = plan.relevance[layer.outputs[0]].reshape(-1)
    factors = [blob for blob in layer.inputs if blob in plan.dependent]
    for blob in factors:
        plan.program.add(kernels.scaled, r, 1 / len(factors), plan.into(blob).reshape(-1), label=layer.name)


def _maximum(plan: RelevancePlan, layer: Layer) -> None:
    r = plan.relevance[layer.outputs[0]]
    y = plan.forward.values[layer.outputs[0]].reshape(-1)
    remaining = plan.new(r.shape).reshape(-1)
    plan.program.add(kernels.scaled, r.reshape(-1), 1.0, remaining, label=layer.name)
    for blob in layer.inputs:
        x = plan.forward.values[blob].reshape(-1)
        plan.program.add(kernels.take_winner, x, y, remaining, plan.into(blob).reshape(-1), label=layer.name)


@gradient(Eltwise)
def _eltwise_gradient(plan: RelevancePlan, layer: Layer) -> None:
    assert isinstance(layer.params, Eltwise)
    r = plan.relevance[layer.outputs[0]].reshape(-1)
    if layer.params.operation == "SUM":
        for blob, coefficient in zip(layer.inputs, _coefficients(layer), strict=True):
            plan.program.add(kernels.scaled, r, coefficient, plan.into(blob).reshape(-1), label=layer.name)
    elif layer.params.operation == "MAX":
        _maximum(plan, layer)
    else:
        for i, blob in enumerate(layer.inputs):
            target = plan.into(blob).reshape(-1)
            plan.program.add(kernels.scaled, r, 1.0, target, label=layer.name)
            for j, other in enumerate(layer.inputs):
                if j != i:
                    value = plan.forward.values[other].reshape(-1)
                    plan.program.add(kernels.times, target, value, target, label=layer.name)
