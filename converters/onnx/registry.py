"""How layer types are written as ONNX: a table from type to emitter, filled by a decorator."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from caffe2lrp.ir import Layer
from caffe2lrp.layers.base import LayerParams

if TYPE_CHECKING:
    from caffe2lrp.converters.onnx.graph import GraphBuilder

Emit = Callable[["GraphBuilder", Layer], None]


@dataclass(frozen=True)
class Emitter:
    """How one layer type is written.

    Attributes
    ----------
    emit
        Appends the layer's nodes to a graph.
    opset
        The least opset that has the operators needed.
    single
        Whether the layer is computed in single precision in a model of half precision, because its intermediate
        values leave the range of float16 (squares and powers).
    """

    emit: Emit
    opset: int
    single: bool


EMITTERS: dict[str, Emitter] = {}
"""Emitters by layer type; importing `caffe2lrp.converters.onnx.layers` fills the table."""

LEAST_OPSET = 13
"""The oldest opset that is written. Before it, axes and splits were attributes and not inputs."""

_E = TypeVar("_E", bound=Emit)


def emits(*types: type[LayerParams], opset: int = LEAST_OPSET, single: bool = False) -> Callable[[_E], _E]:
    """Decorator: how these layer types are written; see `Emitter` for the options."""

    def enter(function: _E) -> _E:
        EMITTERS.update({t.type: Emitter(function, opset, single) for t in types})
        return function

    return enter
