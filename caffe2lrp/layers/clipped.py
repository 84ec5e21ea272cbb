"""Element-wise functions of mobile nets: the piecewise linear relatives of Sigmoid and Swish."""

from __future__ import annotations

from dataclasses import dataclass

from caffe2lrp.layers.activation import Activation
from caffe2lrp.layers.base import register


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
