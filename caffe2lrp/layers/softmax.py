"""Softmax along an axis."""

from __future__ import annotations

from dataclasses import dataclass

from caffe2lrp.layers.base import LayerParams, Shape, canonical_axis, count, register


@register
@dataclass(frozen=True)
class Softmax(LayerParams):
    """exp(x - max) / sum along `axis`."""

    type = "Softmax"

    axis: int = 1

    def output_shapes(self, inputs: list[Shape]) -> list[Shape]:
        canonical_axis(self.axis, inputs[0])
        return [inputs[0]]

    def layout(self, shape: Shape) -> tuple[int, int, int]:
        """(outer, classes, inner): the input seen as three axes, the middle one being normalised."""
        axis = canonical_axis(self.axis, shape)
        return count(shape, 0, axis), shape[axis], count(shape, axis + 1)
