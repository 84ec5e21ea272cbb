"""Softmax and its logarithm along an axis."""

from __future__ import annotations

from dataclasses import dataclass

from caffe2lrp.layers.base import LayerParams, Shape, canonical_axis, count, register


@dataclass(frozen=True)
class _AlongAxis(LayerParams):
    axis: int = 1

    def output_shapes(self, inputs: list[Shape]) -> list[Shape]:
        canonical_axis(self.axis, inputs[0])
        return [inputs[0]]

    def layout(self, shape: Shape) -> tuple[int, int, int]:
        """(outer, classes, inner): the input seen as three axes, the middle one being normalised."""
        axis = canonical_axis(self.axis, shape)
        return count(shape, 0, axis), shape[axis], count(shape, axis + 1)


@register
@dataclass(frozen=True)
class Softmax(_AlongAxis):
    """exp(x - max) / sum along `axis`."""

    type = "Softmax"


@register
@dataclass(frozen=True)
class LogSoftmax(_AlongAxis):
    """x - max - log of the sum of exp(x - max) along `axis`. Caffe has it only inside of its loss; this is ONNX's."""

    type = "LogSoftmax"
