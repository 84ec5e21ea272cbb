"""Crop and Im2col: values are picked and nothing is computed. Relevance goes back to where they came from."""

from __future__ import annotations

import math

import numpy as np

from caffe2lrp.engine.backward import RelevancePlan
from caffe2lrp.engine.plan import ForwardPlan
from caffe2lrp.engine.registry import forward, relevance
from caffe2lrp.ir import Layer
from caffe2lrp.kernels.selection import Selection, window_index
from caffe2lrp.layers.base import Shape, canonical_axis, count
from caffe2lrp.layers.crop import Crop
from caffe2lrp.layers.im2col import Im2col


def _selection(layer: Layer, shape: Shape, out: Shape) -> Selection:
    """What of the input becomes the output, both seen as (outer, places)."""
    p = layer.params
    assert isinstance(p, (Crop, Im2col))
    axis = canonical_axis(p.axis, shape)
    if isinstance(p, Crop):
        places = np.arange(count(shape, axis)).reshape(shape[axis:])
        part = tuple(slice(a, a + n) for a, n in zip(p.starts(shape)[axis:], out[axis:], strict=True))
        return Selection.of(places[part].reshape(-1), places.size)
    space = shape[axis + 1 :]
    seen = window_index(space, out[axis + 1 :], p.kernel, p.stride, p.pad, p.dilation)
    return Selection.of(np.ascontiguousarray(seen.T).reshape(-1), math.prod(space))


@forward(Crop, Im2col)
def _select(plan: ForwardPlan, layer: Layer) -> None:
    x, y = plan.inputs(layer)[0], plan.output(layer)
    _selection(layer, x.shape, y.shape).add(plan.program, x, y, layer.name)


@relevance(Crop, Im2col)
def _select_back(plan: RelevancePlan, layer: Layer) -> None:
    r = plan.relevance[layer.outputs[0]]
    target = plan.into(layer.inputs[0])
    _selection(layer, target.shape, r.shape).transposed().add(plan.program, r, target, layer.name)
