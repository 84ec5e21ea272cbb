"""ArgMax. A place is no sum of anything: relevance starts below it."""

from __future__ import annotations

from caffe2lrp.engine.plan import ForwardPlan
from caffe2lrp.engine.registry import forward
from caffe2lrp.ir import Layer
from caffe2lrp.kernels import argmax as kernels
from caffe2lrp.layers.argmax import ArgMax


@forward(ArgMax)
def _argmax(plan: ForwardPlan, layer: Layer) -> None:
    p = layer.params
    assert isinstance(p, ArgMax)
    (x,), y = plan.inputs(layer), plan.output(layer)
    outer, size, inner = p.layout(x.shape)
    # Where the indices and the values begin on the middle axis of the output; -1 leaves them out.
    indices = -1 if p.out_max_val and p.axis is not None else 0
    values = -1 if not p.out_max_val else 0 if p.axis is not None else p.top_k
    plan.program.add(
        kernels.argmax, x.reshape(outer, size, inner), y.reshape(outer, -1, inner), p.top_k, indices, values,
        label=layer.name,
    )  # fmt: skip
