"""Pooling. The winner of a maximum takes all relevance; an average shares it out in proportion to its inputs."""

from __future__ import annotations

from caffe2lrp.engine.backward import RelevancePlan
from caffe2lrp.engine.plan import ForwardPlan
from caffe2lrp.engine.registry import forward, gradient, relevance
from caffe2lrp.ir import Layer
from caffe2lrp.kernels import pooling as kernels
from caffe2lrp.kernels.launch import threads
from caffe2lrp.layers.base import Shape
from caffe2lrp.layers.pooling import Pooling

# Sum of a window below which the LRP Toolbox adds the activations themselves.
_EMPTY = 1e-6


def _planes(shape: Shape) -> Shape:
    return (shape[0] * shape[1], shape[2], shape[3])


def _window(layer: Layer, shape: Shape) -> tuple[int, ...]:
    assert isinstance(layer.params, Pooling)
    return (*layer.params.window(shape), *layer.params.stride, *layer.params.pad)


@forward(Pooling)
def _pooling(plan: ForwardPlan, layer: Layer) -> None:
    assert isinstance(layer.params, Pooling)
    (x,), y = plan.inputs(layer), plan.output(layer)
    planes = x.reshape(_planes(x.shape)), y.reshape(_planes(y.shape))
    window = _window(layer, x.shape)
    if layer.params.method == "MAX":
        length = kernels.row_length(x.shape[3], y.shape[3], window[1], window[3], window[5])
        plan.program.add(kernels.max_pooling, *planes, plan.new((threads(), length)), *window, label=layer.name)
        if len(layer.outputs) == 2:
            mask = plan.output(layer, 1).reshape(planes[1].shape)
            plan.program.add(kernels.pooling_mask, *planes, mask, *window, label=layer.name)
    else:
        plan.program.add(kernels.average_pooling, *planes, *window, label=layer.name)


@relevance(Pooling)
def _pooling_relevance(plan: RelevancePlan, layer: Layer) -> None:
    assert isinstance(layer.params, Pooling)
    x, y = plan.forward.values[layer.inputs[0]], plan.forward.values[layer.outputs[0]]
    r, target = plan.relevance[layer.outputs[0]], plan.into(layer.inputs[0])
    inside, outside = _planes(x.shape), _planes(y.shape)
    if layer.params.method == "MAX" and not plan.settings.average_max:
        plan.program.add(
            kernels.max_pooling_relevance, x.reshape(inside), y.reshape(outside), r.reshape(outside),
            target.reshape(inside), *_window(layer, x.shape), label=layer.name,
        )  # fmt: skip
    else:
        spread = plan.settings.spread_empty
        plan.program.add(
            kernels.average_pooling_relevance, x.reshape(inside), r.reshape(outside), target.reshape(inside),
            *_window(layer, x.shape), _EMPTY if spread else 0.0, spread, label=layer.name,
        )  # fmt: skip


@gradient(Pooling)
def _pooling_gradient(plan: RelevancePlan, layer: Layer) -> None:
    assert isinstance(layer.params, Pooling)
    if layer.params.method == "MAX":
        _pooling_relevance(plan, layer)
        return
    r, target = plan.relevance[layer.outputs[0]], plan.into(layer.inputs[0])
    plan.program.add(
        kernels.average_pooling_gradient, r.reshape(_planes(r.shape)), target.reshape(_planes(target.shape)),
        *_window(layer, target.shape), label=layer.name,
    )  # fmt: skip
