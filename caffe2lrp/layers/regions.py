"""ROIPooling: maximum pooling of regions of an image."""

from __future__ import annotations

from dataclasses import dataclass

from caffe2lrp.layers.base import LayerParams, Shape, ShapeError, count, register


@register
@dataclass(frozen=True)
class ROIPooling(LayerParams):
    """Maxima over a grid laid on each region (Fast R-CNN).

    The second input holds regions (R, 5): number of the image in the batch, then left, top, right and bottom edge in
    pixels of the picture. A cell of the grid without any pixel gives 0.

    Attributes
    ----------
    pooled
        Cells (vertical, horizontal) of the grid.
    spatial_scale
        Pixels of the input for a pixel of the picture.
    """

    type = "ROIPooling"
    input_count = (2, 2)
    selectors = (1,)

    pooled: tuple[int, int]
    spatial_scale: float = 1.0

    def output_shapes(self, inputs: list[Shape]) -> list[Shape]:
        shape, regions = inputs
        if len(shape) != 4:
            raise ShapeError(f"pools images, but its input has the shape {shape} and not (N, C, H, W)")
        if not regions or count(regions, 1) != 5:
            raise ShapeError(f"its second input {regions} has not 5 numbers for each region")
        return [(regions[0], shape[1], *self.pooled)]
