"""ONNX files: telling them from others, and reading them with their external data."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from caffe2lrp.converters.caffe.files import PathLike
from caffe2lrp.errors import FileFormatError

if TYPE_CHECKING:
    import onnx

_IR_VERSION = 0x08  # tag of field 1 of a ModelProto, a number; what follows are strings and messages
_LENGTH_DELIMITED = 2


def is_onnx(path: PathLike) -> bool:
    """Whether a file is ONNX, by its content or its suffix; a file that cannot be read is whatever its suffix says.

    A model begins with its IR version. Of Caffe's files a mean image (BlobProto) begins with a number, too, but a
    second one follows there.
    """
    if Path(os.fspath(path)).suffix.lower() == ".onnx":
        return True
    try:
        with open(path, "rb") as file:
            head = file.read(3)
    except OSError:
        return False
    return len(head) == 3 and head[0] == _IR_VERSION and head[1] < 0x80 and head[2] & 7 == _LENGTH_DELIMITED


def read_model(path: PathLike, *, weights: bool = True) -> onnx.ModelProto:
    """Read a model.

    Parameters
    ----------
    path
        The file. External data are looked for in its folder.
    weights
        Whether external data are read; else such tensors stay without values.

    Raises
    ------
    FileFormatError
        If the file or its external data cannot be read, or if it is no ONNX model.
    """
    import onnx
    from google.protobuf.message import DecodeError
    from onnx import external_data_helper

    name = os.fspath(path)
    try:
        model = onnx.load_model(name, format="protobuf", load_external_data=False)
    except OSError as error:
        raise FileFormatError(f"{name}: cannot read the file: {error.strerror or error}") from None
    except DecodeError:
        raise FileFormatError(
            f"{name}: is truncated, damaged or no ONNX file (of more than 2 GB none can be: such weights belong "
            "into external data)"
        ) from None
    if not model.HasField("graph"):
        raise FileFormatError(f"{name}: there is no ONNX graph in this file")
    if weights:
        try:
            external_data_helper.load_external_data_for_model(model, os.path.dirname(os.path.abspath(name)))
        except (OSError, ValueError, RuntimeError, onnx.checker.ValidationError) as error:
            raise FileFormatError(f"{name}: its external data cannot be read: {error}") from None
    if model.functions:
        model = _inlined(model, name)
    return model


def _inlined(model: onnx.ModelProto, name: str) -> onnx.ModelProto:
    """The model with its own functions replaced by what they are made of."""
    from onnx import inliner

    try:
        return inliner.inline_local_functions(model)
    except Exception as error:  # the inliner passes on whatever its C++ code throws
        raise FileFormatError(f"{name}: its functions cannot be resolved: {error}") from None
