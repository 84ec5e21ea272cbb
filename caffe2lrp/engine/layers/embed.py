"""Embed: a linear layer of one-hot vectors.

Of the values of such a vector only the one at the index is not 0. By the epsilon rule (Bach et al. 2015, eq. 58) it
gets w_j / (w_j + b_j) of every output's relevance: the index has the relevance of its vector, less what the bias keeps.
There is no derivative with respect to an index.
"""

from __future__ import annotations

from caffe2lrp.engine.backward import RelevancePlan
from caffe2lrp.engine.plan import ForwardPlan
from caffe2lrp.engine.registry import forward, gradient, relevance
from caffe2lrp.errors import ModelError
from caffe2lrp.ir import Layer
from caffe2lrp.kernels import batch as kernels
from caffe2lrp.layers.embed import Embed


@forward(Embed)
def _embed(plan: ForwardPlan, layer: Layer) -> None:
    assert isinstance(layer.params, Embed)
    (x,), y = plan.inputs(layer), plan.output(layer)
    weight, vectors = plan.weight(layer, "weight"), y.reshape(-1, layer.params.num_output)
    bad = plan.watch_indices(layer)
    plan.program.add(kernels.look_up, weight, x.reshape(-1), vectors, bad, label=layer.name)
    if layer.params.bias:
        plan.program.add(kernels.add_to_rows, plan.weight(layer, "bias"), vectors, label=layer.name)


@relevance(Embed)
def _embed_relevance(plan: RelevancePlan, layer: Layer) -> None:
    assert isinstance(layer.params, Embed)
    x, s, target = plan.forward.values[layer.inputs[0]], plan.shares(layer), plan.into(layer.inputs[0])
    plan.program.add(
        kernels.weighted_rows, plan.forward.weight(layer, "weight"), x.reshape(-1),
        s.reshape(-1, layer.params.num_output), target.reshape(-1), label=layer.name,
    )  # fmt: skip


@gradient(Embed)
def _no_gradient(plan: RelevancePlan, layer: Layer) -> None:
    raise ModelError(f"{layer}: an index has no gradient; only relevance can pass through {layer.type}")
