"""BatchNorm with stored statistics, and BN, what forks made of it."""

from __future__ import annotations

from dataclasses import dataclass

from caffe2lrp.layers.base import LayerParams, Shape, ShapeError, register


@register
@dataclass(frozen=True)
class BatchNorm(LayerParams):
    """(x - mean) / sqrt(variance + epsilon) per channel.

    Caffe stores sums and their weight: mean = blobs[0] / blobs[2], variance = blobs[1] / blobs[2], and
    both are 0 where blobs[2] is 0. The learned factor and offset are a Scale layer of their own.
    """

    type = "BatchNorm"

    epsilon: float = 1e-5

    def output_shapes(self, inputs: list[Shape]) -> list[Shape]:
        return [inputs[0]]

    def weight_shapes(self, inputs: list[Shape]) -> dict[str, Shape]:
        channels = (inputs[0][1] if len(inputs[0]) > 1 else 1,)
        return {"mean": channels, "variance": channels, "weight": (1,)}


@register
@dataclass(frozen=True)
class BN(LayerParams):
    """Batch normalisation of forks, with factor and offset: scale * (x - mean) / sqrt(variance + epsilon) + bias.

    Attributes
    ----------
    statistics
        Whether mean and variance are stored (PSPNet and its relatives); SegNet merges them into scale and bias.
    epsilon
        Added to the variance.
    """

    type = "BN"

    statistics: bool = True
    epsilon: float = 1e-5

    def output_shapes(self, inputs: list[Shape]) -> list[Shape]:
        if len(inputs[0]) < 2:
            raise ShapeError(f"needs a channel axis, but its input has the shape {inputs[0]}")
        return [inputs[0]]

    def weight_shapes(self, inputs: list[Shape]) -> dict[str, Shape]:
        names = ("scale", "bias", "mean", "variance") if self.statistics else ("scale", "bias")
        return dict.fromkeys(names, (inputs[0][1],))
