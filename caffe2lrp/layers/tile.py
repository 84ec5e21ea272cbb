"""Tile: copies side by side."""

from __future__ import annotations

from dataclasses import dataclass

from caffe2lrp.layers.base import LayerParams, Shape, canonical_axis, count, register


@register
@dataclass(frozen=True)
class Tile(LayerParams):
    """The input `tiles` times, one behind the other along `axis`."""

    type = "Tile"

    tiles: int
    axis: int = 1

    def output_shapes(self, inputs: list[Shape]) -> list[Shape]:
        (shape,) = inputs
        axis = canonical_axis(self.axis, shape)
        return [(*shape[:axis], shape[axis] * self.tiles, *shape[axis + 1 :])]

    def layout(self, shape: Shape) -> tuple[int, int]:
        """(outer, inner): what is repeated, `outer` times, is a run of `inner` values."""
        axis = canonical_axis(self.axis, shape)
        return count(shape, 0, axis), count(shape, axis)
