"""ArgMax: the places or the values of the largest inputs."""

from __future__ import annotations

from dataclasses import dataclass

from caffe2lrp.layers.base import LayerParams, Shape, ShapeError, canonical_axis, count, register


@register
@dataclass(frozen=True)
class ArgMax(LayerParams):
    """The `top_k` largest values, in falling order; of equal ones the last in the blob comes first.

    Attributes
    ----------
    top_k
        How many.
    out_max_val
        Without an axis: (N, 2, top_k) with the indices and then the values, instead of (N, 1, top_k) with the
        indices. With an axis: the values instead of the indices.
    axis
        The axis to look along; None looks at all values of an image.
    """

    type = "ArgMax"

    out_max_val: bool = False
    top_k: int = 1
    axis: int | None = None

    def output_shapes(self, inputs: list[Shape]) -> list[Shape]:
        (shape,) = inputs
        _, size, _ = self.layout(shape)
        if not 1 <= self.top_k <= size:
            raise ShapeError(f"top_k is {self.top_k}, but there are {size} values to choose from in {shape}")
        if self.axis is None:
            return [(shape[0], 2 if self.out_max_val else 1, self.top_k, *(1,) * (len(shape) - 3))]
        axis = canonical_axis(self.axis, shape)
        return [(*shape[:axis], self.top_k, *shape[axis + 1 :])]

    def layout(self, shape: Shape) -> tuple[int, int, int]:
        """(outer, size, inner): the input seen as three axes, the middle one being looked along."""
        if self.axis is None:
            canonical_axis(0, shape)
            return shape[0], count(shape, 1), 1
        axis = canonical_axis(self.axis, shape)
        return count(shape, 0, axis), shape[axis], count(shape, axis + 1)
