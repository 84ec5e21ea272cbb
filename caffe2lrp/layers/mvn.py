"""MVN: mean and variance of each image or channel brought to 0 and 1."""

from __future__ import annotations

from dataclasses import dataclass

from caffe2lrp.layers.base import LayerParams, Shape, ShapeError, count, register


@register
@dataclass(frozen=True)
class MVN(LayerParams):
    """(x - mean) / (standard deviation + epsilon), over the pixels of a channel or over a whole image.

    The output has four axes (N, C, H, W) whatever the input has (as Caffe's mvn_layer.cpp).

    Attributes
    ----------
    normalize_variance
        Whether the deviation is divided by; else only the mean is subtracted.
    across_channels
        Whether all channels of an image have one mean and deviation, or each its own.
    epsilon
        Added to the standard deviation (not to the variance).
    """

    type = "MVN"

    normalize_variance: bool = True
    across_channels: bool = False
    epsilon: float = 1e-9

    def output_shapes(self, inputs: list[Shape]) -> list[Shape]:
        (shape,) = inputs
        if len(shape) > 4:
            raise ShapeError(f"takes up to four axes (N, C, H, W), but its input has the shape {shape}")
        return [(*shape, *(1,) * (4 - len(shape)))]

    def layout(self, shape: Shape) -> tuple[int, int]:
        """(groups, size): the input seen as groups of values that are normalised together."""
        groups = count(shape[: 1 if self.across_channels else 2])
        return groups, count(shape) // groups
