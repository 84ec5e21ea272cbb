"""Embed: a learned vector for each index."""

from __future__ import annotations

from dataclasses import dataclass

from caffe2lrp.layers.base import LayerParams, Shape, register


@register
@dataclass(frozen=True)
class Embed(LayerParams):
    """Row x of the weight (+ bias), for whole numbers x held as floating-point numbers.

    It is an InnerProduct of one-hot vectors of length `input_dim`; the weight is (input_dim, num_output). The
    vectors are a new last axis.
    """

    type = "Embed"

    num_output: int
    input_dim: int
    bias: bool = True

    def indices(self, inputs: list[Shape]) -> dict[int, int]:
        return {0: self.input_dim}

    def output_shapes(self, inputs: list[Shape]) -> list[Shape]:
        return [(*inputs[0], self.num_output)]

    def weight_shapes(self, inputs: list[Shape]) -> dict[str, Shape]:
        shapes: dict[str, Shape] = {"weight": (self.input_dim, self.num_output)}
        if self.bias:
            shapes["bias"] = (self.num_output,)
        return shapes
