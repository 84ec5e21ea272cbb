"""Permute and ShuffleChannel: relevance goes back to where its value came from."""

from __future__ import annotations

import numpy as np

from caffe2lrp.engine.backward import RelevancePlan
from caffe2lrp.engine.plan import ForwardPlan
from caffe2lrp.engine.registry import forward, relevance
from caffe2lrp.ir import Layer
from caffe2lrp.kernels.launch import Program
from caffe2lrp.kernels.permute import permute
from caffe2lrp.layers.base import Shape, count
from caffe2lrp.layers.permute import Permute, ShuffleChannel


def _view_and_order(layer: Layer, shape: Shape) -> tuple[Shape, tuple[int, ...]]:
    """The input seen with other axes, and the order that they are brought to."""
    p = layer.params
    if isinstance(p, Permute):
        return shape, p.axes(shape)
    assert isinstance(p, ShuffleChannel)
    return (shape[0], p.group, shape[1] // p.group, count(shape, 2)), (0, 2, 1, 3)


def _add(program: Program, x: np.ndarray, y: np.ndarray, shape: Shape, order: tuple[int, ...], label: str) -> None:
    table = np.array([(shape[axis], count(shape, axis + 1)) for axis in order], np.int64)
    program.add(permute, x.reshape(-1), y.reshape(-1), table, label=label)


@forward(Permute, ShuffleChannel)
def _permute(plan: ForwardPlan, layer: Layer) -> None:
    (x,), y = plan.inputs(layer), plan.output(layer)
    _add(plan.program, x, y, *_view_and_order(layer, x.shape), layer.name)


@relevance(Permute, ShuffleChannel)
def _permute_relevance(plan: RelevancePlan, layer: Layer) -> None:
    r, target = plan.relevance[layer.outputs[0]], plan.into(layer.inputs[0])
    shape, order = _view_and_order(layer, target.shape)
    turned = tuple(shape[axis] for axis in order)
    _add(plan.program, r, target, turned, tuple(int(axis) for axis in np.argsort(order)), layer.name)
