"""Pad: a border of one value around a blob, or its border cut off."""

from __future__ import annotations

from dataclasses import dataclass

from caffe2lrp.layers.base import LayerParams, Shape, ShapeError, register


@register
@dataclass(frozen=True)
class Pad(LayerParams):
    """Put a border around the input. Caffe has no such layer; this is ONNX's Pad with mode ``constant``.

    Attributes
    ----------
    before, after
        Width of the border at the start and end of each axis; negative widths cut that much off instead.
    value
        What the border holds.
    """

    type = "Pad"

    before: tuple[int, ...]
    after: tuple[int, ...]
    value: float = 0.0

    def output_shapes(self, inputs: list[Shape]) -> list[Shape]:
        (shape,) = inputs
        if not len(self.before) == len(self.after) == len(shape):
            raise ShapeError(f"pads {len(self.before)} and {len(self.after)} axes, but its input has the shape {shape}")
        sides = list(zip(shape, self.before, self.after, strict=True))
        if any(size + min(before, 0) + min(after, 0) <= 0 for size, before, after in sides):
            raise ShapeError(f"cuts {self.before} and {self.after} off an input of shape {shape}; nothing is left")
        return [tuple(size + before + after for size, before, after in sides)]
