"""ROIPooling: the winner of each cell takes all relevance; the regions themselves get none."""

from __future__ import annotations

import numpy as np

from caffe2lrp.engine.backward import RelevancePlan
from caffe2lrp.engine.plan import ForwardPlan
from caffe2lrp.engine.registry import forward, relevance
from caffe2lrp.errors import ModelError
from caffe2lrp.ir import Layer
from caffe2lrp.kernels import regions as kernels
from caffe2lrp.layers.regions import ROIPooling


def _pixels(plan: ForwardPlan | RelevancePlan, layer: Layer, regions: np.ndarray, images: int) -> np.ndarray:
    """A table of regions in pixels, filled before the kernels run: image number, top, left, height, width."""
    p = layer.params
    assert isinstance(p, ROIPooling)
    rows = regions.reshape(-1, 5)
    table = np.empty(rows.shape, np.int64)
    scale = regions.dtype.type(p.spatial_scale)

    def fill() -> None:
        numbers = np.trunc(rows[:, 0])
        if not np.isfinite(rows).all() or not ((numbers >= 0) & (numbers < images)).all():
            raise ModelError(
                f"{layer}: its regions name other images than 0 to {images - 1}, or are no numbers; a row is image "
                "number, left, top, right, bottom"
            )
        left, top, right, bottom = np.clip(_rounded(rows[:, 1:].T * scale), -(1 << 30), 1 << 30).astype(np.int64)
        height, width = np.maximum(bottom - top + 1, 1), np.maximum(right - left + 1, 1)
        np.stack([numbers.astype(np.int64), top, left, height, width], axis=1, out=table)

    plan.program.add_python(fill, layer.name)
    return table


def _rounded(values: np.ndarray) -> np.ndarray:
    """The nearest whole numbers; halves go away from 0, as C's round does."""
    whole = np.trunc(values)
    return whole + np.where(np.abs(values - whole) >= 0.5, np.sign(values), 0)


@forward(ROIPooling)
def _roi_pooling(plan: ForwardPlan, layer: Layer) -> None:
    (x, regions), y = plan.inputs(layer), plan.output(layer)
    table = _pixels(plan, layer, regions, x.shape[0])
    plan.program.add(kernels.roi_pooling, x, table, y, label=layer.name)


@relevance(ROIPooling)
def _roi_pooling_relevance(plan: RelevancePlan, layer: Layer) -> None:
    x, regions = (plan.forward.values[blob] for blob in layer.inputs)
    y, r = plan.forward.values[layer.outputs[0]], plan.relevance[layer.outputs[0]]
    target = plan.into(layer.inputs[0])
    table = _pixels(plan, layer, regions, x.shape[0])
    plan.program.add(kernels.roi_pooling_relevance, x, table, y, r, target, label=layer.name)
