"""Element-wise functions: ReLU and its relatives, sigmoids, absolute value, power, exponential and logarithm, steps."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from caffe2lrp.layers.base import LayerParams, Shape, ShapeError, register


@dataclass(frozen=True)
class Activation(LayerParams):
    """An element-wise function: the output has the shape of the input."""

    def output_shapes(self, inputs: list[Shape]) -> list[Shape]:
        return [inputs[0]]


@register
@dataclass(frozen=True)
class ReLU(Activation):
    """x if x > 0 else negative_slope * x."""

    type = "ReLU"

    negative_slope: float = 0.0


@register
@dataclass(frozen=True)
class PReLU(Activation):
    """x if x > 0 else slope * x, with one learned slope per channel or a single one."""

    type = "PReLU"

    channel_shared: bool = False

    def output_shapes(self, inputs: list[Shape]) -> list[Shape]:
        if len(inputs[0]) < 2:
            raise ShapeError(f"needs a channel axis, but its input has the shape {inputs[0]}")
        return [inputs[0]]

    def weight_shapes(self, inputs: list[Shape]) -> dict[str, Shape]:
        return {"slope": (1 if self.channel_shared else inputs[0][1],)}


@register
@dataclass(frozen=True)
class Sigmoid(Activation):
    """1 / (1 + exp(-x))."""

    type = "Sigmoid"


@register
@dataclass(frozen=True)
class TanH(Activation):
    """tanh(x)."""

    type = "TanH"


@register
@dataclass(frozen=True)
class AbsVal(Activation):
    """|x|."""

    type = "AbsVal"


@register
@dataclass(frozen=True)
class ELU(Activation):
    """x if x > 0 else alpha * (exp(x) - 1)."""

    type = "ELU"

    alpha: float = 1.0


@register
@dataclass(frozen=True)
class Power(Activation):
    """(shift + scale * x) ^ power."""

    type = "Power"

    power: float = 1.0
    scale: float = 1.0
    shift: float = 0.0


@register
@dataclass(frozen=True)
class Exp(Activation):
    """base ^ (shift + scale * x); a base of -1 means e."""

    type = "Exp"

    base: float = -1.0
    scale: float = 1.0
    shift: float = 0.0

    def factors(self) -> tuple[float, float]:
        """(inner, outer) of the same function as outer * exp(inner * x)."""
        log_base = 1.0 if self.base == -1 else math.log(self.base)
        with np.errstate(over="ignore"):
            return log_base * self.scale, float(np.exp(log_base * self.shift))


@register
@dataclass(frozen=True)
class Log(Activation):
    """Logarithm of shift + scale * x to a base; a base of -1 means e."""

    type = "Log"

    base: float = -1.0
    scale: float = 1.0
    shift: float = 0.0

    def factor(self) -> float:
        """What the natural logarithm is multiplied by."""
        return 1.0 if self.base == -1 else 1 / math.log(self.base)


@register
@dataclass(frozen=True)
class BNLL(Activation):
    """log(1 + exp(x)), the binomial normal log likelihood, also called softplus."""

    type = "BNLL"


@register
@dataclass(frozen=True)
class Threshold(Activation):
    """1 where x > threshold, else 0."""

    type = "Threshold"

    threshold: float = 0.0
