"""ONNX files: telling them from others, and reading them; weights are left in the file until they are needed."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from caffe2lrp.converters.caffe.files import PathLike
from caffe2lrp.converters.from_onnx.node import ReadError
from caffe2lrp.converters.onnx import files
from caffe2lrp.errors import FileFormatError

if TYPE_CHECKING:
    import onnx


def is_onnx(path: PathLike) -> bool:
    """Whether a file is ONNX, by its suffix or its content."""
    return Path(os.fspath(path)).suffix.lower() == ".onnx" or (os.path.isfile(path) and files.is_onnx(path))


def read_model(path: PathLike) -> onnx.ModelProto:
    """Read a model; large tensors stay in the file, or in external data beside it, and `stored` reads them.

    Raises
    ------
    FileFormatError
        If the file cannot be read or is no ONNX model.
    """
    model = files.read_structure(path)
    return _inlined(model, os.fspath(path)) if model.functions else model


def _inlined(model: onnx.ModelProto, name: str) -> onnx.ModelProto:
    """The model with its own functions replaced by what they are made of."""
    from onnx import inliner

    try:
        return inliner.inline_local_functions(model)
    except Exception as error:  # the inliner passes on whatever its C++ code throws
        raise FileFormatError(f"{name}: its functions cannot be resolved: {error}") from None


def stored(tensor: onnx.TensorProto, folder: str, *, weights: bool = True) -> np.ndarray:
    """The values of a tensor.

    Parameters
    ----------
    tensor
        The tensor, as `read_model` leaves it.
    folder
        Folder of the model, where external data are.
    weights
        Whether large tensors are read; else they are zeros that take no memory, and so are others that are missing.

    Raises
    ------
    ReadError
        If the values cannot be read or do not fit the shape.
    """
    from onnx import TensorProto, checker, numpy_helper

    dims = tuple(tensor.dims)
    if min(dims, default=1) < 0:
        raise ReadError(f"the stored tensor '{tensor.name}' has the impossible shape {dims}")
    outside = tensor.data_location == TensorProto.EXTERNAL
    large = np.prod(np.array(dims, np.float64)) > files.SMALL
    if outside and large and not weights:
        return np.broadcast_to(np.float32(0), dims)
    try:
        whole = TensorProto()
        whole.CopyFrom(tensor)  # which takes up the values, and is gone at the end
        return numpy_helper.to_array(whole, folder).reshape(dims)
    except (OSError, ValueError, TypeError, KeyError, RuntimeError, checker.ValidationError) as error:
        if outside and not weights:
            return np.broadcast_to(np.float32(0), dims)
        raise ReadError(f"the stored tensor '{tensor.name}' of shape {dims} cannot be read: {error}") from None
