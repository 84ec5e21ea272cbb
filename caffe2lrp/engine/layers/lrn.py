"""LRN, with three ways for relevance: `taylor` (conserving), `identity`, `toolbox`."""

from __future__ import annotations

from caffe2lrp.engine.backward import RelevancePlan
from caffe2lrp.engine.plan import ForwardPlan
from caffe2lrp.engine.registry import forward, gradient, relevance
from caffe2lrp.ir import Layer
from caffe2lrp.kernels import lrn as kernels
from caffe2lrp.kernels.share import pieces_of
from caffe2lrp.kernels.team import threads
from caffe2lrp.layers.lrn import LRN


@forward(LRN)
def _lrn(plan: ForwardPlan, layer: Layer) -> None:
    p = layer.params
    assert isinstance(p, LRN)
    (x,), y = plan.inputs(layer), plan.output(layer)
    if p.region == "across":
        shape = (x.shape[0], x.shape[1], x.shape[2] * x.shape[3])
        plan.program.add(
            kernels.lrn_across, x.reshape(shape), y.reshape(shape), p.size, p.alpha / p.size, p.beta, p.k,
            label=layer.name, pieces=pieces_of(kernels.NORMALISING * x.size),
        )  # fmt: skip
    else:
        planes = (x.shape[0] * x.shape[1], x.shape[2], x.shape[3])
        plan.program.add(
            kernels.lrn_within, x.reshape(planes), y.reshape(planes), p.size, p.alpha / p.size**2, p.beta,
            label=layer.name,
        )  # fmt: skip


@relevance(LRN)
def _lrn_relevance(plan: RelevancePlan, layer: Layer) -> None:
    p = layer.params
    assert isinstance(p, LRN)
    r = plan.relevance[layer.outputs[0]]
    if plan.settings.lrn == "identity":
        plan.pass_on(layer.inputs[0], r)
        return
    x, target, room = plan.forward.values[layer.inputs[0]], plan.into(layer.inputs[0]), plan.new(r.shape)
    conserve = plan.settings.lrn == "taylor"
    if p.region == "across":
        shape = (x.shape[0], x.shape[1], x.shape[2] * x.shape[3])
        plan.program.add(
            kernels.lrn_across_relevance, *(a.reshape(shape) for a in (x, r, target, room)),
            plan.new((3 * threads(), kernels.BLOCK)), p.size, p.alpha / p.size, p.beta, p.k, conserve, label=layer.name,
        )  # fmt: skip
    else:
        planes = (x.shape[0] * x.shape[1], x.shape[2], x.shape[3])
        plan.program.add(
            kernels.lrn_within_relevance, *(a.reshape(planes) for a in (x, r, target, room)),
            p.size, p.alpha / p.size**2, p.beta, conserve, label=layer.name,
        )  # fmt: skip


@gradient(LRN)
def _lrn_gradient(plan: RelevancePlan, layer: Layer) -> None:
    p = layer.params
    assert isinstance(p, LRN)
    x, r = plan.forward.values[layer.inputs[0]], plan.relevance[layer.outputs[0]]
    arrays = (x, r, plan.into(layer.inputs[0]), plan.new(r.shape))
    if p.region == "across":
        shape = (x.shape[0], x.shape[1], x.shape[2] * x.shape[3])
        numbers = (p.size, p.alpha / p.size, p.beta, p.k)
        plan.program.add(kernels.lrn_across_gradient, *(a.reshape(shape) for a in arrays), *numbers, label=layer.name)
    else:
        planes = (x.shape[0] * x.shape[1], x.shape[2], x.shape[3])
        plan.program.add(
            kernels.lrn_within_gradient, *(a.reshape(planes) for a in arrays), p.size, p.alpha / p.size**2, p.beta,
            label=layer.name,
        )  # fmt: skip
