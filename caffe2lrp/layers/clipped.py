"""Element-wise functions of mobile nets: clipping, Swish and its piecewise linear relatives."""

from __future__ import annotations

from dataclasses import dataclass

from caffe2lrp.layers.activation import Activation
from caffe2lrp.layers.base import Shape, ShapeError, register


@register
@dataclass(frozen=True)
class Clip(Activation):
    """x, but at least `low` and at most `high`; a ReLU6 is Clip from 0 to 6."""

    type = "Clip"

    low: float = 0.0
    high: float = 6.0

    def output_shapes(self, inputs: list[Shape]) -> list[Shape]:
        if not self.low <= self.high:
            raise ShapeError(f"clips from {self.low:g} to {self.high:g}, which is no range")
        return [inputs[0]]


@register
@dataclass(frozen=True)
class Swish(Activation):
    """x / (1 + exp(-beta x))."""

    type = "Swish"

    beta: float = 1.0


@register
@dataclass(frozen=True)
class HardSigmoid(Activation):
    """alpha x + beta, but at least 0 and at most 1."""

    type = "HardSigmoid"

    alpha: float = 0.2
    beta: float = 0.5


@register
@dataclass(frozen=True)
class HardSwish(Activation):
    """x min(max(x + 3, 0), 6) / 6 (MobileNetV3)."""

    type = "HardSwish"
