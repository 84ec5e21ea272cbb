"""What every layer type is: typed parameters, a shape rule, the weights it needs, and its cost.

A layer type is a frozen dataclass derived from `LayerParams` and registered with `@register`. It knows
nothing of files or kernels. The same name is found in the other rooms: ``kernels`` (arithmetic),
``caffe2lrp.engine`` (how a plan runs and explains it), ``converters`` (formats), ``tests/naive.py``.
"""

from __future__ import annotations

import dataclasses
import math
from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar, TypeVar

Shape = tuple[int, ...]


class ShapeError(ValueError):
    """Shapes do not fit a layer; `caffe2lrp.ir` adds the layer's name and place."""


@dataclasses.dataclass(frozen=True)
class LayerParams(ABC):
    """Base class of all layer types."""

    type: ClassVar[str]
    """Caffe's name of the type."""
    input_count: ClassVar[tuple[int, int | None]] = (1, 1)
    """Least and greatest number of inputs; None is no limit."""
    selectors: ClassVar[tuple[int, ...]] = ()
    """Positions of inputs that only say which values are taken: neither relevance nor gradient goes to them."""

    def check_inputs(self, inputs: list[Shape]) -> None:
        """Raise `ShapeError` unless the number of inputs fits."""
        low, high = self.input_count
        if len(inputs) < low or (high is not None and len(inputs) > high):
            wanted = str(low) if low == high else f"at least {low}" if high is None else f"{low} to {high}"
            raise ShapeError(f"needs {wanted} input blob(s) but has {len(inputs)}")

    def carriers(self, inputs: Sequence[str]) -> list[str]:
        """Those of the inputs' names that values come from: all but the `selectors`."""
        chosen = {position % len(inputs) for position in self.selectors}
        return [name for position, name in enumerate(inputs) if position not in chosen]

    def indices(self, inputs: list[Shape]) -> dict[int, int]:
        """Positions of inputs that hold indices, and how many different ones these may be (0, 1, ...)."""
        return {}

    @abstractmethod
    def output_shapes(self, inputs: list[Shape]) -> list[Shape]:
        """Shapes of the outputs, by Caffe's rule."""

    def weight_shapes(self, inputs: list[Shape]) -> dict[str, Shape]:
        """Names and shapes of the weights, in the order in which Caffe stores their blobs."""
        return {}

    def multiply_adds(self, inputs: list[Shape], outputs: list[Shape]) -> int:
        """Multiply-adds of one forward pass; 0 for layers without products of weights."""
        return 0

    def __str__(self) -> str:
        parts = []
        for f in dataclasses.fields(self):
            value = getattr(self, f.name)
            if f.default is dataclasses.MISSING or value != f.default:
                parts.append(f"{f.name}={_short(value)}")
        return " ".join([self.type, *parts])


def _short(value: object) -> str:
    if isinstance(value, tuple) and value and all(v == value[0] for v in value):
        return _short(value[0])
    if isinstance(value, float):
        return f"{value:g}"
    if isinstance(value, tuple):
        return "x".join(map(_short, value))
    return str(value)


REGISTRY: dict[str, type[LayerParams]] = {}
"""All layer types by Caffe's name."""

_T = TypeVar("_T", bound=type[LayerParams])


def register(cls: _T) -> _T:
    """Class decorator: add a layer type to the registry."""
    REGISTRY[cls.type] = cls
    return cls


def canonical_axis(axis: int, shape: Shape) -> int:
    """`axis` counted from the front; negative values count from the end."""
    if not -len(shape) <= axis < len(shape):
        raise ShapeError(f"axis {axis} does not exist in an input of shape {shape}")
    return axis % len(shape)


def count(shape: Shape, start: int = 0, stop: int | None = None) -> int:
    """Number of values in the dimensions start..stop of a shape."""
    return math.prod(shape[start:stop])
