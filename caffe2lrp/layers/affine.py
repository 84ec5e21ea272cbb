"""Scale and Bias: a learned factor and offset along some axes, or one taken from a second blob."""

from __future__ import annotations

from dataclasses import dataclass

from caffe2lrp.layers.base import LayerParams, Shape, ShapeError, canonical_axis, count, register


@dataclass(frozen=True)
class _Broadcast(LayerParams):
    axis: int = 1
    num_axes: int = 1

    input_count = (1, 2)

    def output_shapes(self, inputs: list[Shape]) -> list[Shape]:
        factor = self.factor_shape(inputs)
        axis = self._axis(inputs)
        if tuple(inputs[0][axis : axis + len(factor)]) != factor:
            raise ShapeError(f"second input {factor} does not fit the first, {inputs[0]}, from axis {self.axis} on")
        return [inputs[0]]

    def factor_shape(self, inputs: list[Shape]) -> Shape:
        """Shape of the factor or offset, learned or given by the second input."""
        if len(inputs) == 2:
            return inputs[1]
        axis = self._axis(inputs)
        return inputs[0][axis:] if self.num_axes == -1 else inputs[0][axis : axis + self.num_axes]

    def layout(self, inputs: list[Shape]) -> tuple[int, int, int]:
        """(outer, factor, inner): the input seen as three axes, the middle one being that of the factor."""
        axis = self._axis(inputs)
        stop = axis + len(self.factor_shape(inputs))
        return count(inputs[0], 0, axis), count(inputs[0], axis, stop), count(inputs[0], stop)

    def _axis(self, inputs: list[Shape]) -> int:
        # A scalar factor may stand at any axis, also behind the last one of a 1-D blob (scale_layer.cpp).
        return 0 if len(inputs) == 2 and inputs[1] == () else canonical_axis(self.axis, inputs[0])


@register
@dataclass(frozen=True)
class Scale(_Broadcast):
    """x * factor (+ bias), broadcast from `axis` on; the factor is learned or the second input."""

    type = "Scale"

    bias: bool = False

    def weight_shapes(self, inputs: list[Shape]) -> dict[str, Shape]:
        shape = self.factor_shape(inputs)
        shapes = {} if len(inputs) == 2 else {"scale": shape}
        return {**shapes, "bias": shape} if self.bias else shapes


@register
@dataclass(frozen=True)
class Bias(_Broadcast):
    """x + bias, broadcast from `axis` on; the bias is learned or the second input."""

    type = "Bias"

    def weight_shapes(self, inputs: list[Shape]) -> dict[str, Shape]:
        return {} if len(inputs) == 2 else {"bias": self.factor_shape(inputs)}
