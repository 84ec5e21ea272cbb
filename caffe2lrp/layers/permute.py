"""Permute and ShuffleChannel: the same values in another order."""

from __future__ import annotations

from dataclasses import dataclass

from caffe2lrp.layers.base import LayerParams, Shape, ShapeError, register


@register
@dataclass(frozen=True)
class Permute(LayerParams):
    """Axes in another order (SSD): axis i of the output is axis order[i] of the input."""

    type = "Permute"

    order: tuple[int, ...] = ()

    def axes(self, shape: Shape) -> tuple[int, ...]:
        """The whole order: axes that are not mentioned follow as they are."""
        if len(set(self.order)) != len(self.order) or any(not 0 <= axis < len(shape) for axis in self.order):
            raise ShapeError(f"order {self.order} does not name axes of an input of shape {shape}, each once")
        return (*self.order, *(axis for axis in range(len(shape)) if axis not in self.order))

    def output_shapes(self, inputs: list[Shape]) -> list[Shape]:
        return [tuple(inputs[0][axis] for axis in self.axes(inputs[0]))]


@register
@dataclass(frozen=True)
class ShuffleChannel(LayerParams):
    """Channels (group, channels of a group) turned to (channels of a group, group) (ShuffleNet)."""

    type = "ShuffleChannel"

    group: int = 1

    def output_shapes(self, inputs: list[Shape]) -> list[Shape]:
        (shape,) = inputs
        if len(shape) < 2 or self.group < 1 or shape[1] % self.group:
            raise ShapeError(f"the channels of {shape} do not divide by group {self.group}")
        return [shape]
