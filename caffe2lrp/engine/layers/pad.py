"""Pad: relevance of the border is cut off, as a border has no part in the input."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from caffe2lrp.engine.backward import RelevancePlan
from caffe2lrp.engine.plan import ForwardPlan
from caffe2lrp.engine.registry import forward, relevance
from caffe2lrp.ir import Layer
from caffe2lrp.kernels.eltwise import copy_slice, fill
from caffe2lrp.kernels.launch import Program
from caffe2lrp.layers.base import Shape, count
from caffe2lrp.layers.pad import Pad


def _pad(
    program: Program, x: np.ndarray, y: np.ndarray, params: Pad, new: Callable[[Shape], np.ndarray], label: str
) -> None:
    """Pad one axis after the other; the last one gives y."""
    axes = [i for i, widths in enumerate(zip(params.before, params.after, strict=True)) if widths != (0, 0)] or [0]
    for axis in axes:
        before, after = params.before[axis], params.after[axis]
        shape = (*x.shape[:axis], x.shape[axis] + before + after, *x.shape[axis + 1 :])
        out = y if axis == axes[-1] else new(shape)
        if before > 0 or after > 0:
            program.add(fill, out.reshape(-1), params.value, label=label)
        program.add(
            copy_slice, _three_axes(x, axis), max(-before, 0), _three_axes(out, axis), max(before, 0),
            x.shape[axis] + min(before, 0) + min(after, 0), label=label,
        )  # fmt: skip
        x = out


def _three_axes(x: np.ndarray, axis: int) -> np.ndarray:
    return x.reshape(count(x.shape, 0, axis), x.shape[axis], count(x.shape, axis + 1))


@forward(Pad)
def _padded(plan: ForwardPlan, layer: Layer) -> None:
    assert isinstance(layer.params, Pad)
    (x,), y = plan.inputs(layer), plan.output(layer)
    _pad(plan.program, x, y, layer.params, plan.new, layer.name)


@relevance(Pad)
def _pad_relevance(plan: RelevancePlan, layer: Layer) -> None:
    """The other way round: borders are cut off, and what was cut off has no relevance."""
    assert isinstance(layer.params, Pad)
    back = Pad(tuple(-n for n in layer.params.before), tuple(-n for n in layer.params.after))
    r, target = plan.relevance[layer.outputs[0]], plan.into(layer.inputs[0])
    _pad(plan.program, r, target, back, plan.new, layer.name)
