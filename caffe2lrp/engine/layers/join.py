"""Concat and Slice: relevance is cut apart and joined as the values are."""

from __future__ import annotations

import numpy as np

from caffe2lrp.engine.backward import RelevancePlan
from caffe2lrp.engine.plan import ForwardPlan
from caffe2lrp.engine.registry import forward, relevance
from caffe2lrp.ir import Layer
from caffe2lrp.kernels.eltwise import copy_slice
from caffe2lrp.kernels.launch import Program
from caffe2lrp.layers.base import Shape, canonical_axis, count
from caffe2lrp.layers.join import Concat, Slice


def _three_axes(shape: Shape, axis: int) -> tuple[int, int, int]:
    return count(shape, 0, axis), shape[axis], count(shape, axis + 1)


def _join(program: Program, pieces: list[np.ndarray], whole: np.ndarray, axis: int, label: str) -> None:
    start = 0
    for piece in pieces:
        size = piece.shape[axis]
        place = whole[(slice(None),) * axis + (slice(start, start + size),)]
        if piece.ctypes.data == place.ctypes.data:  # it has been written where it belongs
            start += size
            continue
        program.add(
            copy_slice, piece.reshape(_three_axes(piece.shape, axis)), 0,
            whole.reshape(_three_axes(whole.shape, axis)), start, size, label=label,
        )  # fmt: skip
        start += size


def _cut(program: Program, whole: np.ndarray, pieces: list[np.ndarray], axis: int, label: str) -> None:
    start = 0
    for piece in pieces:
        size = piece.shape[axis]
        program.add(
            copy_slice, whole.reshape(_three_axes(whole.shape, axis)), start,
            piece.reshape(_three_axes(piece.shape, axis)), 0, size, label=label,
        )  # fmt: skip
        start += size


def _axis(layer: Layer, shape: Shape) -> int:
    assert isinstance(layer.params, (Concat, Slice))
    return canonical_axis(layer.params.axis, shape)


@forward(Concat)
def _concat(plan: ForwardPlan, layer: Layer) -> None:
    inputs = plan.inputs(layer)
    _join(plan.program, inputs, plan.output(layer), _axis(layer, inputs[0].shape), layer.name)


@forward(Slice)
def _slice(plan: ForwardPlan, layer: Layer) -> None:
    (x,) = plan.inputs(layer)
    outputs = [plan.output(layer, i) for i in range(len(layer.outputs))]
    _cut(plan.program, x, outputs, _axis(layer, x.shape), layer.name)


@relevance(Concat)
def _concat_relevance(plan: RelevancePlan, layer: Layer) -> None:
    whole = plan.relevance[layer.outputs[0]]
    pieces = [plan.into(blob) for blob in layer.inputs]
    _cut(plan.program, whole, pieces, _axis(layer, whole.shape), layer.name)


@relevance(Slice)
def _slice_relevance(plan: RelevancePlan, layer: Layer) -> None:
    whole = plan.into(layer.inputs[0])
    pieces = [plan.relevance[blob] for blob in layer.outputs]
    _join(plan.program, pieces, whole, _axis(layer, whole.shape), layer.name)
