"""Concat and Slice: joining blobs along an axis and cutting them apart."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise

from caffe2lrp.layers.base import LayerParams, Shape, ShapeError, canonical_axis, register


@register
@dataclass(frozen=True)
class Concat(LayerParams):
    """Join the inputs along an axis."""

    type = "Concat"
    input_count = (1, None)

    axis: int = 1

    def output_shapes(self, inputs: list[Shape]) -> list[Shape]:
        axis = canonical_axis(self.axis, inputs[0])
        for shape in inputs[1:]:
            if len(shape) != len(inputs[0]) or any(
                a != b for i, (a, b) in enumerate(zip(shape, inputs[0], strict=True)) if i != axis
            ):
                raise ShapeError(f"inputs {inputs[0]} and {shape} differ outside axis {axis}")
        joined = list(inputs[0])
        joined[axis] = sum(shape[axis] for shape in inputs)
        return [tuple(joined)]


@register
@dataclass(frozen=True)
class Slice(LayerParams):
    """Cut the input along an axis, at the given points or into `parts` equal parts."""

    type = "Slice"

    parts: int
    axis: int = 1
    points: tuple[int, ...] = ()

    def bounds(self, shape: Shape) -> list[int]:
        """Start of each part and the end of the last one along the axis."""
        size = shape[canonical_axis(self.axis, shape)]
        if self.points:
            bounds = [0, *self.points, size]
            if len(self.points) != self.parts - 1 or any(a >= b for a, b in pairwise(bounds)):
                raise ShapeError(f"slice points {self.points} do not cut a size of {size} into {self.parts} parts")
            return bounds
        if size % self.parts:
            raise ShapeError(f"cannot cut a size of {size} into {self.parts} equal parts")
        return list(range(0, size + 1, size // self.parts))

    def output_shapes(self, inputs: list[Shape]) -> list[Shape]:
        (shape,) = inputs
        axis = canonical_axis(self.axis, shape)
        bounds = self.bounds(shape)
        return [(*shape[:axis], b - a, *shape[axis + 1 :]) for a, b in pairwise(bounds)]
