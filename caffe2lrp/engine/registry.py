"""How layer types are run and explained: two tables from type to function, filled by decorators."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

from caffe2lrp.layers.base import LayerParams

if TYPE_CHECKING:
    from caffe2lrp.engine.backward import RelevancePlan
    from caffe2lrp.engine.plan import ForwardPlan
    from caffe2lrp.ir import Layer

FORWARD: dict[str, Callable[[ForwardPlan, Layer], None]] = {}
"""Functions that append a layer's forward pass to a plan, by layer type."""

RELEVANCE: dict[str, Callable[[RelevancePlan, Layer], None]] = {}
"""Functions that append a layer's relevance pass to a plan, by layer type."""

GRADIENT: dict[str, Callable[[RelevancePlan, Layer], None]] = {}
"""Functions that append a layer's derivative, for the types where it is not what relevance does."""

_F = TypeVar("_F", bound=Callable[..., None])


def forward(*types: type[LayerParams]) -> Callable[[_F], _F]:
    """Decorator: how these layer types are run."""

    def add(function: _F) -> _F:
        for t in types:
            FORWARD[t.type] = function
        return function

    return add


def relevance(*types: type[LayerParams]) -> Callable[[_F], _F]:
    """Decorator: how relevance goes through these layer types."""

    def add(function: _F) -> _F:
        for t in types:
            RELEVANCE[t.type] = function
        return function

    return add


def gradient(*types: type[LayerParams]) -> Callable[[_F], _F]:
    """Decorator: the derivative of these layer types."""

    def add(function: _F) -> _F:
        for t in types:
            GRADIENT[t.type] = function
        return function

    return add
