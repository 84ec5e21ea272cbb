"""Eltwise: sum, product or maximum of blobs of one shape."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from caffe2lrp.layers.base import LayerParams, Shape, ShapeError, register


@register
@dataclass(frozen=True)
class Eltwise(LayerParams):
    """Element-wise sum (with one coefficient per input), product or maximum."""

    type = "Eltwise"
    input_count = (2, None)

    operation: Literal["PROD", "SUM", "MAX"] = "SUM"
    coefficients: tuple[float, ...] = ()

    def output_shapes(self, inputs: list[Shape]) -> list[Shape]:
        if any(shape != inputs[0] for shape in inputs):
            raise ShapeError(f"its inputs differ in shape: {', '.join(map(str, inputs))}")
        if self.coefficients and len(self.coefficients) != len(inputs):
            raise ShapeError(f"has {len(self.coefficients)} coefficients for {len(inputs)} inputs")
        if self.coefficients and self.operation != "SUM":
            raise ShapeError("coefficients are for SUM only")
        return [inputs[0]]
