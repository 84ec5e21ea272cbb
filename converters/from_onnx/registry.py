"""How ONNX operators are read: a table from operator to reader, filled by a decorator."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from caffe2lrp.converters.from_onnx.node import Node

Reader = Callable[["Node"], None]

READERS: dict[str, Reader] = {}
"""Readers by operator; importing `caffe2lrp.converters.from_onnx.layers` fills the table."""

_R = TypeVar("_R", bound=Reader)


def reads(*operators: str) -> Callable[[_R], _R]:
    """Decorator: how these operators are read. A reader adds layers to the network by `Node.add`."""

    def enter(function: _R) -> _R:
        READERS.update(dict.fromkeys(operators, function))
        return function

    return enter
