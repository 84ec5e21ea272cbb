"""Shapes of what comes from outside: the file's, or the caller's."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

from caffe2lrp.converters.caffe.inputs import InputShape
from caffe2lrp.converters.from_onnx.graph import Graph
from caffe2lrp.errors import ModelError, OptionError
from caffe2lrp.layers import Shape

if TYPE_CHECKING:
    import onnx


def input_shapes(graph: Graph, given: InputShape | None) -> dict[str, Shape]:
    """Shapes of the inputs by name.

    Parameters
    ----------
    graph
        The graph.
    given
        A shape for the first input, or shapes by name; they win over the file's. A batch size that is open in the
        file is 1.

    Raises
    ------
    ModelError
        If a shape is not known, or if an input does not hold numbers.
    OptionError
        If `given` is no shape or names what is no input.
    """
    if not graph.inputs:
        raise ModelError(f"{graph.file}: its outputs do not depend on any input")
    asked = _asked(graph, given)
    return {value.name: asked.get(value.name) or _stored(value, graph.file) for value in graph.inputs}


def _asked(graph: Graph, given: InputShape | None) -> dict[str, Shape]:
    names = [value.name for value in graph.inputs]
    if given is None:
        return {}
    asked = {k: tuple(v) for k, v in given.items()} if isinstance(given, Mapping) else {names[0]: tuple(given)}
    for name, shape in asked.items():
        if name not in names:
            raise OptionError(f"{graph.file} has no input '{name}'; its inputs are: {', '.join(names)}")
        if not shape or not all(isinstance(d, int) and d > 0 for d in shape):
            raise OptionError(f"input_shape must be positive whole numbers such as (1, 3, 224, 224), not {shape}")
    return asked


def _stored(value: onnx.ValueInfoProto, file: str) -> Shape:
    from onnx import TensorProto

    kind = value.type.tensor_type
    no_numbers = (TensorProto.STRING, TensorProto.BOOL, TensorProto.COMPLEX64, TensorProto.COMPLEX128)
    if not value.type.HasField("tensor_type") or kind.elem_type in no_numbers:
        raise ModelError(f"{file}: the input '{value.name}' is no array of numbers")
    if not kind.HasField("shape"):
        raise ModelError(f"{file}: the shape of the input '{value.name}' is open: give it with input_shape")
    sizes = [d.dim_value if d.HasField("dim_value") else None for d in kind.shape.dim]
    if sizes and not sizes[0]:
        sizes[0] = 1  # an open batch size; exporters write a name, 0 or -1
    shape = tuple(size or 0 for size in sizes)
    if not shape or min(shape) < 1:
        shown = ", ".join(str(d.dim_param or d.dim_value) for d in kind.shape.dim)
        raise ModelError(
            f"{file}: the shape of the input '{value.name}' is open, ({shown}): give it with input_shape, for example "
            "(1, 3, 224, 224)"
        )
    return shape
