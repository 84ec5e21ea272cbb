"""Convolution: cross-correlation with groups, stride, zero padding and dilation; and Deconvolution, its transpose."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass, replace
from typing import Self

from caffe2lrp.layers.base import LayerParams, Shape, ShapeError, canonical_axis, count, register
from caffe2lrp.layers.windows import Sizes, check_rank, fitted, slid_size, spread

_SIZES = ("kernel", "stride", "pad", "dilation")


@dataclass(frozen=True)
class Convolving(LayerParams):
    """What Convolution and Deconvolution have in common: (N, C, H, W), or any number of axes behind C.

    Attributes
    ----------
    num_output
        Number of output channels.
    kernel, stride, pad, dilation
        (vertical, horizontal), in pixels; or one number for each axis behind the channels. Where stride, pad or
        dilation are the same for all axes, two equal numbers will do for any number of axes.
    group
        Number of groups that input and output channels are cut into.
    bias
        Whether a bias is added.
    axis
        Axis of the channels; those before it are a batch.
    """

    num_output: int
    kernel: Sizes
    stride: Sizes = (1, 1)
    pad: Sizes = (0, 0)
    dilation: Sizes = (1, 1)
    group: int = 1
    bias: bool = True
    axis: int = 1

    def __post_init__(self) -> None:
        spread(self, _SIZES, len(self.kernel))

    def for_inputs(self, inputs: list[Shape]) -> Self:
        axis = canonical_axis(self.axis, inputs[0])
        return replace(self, kernel=fitted(self.kernel, len(inputs[0]) - axis - 1))

    def output_shapes(self, inputs: list[Shape]) -> list[Shape]:
        (shape,) = inputs
        axis = canonical_axis(self.axis, shape)
        check_rank(self, _SIZES, shape, len(shape) - axis - 1)
        if shape[axis] % self.group or self.num_output % self.group:
            raise ShapeError(
                f"{shape[axis]} input and {self.num_output} output channels do not divide by group {self.group}"
            )
        sizes = zip(shape[axis + 1 :], self.kernel, self.stride, self.pad, self.dilation, strict=True)
        return [(*shape[:axis], self.num_output, *(self._size(*s) for s in sizes))]

    @abstractmethod
    def _size(self, size: int, k: int, s: int, p: int, d: int) -> int:
        """Output size along one axis of an input of `size`, for kernel, stride, pad and dilation."""

    def channels(self, shape: Shape) -> int:
        """Number of channels of an input."""
        return shape[canonical_axis(self.axis, shape)]

    def images(self, shape: Shape) -> Shape:
        """An input or output shape with everything before its channels as one batch: (N, C, ...)."""
        axis = canonical_axis(self.axis, shape)
        return (count(shape, 0, axis), *shape[axis:])


@register
@dataclass(frozen=True)
class Convolution(Convolving):
    """Cross-correlation; see `Convolving` for its parameters. The weight is (num_output, C / group, *kernel)."""

    type = "Convolution"

    def _size(self, size: int, k: int, s: int, p: int, d: int) -> int:
        return slid_size(size, k, s, p, d)

    def weight_shapes(self, inputs: list[Shape]) -> dict[str, Shape]:
        shapes: dict[str, Shape] = {"weight": (self.num_output, self.channels(inputs[0]) // self.group, *self.kernel)}
        if self.bias:
            shapes["bias"] = (self.num_output,)
        return shapes

    def multiply_adds(self, inputs: list[Shape], outputs: list[Shape]) -> int:
        return count(outputs[0]) * self.channels(inputs[0]) // self.group * count(self.kernel)


@register
@dataclass(frozen=True)
class Deconvolution(Convolving):
    """The transpose of a convolution: what leads from that one's output back to its input, plus a bias.

    The parameters are those of the convolution, but for `num_output`, which are the channels that come out here.
    The weight is (C, num_output / group, *kernel). Caffe's deconv_layer.cpp.
    """

    type = "Deconvolution"

    def _size(self, size: int, k: int, s: int, p: int, d: int) -> int:
        return s * (size - 1) + d * (k - 1) + 1 - 2 * p

    def weight_shapes(self, inputs: list[Shape]) -> dict[str, Shape]:
        shapes: dict[str, Shape] = {"weight": (self.channels(inputs[0]), self.num_output // self.group, *self.kernel)}
        if self.bias:
            shapes["bias"] = (self.num_output,)
        return shapes

    def multiply_adds(self, inputs: list[Shape], outputs: list[Shape]) -> int:
        return count(inputs[0]) * self.num_output // self.group * count(self.kernel)
