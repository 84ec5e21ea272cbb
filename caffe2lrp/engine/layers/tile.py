"""Tile. What went into several copies gets the sum of their relevance, as a blob with several readers does."""

from __future__ import annotations

from caffe2lrp.engine.backward import RelevancePlan
from caffe2lrp.engine.plan import ForwardPlan
from caffe2lrp.engine.registry import forward, relevance
from caffe2lrp.ir import Layer
from caffe2lrp.kernels import tile as kernels
from caffe2lrp.layers.base import Shape
from caffe2lrp.layers.tile import Tile


@forward(Tile)
def _tile(plan: ForwardPlan, layer: Layer) -> None:
    (x,), y = plan.inputs(layer), plan.output(layer)
    outer, tiles, inner = _layout(layer, x.shape)
    plan.program.add(kernels.tile, x.reshape(outer, inner), y.reshape(outer, tiles, inner), label=layer.name)


@relevance(Tile)
def _tile_relevance(plan: RelevancePlan, layer: Layer) -> None:
    r, target = plan.relevance[layer.outputs[0]], plan.into(layer.inputs[0])
    outer, tiles, inner = _layout(layer, target.shape)
    plan.program.add(kernels.sum_tiles, r.reshape(outer, tiles, inner), target.reshape(outer, inner), label=layer.name)


def _layout(layer: Layer, shape: Shape) -> tuple[int, int, int]:
    assert isinstance(layer.params, Tile)
    outer, inner = layer.params.layout(shape)
    return outer, layer.params.tiles, inner
