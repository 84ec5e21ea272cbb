"""Flatten and Reshape: another shape for the same values."""

from __future__ import annotations

from dataclasses import dataclass

from caffe2lrp.layers.base import LayerParams, Shape, ShapeError, canonical_axis, count, register


@register
@dataclass(frozen=True)
class Flatten(LayerParams):
    """Join the dimensions axis..end_axis into one."""

    type = "Flatten"

    axis: int = 1
    end_axis: int = -1

    def output_shapes(self, inputs: list[Shape]) -> list[Shape]:
        (shape,) = inputs
        start, end = canonical_axis(self.axis, shape), canonical_axis(self.end_axis, shape)
        if end < start:
            raise ShapeError(f"end_axis {self.end_axis} lies before axis {self.axis} in a shape of {shape}")
        return [(*shape[:start], count(shape, start, end + 1), *shape[end + 1 :])]


@register
@dataclass(frozen=True)
class Reshape(LayerParams):
    """Replace the dimensions from `axis` on (`num_axes` of them, -1: all) by `dims`; 0 copies, -1 is inferred."""

    type = "Reshape"

    dims: tuple[int, ...]
    axis: int = 0
    num_axes: int = -1

    def output_shapes(self, inputs: list[Shape]) -> list[Shape]:
        (shape,) = inputs
        # axis may be one past the end here, and negative values count from that place (reshape_layer.cpp)
        start = self.axis if self.axis >= 0 else len(shape) + self.axis + 1
        stop = len(shape) if self.num_axes == -1 else start + self.num_axes
        if not 0 <= start <= stop <= len(shape):
            raise ShapeError(f"axes {self.axis}.. ({self.num_axes}) do not exist in an input of shape {shape}")
        if any(d == 0 and start + i >= len(shape) for i, d in enumerate(self.dims)):
            raise ShapeError(f"dim 0 copies an axis that the input {shape} does not have")
        middle = [shape[start + i] if d == 0 else d for i, d in enumerate(self.dims)]
        whole = [*shape[:start], *middle, *shape[stop:]]
        if whole.count(-1) > 1:
            raise ShapeError(f"dims {self.dims} leave more than one size open")
        if -1 in whole:
            known = -count(tuple(whole))
            whole[whole.index(-1)] = count(shape) // known if known and count(shape) % known == 0 else 0
        if count(tuple(whole)) != count(shape):
            raise ShapeError(f"cannot reshape {shape} with dims {self.dims}: the number of values differs")
        return [tuple(whole)]
