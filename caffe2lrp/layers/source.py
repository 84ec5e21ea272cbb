"""Layers that read nothing: a learned blob and a constant one."""

from __future__ import annotations

from dataclasses import dataclass

from caffe2lrp.layers.base import LayerParams, Shape, register


@dataclass(frozen=True)
class Source(LayerParams):
    """A layer without inputs, whose output is the same at every run."""

    input_count = (0, 0)

    shape: Shape

    def output_shapes(self, inputs: list[Shape]) -> list[Shape]:
        return [self.shape]


@register
@dataclass(frozen=True)
class Parameter(Source):
    """A learned blob."""

    type = "Parameter"

    def weight_shapes(self, inputs: list[Shape]) -> dict[str, Shape]:
        return {"value": self.shape}


@register
@dataclass(frozen=True)
class DummyData(Source):
    """A blob filled with one value."""

    type = "DummyData"

    value: float = 0.0
