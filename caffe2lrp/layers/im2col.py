"""Im2col: what each place of a sliding window sees, as channels."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Self

from caffe2lrp.layers.base import LayerParams, Shape, ShapeError, canonical_axis, count, register
from caffe2lrp.layers.windows import Sizes, check_rank, fitted, slid_size, spread

_SIZES = ("kernel", "stride", "pad", "dilation")


@register
@dataclass(frozen=True)
class Im2col(LayerParams):
    """(N, C, H, W) to (N, C * cells of the kernel, H', W'), the values that a convolution multiplies.

    Attributes
    ----------
    kernel, stride, pad, dilation, axis
        As those of `Convolution`; the padding is 0.
    """

    type = "Im2col"

    kernel: Sizes
    stride: Sizes = (1, 1)
    pad: Sizes = (0, 0)
    dilation: Sizes = (1, 1)
    axis: int = 1

    def __post_init__(self) -> None:
        spread(self, _SIZES, len(self.kernel))

    def for_inputs(self, inputs: list[Shape]) -> Self:
        axis = canonical_axis(self.axis, inputs[0])
        return replace(self, kernel=fitted(self.kernel, len(inputs[0]) - axis - 1))

    def output_shapes(self, inputs: list[Shape]) -> list[Shape]:
        (shape,) = inputs
        axis = canonical_axis(self.axis, shape)
        if axis == len(shape) - 1:
            raise ShapeError(f"has no axes to slide over behind axis {axis} of its input {shape}")
        check_rank(self, _SIZES, shape, len(shape) - axis - 1)
        sizes = map(slid_size, shape[axis + 1 :], self.kernel, self.stride, self.pad, self.dilation)
        return [(*shape[:axis], shape[axis] * count(self.kernel), *sizes)]
