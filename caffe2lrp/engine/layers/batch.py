"""BatchReindex and Filter. Relevance goes back to where the values came from; what chooses them gets none."""

from __future__ import annotations

import numpy as np

from caffe2lrp.engine.backward import RelevancePlan
from caffe2lrp.engine.plan import ForwardPlan
from caffe2lrp.engine.registry import forward, relevance
from caffe2lrp.ir import Layer
from caffe2lrp.kernels import batch as kernels
from caffe2lrp.layers.batch import BatchReindex, Filter


def _rows(x: np.ndarray) -> np.ndarray:
    return x.reshape(len(x), -1)


@forward(BatchReindex)
def _batch_reindex(plan: ForwardPlan, layer: Layer) -> None:
    (x, index), y = plan.inputs(layer), plan.output(layer)
    bad = plan.watch_indices(layer)
    plan.program.add(kernels.look_up, _rows(x), index, _rows(y), bad, label=layer.name)


@relevance(BatchReindex)
def _batch_reindex_relevance(plan: RelevancePlan, layer: Layer) -> None:
    images, indices = layer.inputs
    r, target = plan.relevance[layer.outputs[0]], plan.into(images)
    plan.program.add(kernels.sum_rows, _rows(r), plan.forward.values[indices], _rows(target), label=layer.name)


@forward(Filter)
def _filter(plan: ForwardPlan, layer: Layer) -> None:
    *images, selector = plan.inputs(layer)
    bad = plan.watch(
        lambda n: (
            f"{layer}: image {n} of {selector.size} is not chosen. The size of a Filter's output then depends on the "
            "data, but all shapes are fixed here before a network runs: give it images that are all chosen"
        )
    )
    plan.program.add(kernels.all_chosen, selector.reshape(-1), bad, label=layer.name)
    for blob, x in zip(layer.outputs, images, strict=False):
        plan.alias(blob, x)


@relevance(Filter)
def _filter_relevance(plan: RelevancePlan, layer: Layer) -> None:
    for blob, out in zip(layer.inputs, layer.outputs, strict=False):
        plan.pass_on(blob, plan.relevance[out])
