"""InnerProduct: the fully connected layer."""

from __future__ import annotations

from dataclasses import dataclass

from caffe2lrp.layers.base import LayerParams, Shape, canonical_axis, count, register


@register
@dataclass(frozen=True)
class InnerProduct(LayerParams):
    """Fully connected layer: all dimensions from `axis` on are flattened into one.

    The weight is kept as (num_output, K); a file that stores it transposed is turned on import.
    """

    type = "InnerProduct"

    num_output: int
    bias: bool = True
    axis: int = 1

    def output_shapes(self, inputs: list[Shape]) -> list[Shape]:
        return [(*inputs[0][: canonical_axis(self.axis, inputs[0])], self.num_output)]

    def weight_shapes(self, inputs: list[Shape]) -> dict[str, Shape]:
        k = count(inputs[0], canonical_axis(self.axis, inputs[0]))
        shapes: dict[str, Shape] = {"weight": (self.num_output, k)}
        if self.bias:
            shapes["bias"] = (self.num_output,)
        return shapes

    def multiply_adds(self, inputs: list[Shape], outputs: list[Shape]) -> int:
        return count(outputs[0]) * count(inputs[0], canonical_axis(self.axis, inputs[0]))
