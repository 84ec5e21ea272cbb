"""LRN: local response normalisation across channels or within one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from caffe2lrp.layers.base import LayerParams, Shape, ShapeError, register


@register
@dataclass(frozen=True)
class LRN(LayerParams):
    """Local response normalisation.

    ``across``: y = x (k + alpha/size * sum of x^2 over `size` channels)^(-beta).
    ``within``: y = x (1 + alpha * mean of x^2 over size x size pixels)^(-beta), where the mean divides by
    the window clipped to the zero-padded image; k is not used (as in Caffe).
    """

    type = "LRN"

    size: int = 5
    alpha: float = 1.0
    beta: float = 0.75
    k: float = 1.0
    region: Literal["across", "within"] = "across"

    def output_shapes(self, inputs: list[Shape]) -> list[Shape]:
        if self.size % 2 == 0:
            raise ShapeError(f"local_size is {self.size}, but Caffe's LRN needs an odd size")
        if len(inputs[0]) != 4:
            raise ShapeError(f"normalises images, but its input has the shape {inputs[0]} and not (N, C, H, W)")
        return [inputs[0]]
