"""How layer types are run and explained: two tables from type to function, filled by decorators."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from caffe2lrp.layers.base import LayerParams

FORWARD: dict[str, Callable[..., None]] = {}
"""Functions f(ForwardPlan, Layer) that append a layer's forward pass to a plan, by layer type."""

RELEVANCE: dict[str, Callable[..., None]] = {}
"""Functions f(RelevancePlan, Layer) that append a layer's relevance pass to a plan, by layer type."""

GRADIENT: dict[str, Callable[..., None]] = {}
"""Functions that append a layer's derivative, for the types where it is not what relevance does."""

_F = TypeVar("_F", bound=Callable[..., None])


def forward(*types: type[LayerParams]) -> Callable[[_F], _F]:
    """Decorator: how these layer types are run."""
    return _enter(FORWARD, types)


def relevance(*types: type[LayerParams]) -> Callable[[_F], _F]:
    """Decorator: how relevance goes through these layer types."""
    return _enter(RELEVANCE, types)


def gradient(*types: type[LayerParams]) -> Callable[[_F], _F]:
    """Decorator: the derivative of these layer types."""
    return _enter(GRADIENT, types)


def _enter(table: dict[str, Callable[..., None]], types: tuple[type[LayerParams], ...]) -> Callable[[_F], _F]:
    def enter(function: _F) -> _F:
        table.update({t.type: function for t in types})
        return function

    return enter
