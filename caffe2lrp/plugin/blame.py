"""Whatever goes wrong inside a plug-in becomes one error that says where."""

from __future__ import annotations

import functools
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from caffe2lrp.converters.caffe.layers import ParameterError
from caffe2lrp.errors import Caffe2LrpError, ModelError
from caffe2lrp.layers.base import Shape, ShapeError


class PluginError(ModelError, ShapeError):
    """The code of a plug-in failed, or returned what cannot be used."""


@contextmanager
def blamed(what: str) -> Iterator[None]:
    """Turn any error within the block into a `PluginError`, except those that are meant for the user already.

    Parameters
    ----------
    what
        Whose code it is, for example ``layer 'a' (Mish, net.prototxt:3)``.
    """
    try:
        yield
    except (Caffe2LrpError, ShapeError, ParameterError):
        raise
    except Exception as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{last.filename}:{last.lineno}"
        raise PluginError(f"{what} fails: {type(error).__name__}: {error} ({place})") from error


def guarded(cls: type, name: str) -> Callable[..., Any]:
    """A method of a plug-in's class that raises `PluginError` only, and whose result has been checked."""
    method = getattr(cls, name)

    @functools.wraps(method)
    def call(self: Any, *arguments: Any) -> Any:
        with blamed(f"{name} of its plug-in"):
            result = method(self, *arguments)
        if name == "output_shapes":
            return [_shape(shape, name) for shape in _listed(result, name)]
        if name == "weight_shapes":
            if not isinstance(result, dict):
                raise PluginError(f"{name} of its plug-in returned {result!r}, which is no dict of shapes")
            return {key: _shape(shape, name) for key, shape in result.items()}
        return result

    return call


def _listed(result: Any, name: str) -> list[Any]:
    if not isinstance(result, list):
        raise PluginError(f"{name} of its plug-in returned {result!r}, which is no list of shapes")
    return result


def _shape(shape: Any, name: str) -> Shape:
    try:
        return tuple(int(d) for d in shape)
    except (TypeError, ValueError):
        raise PluginError(f"{name} of its plug-in returned {shape!r} where a shape was expected") from None
