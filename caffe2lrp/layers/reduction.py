"""Reduction: the last axes summed up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from caffe2lrp.layers.base import LayerParams, Shape, canonical_axis, count, register


@register
@dataclass(frozen=True)
class Reduction(LayerParams):
    """coefficient * sum of x, |x| or x^2, or the mean of x, over the axes from `axis` on.

    From axis 0 on the output is a single number without axes.
    """

    type = "Reduction"

    operation: Literal["SUM", "ASUM", "SUMSQ", "MEAN"] = "SUM"
    axis: int = 0
    coefficient: float = 1.0

    def output_shapes(self, inputs: list[Shape]) -> list[Shape]:
        return [inputs[0][: canonical_axis(self.axis, inputs[0])]]

    def layout(self, shape: Shape) -> tuple[int, int]:
        """(rows, size): the input seen as rows, each of which becomes one number."""
        axis = canonical_axis(self.axis, shape)
        return count(shape, 0, axis), count(shape, axis)

    def factor(self, shape: Shape) -> float:
        """What the sum is multiplied by: the coefficient, for a mean divided by the number of values."""
        return self.coefficient / self.layout(shape)[1] if self.operation == "MEAN" else self.coefficient
