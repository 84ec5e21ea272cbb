"""Normalize: values divided by the length of the vector that they belong to."""

from __future__ import annotations

from dataclasses import dataclass

from caffe2lrp.layers.base import LayerParams, Shape, ShapeError, register


@register
@dataclass(frozen=True)
class Normalize(LayerParams):
    """scale * x / sqrt(sum of x^2 + epsilon) (SSD).

    Attributes
    ----------
    across_spatial
        Whether the sum is over the whole image, or over the channels of each pixel.
    channel_shared
        Whether there is one learned scale, or one for each channel.
    epsilon
        Added to the sum.
    """

    type = "Normalize"

    across_spatial: bool = True
    channel_shared: bool = True
    epsilon: float = 1e-10

    def output_shapes(self, inputs: list[Shape]) -> list[Shape]:
        if len(inputs[0]) < 2:
            raise ShapeError(f"needs a channel axis, but its input has the shape {inputs[0]}")
        return [inputs[0]]

    def weight_shapes(self, inputs: list[Shape]) -> dict[str, Shape]:
        return {"scale": () if self.channel_shared else (inputs[0][1],)}
