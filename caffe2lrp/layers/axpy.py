"""Axpy: a x + y with one factor for each channel, the end of a squeeze-and-excitation block."""

from __future__ import annotations

from dataclasses import dataclass

from caffe2lrp.layers.base import LayerParams, Shape, ShapeError, count, register


@register
@dataclass(frozen=True)
class Axpy(LayerParams):
    """a x + y for the inputs a (N, C) or (N, C, 1, 1), x and y (N, C, ...) (SENet)."""

    type = "Axpy"
    input_count = (3, 3)

    def output_shapes(self, inputs: list[Shape]) -> list[Shape]:
        a, x, y = inputs
        if x != y:
            raise ShapeError(f"its second and third input differ in shape: {x} and {y}")
        if len(x) < 2 or a[:2] != x[:2] or count(a, 2) != 1:
            raise ShapeError(f"its first input {a} has not one factor for each image and channel of {x}")
        return [x]
