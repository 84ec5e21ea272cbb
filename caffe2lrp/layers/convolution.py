"""Convolution: cross-correlation with groups, stride, zero padding and dilation."""

from __future__ import annotations

from dataclasses import dataclass

from caffe2lrp.layers.base import LayerParams, Shape, ShapeError, count, register


@register
@dataclass(frozen=True)
class Convolution(LayerParams):
    """2-D convolution over (N, C, H, W).

    Attributes
    ----------
    num_output
        Number of output channels.
    kernel, stride, pad, dilation
        (vertical, horizontal), in pixels.
    group
        Number of groups that input and output channels are cut into.
    bias
        Whether a bias is added.
    """

    type = "Convolution"

    num_output: int
    kernel: tuple[int, int]
    stride: tuple[int, int] = (1, 1)
    pad: tuple[int, int] = (0, 0)
    dilation: tuple[int, int] = (1, 1)
    group: int = 1
    bias: bool = True

    def output_shapes(self, inputs: list[Shape]) -> list[Shape]:
        (shape,) = inputs
        if len(shape) != 4:
            raise ShapeError(f"convolves images, but its input has the shape {shape} and not (N, C, H, W)")
        if shape[1] % self.group or self.num_output % self.group:
            raise ShapeError(
                f"{shape[1]} input and {self.num_output} output channels do not divide by group {self.group}"
            )
        spatial = tuple(
            (size + 2 * p - (d * (k - 1) + 1)) // s + 1
            for size, k, s, p, d in zip(shape[2:], self.kernel, self.stride, self.pad, self.dilation, strict=True)
        )
        return [(shape[0], self.num_output, *spatial)]

    def weight_shapes(self, inputs: list[Shape]) -> dict[str, Shape]:
        shapes: dict[str, Shape] = {"weight": (self.num_output, inputs[0][1] // self.group, *self.kernel)}
        if self.bias:
            shapes["bias"] = (self.num_output,)
        return shapes

    def multiply_adds(self, inputs: list[Shape], outputs: list[Shape]) -> int:
        return count(outputs[0]) * inputs[0][1] // self.group * count(self.kernel)
