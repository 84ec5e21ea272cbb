"""Crop: a part of a blob, as large as another one."""

from __future__ import annotations

from dataclasses import dataclass

from caffe2lrp.layers.base import LayerParams, Shape, ShapeError, canonical_axis, register


@register
@dataclass(frozen=True)
class Crop(LayerParams):
    """The first input, cut to the shape of the second one from `axis` on; the values of the second do not matter.

    Attributes
    ----------
    axis
        First axis that is cut.
    offsets
        Where the part begins: one number for each axis from `axis` on, one for all of them, or none, which is 0.
    """

    type = "Crop"
    input_count = (2, 2)
    selectors = (1,)

    axis: int = 2
    offsets: tuple[int, ...] = ()

    def starts(self, shape: Shape) -> tuple[int, ...]:
        """First place of the part on every axis of an input."""
        axis = canonical_axis(self.axis, shape)
        cut = len(shape) - axis
        offsets = (self.offsets or (0,)) * (cut if len(self.offsets) < 2 else 1)
        if len(offsets) != cut:
            raise ShapeError(f"has {len(offsets)} offsets for the {cut} axes of {shape} from axis {axis} on")
        return (*(0,) * axis, *offsets)

    def output_shapes(self, inputs: list[Shape]) -> list[Shape]:
        whole, like = inputs
        if len(whole) != len(like):
            raise ShapeError(f"its inputs {whole} and {like} differ in the number of axes")
        axis = canonical_axis(self.axis, whole)
        part = (*whole[:axis], *like[axis:])
        for size, start, wanted in zip(whole, self.starts(whole), part, strict=True):
            if start + wanted > size:
                raise ShapeError(f"cannot cut {part} out of {whole} at {self.starts(whole)}: it does not reach so far")
        return [part]
