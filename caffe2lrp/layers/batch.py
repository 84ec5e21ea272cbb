"""BatchReindex and Filter: some images of a batch, chosen by another input."""

from __future__ import annotations

from dataclasses import dataclass

from caffe2lrp.layers.base import LayerParams, Shape, ShapeError, canonical_axis, count, register


@register
@dataclass(frozen=True)
class BatchReindex(LayerParams):
    """Images of the first input in the order of the second, whose whole numbers are indices into the batch."""

    type = "BatchReindex"
    input_count = (2, 2)
    selectors = (1,)

    def indices(self, inputs: list[Shape]) -> dict[int, int]:
        return {1: inputs[0][0]}

    def output_shapes(self, inputs: list[Shape]) -> list[Shape]:
        images, indices = inputs
        canonical_axis(0, images)
        if len(indices) != 1:
            raise ShapeError(f"takes a list of indices as second input, but that has the shape {indices}")
        return [(*indices, *images[1:])]


@register
@dataclass(frozen=True)
class Filter(LayerParams):
    """Images whose place in the last input, the selector, is not 0, of all other inputs.

    How many these are is known only when the network runs, and everything here has a shape that is known before.
    So the outputs have the shape that Caffe's have before its first run, that of the inputs, and a selector that
    leaves an image out is an error when the network runs.
    """

    type = "Filter"
    input_count = (2, None)
    selectors = (-1,)

    def output_shapes(self, inputs: list[Shape]) -> list[Shape]:
        *images, selector = inputs
        if not selector or count(selector, 1) != 1:
            raise ShapeError(f"takes one number per image as selector, but its last input has the shape {selector}")
        for shape in images:
            if shape[:1] != selector[:1]:
                raise ShapeError(f"has a selector for {selector[0]} images, but an input of the shape {shape}")
        return list(images)
