"""Reduction. Relevance goes to the inputs in proportion to the terms of the sum.

SUM and MEAN are linear layers under the epsilon rule (Bach et al. 2015, eq. 58): in proportion to x. The terms of ASUM
and SUMSQ are |x| and x^2, and so are the shares: an element-wise function that passes relevance on, and a sum.
"""

from __future__ import annotations

import numpy as np

from caffe2lrp.engine.backward import RelevancePlan
from caffe2lrp.engine.plan import ForwardPlan
from caffe2lrp.engine.registry import forward, gradient, relevance
from caffe2lrp.ir import Layer
from caffe2lrp.kernels import reduction as kernels
from caffe2lrp.kernels.launch import Kernel, Program
from caffe2lrp.layers.reduction import Reduction

_TERMS = {"SUM": kernels.PLAIN, "MEAN": kernels.PLAIN, "ASUM": kernels.ABSOLUTE, "SUMSQ": kernels.SQUARE}


@forward(Reduction)
def _reduction(plan: ForwardPlan, layer: Layer) -> None:
    (x,), y = plan.inputs(layer), plan.output(layer)
    _add(plan.program, kernels.reduction, layer, x, y)


@relevance(Reduction)
def _reduction_relevance(plan: RelevancePlan, layer: Layer) -> None:
    x, s = plan.forward.values[layer.inputs[0]], plan.shares(layer)
    _add(plan.program, kernels.reduction_relevance, layer, x, s, plan.into(layer.inputs[0]))


@gradient(Reduction)
def _reduction_gradient(plan: RelevancePlan, layer: Layer) -> None:
    x, r = plan.forward.values[layer.inputs[0]], plan.relevance[layer.outputs[0]]
    _add(plan.program, kernels.reduction_gradient, layer, x, r, plan.into(layer.inputs[0]))


def _add(program: Program, function: Kernel, layer: Layer, x: np.ndarray, row: np.ndarray, *into: np.ndarray) -> None:
    """A call on x (rows, values), one number for each row, and perhaps an array like x to fill."""
    p = layer.params
    assert isinstance(p, Reduction)
    layout = p.layout(x.shape)
    arrays = (x.reshape(layout), row.reshape(-1), *(a.reshape(layout) for a in into))
    program.add(function, *arrays, _TERMS[p.operation], p.factor(x.shape), label=layer.name)
