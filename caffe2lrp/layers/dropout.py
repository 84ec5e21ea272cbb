"""Dropout: the identity when a trained network is run."""

from __future__ import annotations

from dataclasses import dataclass

from caffe2lrp.layers.base import LayerParams, Shape, register


@register
@dataclass(frozen=True)
class Dropout(LayerParams):
    """The identity; Caffe rescales at training time."""

    type = "Dropout"

    ratio: float = 0.5

    def output_shapes(self, inputs: list[Shape]) -> list[Shape]:
        return [inputs[0]]
