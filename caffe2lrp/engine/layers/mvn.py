"""MVN: mean and variance normalisation.

Relevance takes it as the linear layer y_j = sum_i x_i (1[i = j] - 1/n) / d, whose divisor d = deviation + epsilon is a
constant, and shares out by the epsilon rule: R_i = sum_j x_i (1[i = j] - 1/n) / d R_j / y_j. Subtracting the mean is
linear anyway; with the divisor held fixed relevance is conserved, while the derivative of a layer whose output does not
change when its input is multiplied by a number would lose all of it (Ali et al. 2022, "XAI for Transformers", the rule
for LayerNorm).
"""

from __future__ import annotations

import numpy as np

from caffe2lrp.engine.backward import RelevancePlan
from caffe2lrp.engine.plan import ForwardPlan
from caffe2lrp.engine.registry import forward, gradient, relevance
from caffe2lrp.ir import Layer
from caffe2lrp.kernels import mvn as kernels
from caffe2lrp.kernels.launch import Kernel, Program
from caffe2lrp.layers.mvn import MVN


@forward(MVN)
def _mvn(plan: ForwardPlan, layer: Layer) -> None:
    (x,), y = plan.inputs(layer), plan.output(layer)
    _add(plan.program, kernels.mvn, layer, x, y)


@relevance(MVN)
def _mvn_relevance(plan: RelevancePlan, layer: Layer) -> None:
    x, s = plan.forward.values[layer.inputs[0]], plan.shares(layer)
    _add(plan.program, kernels.mvn_relevance, layer, x, s, plan.into(layer.inputs[0]))


@gradient(MVN)
def _mvn_gradient(plan: RelevancePlan, layer: Layer) -> None:
    x, r = plan.forward.values[layer.inputs[0]], plan.relevance[layer.outputs[0]]
    _add(plan.program, kernels.mvn_gradient, layer, x, r, plan.into(layer.inputs[0]))


def _add(program: Program, function: Kernel, layer: Layer, x: np.ndarray, *others: np.ndarray) -> None:
    p = layer.params
    assert isinstance(p, MVN)
    arrays = (a.reshape(p.layout(x.shape)) for a in (x, *others))
    program.add(function, *arrays, p.normalize_variance, p.epsilon, label=layer.name)
