"""BatchNorm with stored statistics."""

from __future__ import annotations

from dataclasses import dataclass

from caffe2lrp.layers.base import LayerParams, Shape, register


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
