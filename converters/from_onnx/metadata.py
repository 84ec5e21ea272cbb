"""What caffe2lrp writes into an ONNX file besides the graph: preprocessing and class names, as JSON."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any

import numpy as np

from caffe2lrp.errors import Caffe2LrpError, FileFormatError
from caffe2lrp.preprocessing import Preprocessing

if TYPE_CHECKING:
    import onnx

PREPROCESSING, LABELS = "caffe2lrp.preprocessing", "caffe2lrp.labels"


def preprocessing(model: onnx.ModelProto, file: str) -> Preprocessing | None:
    """How an image becomes the input, if the file says so.

    Raises
    ------
    FileFormatError
        If what it says cannot be used.
    """
    value = _entry(model, PREPROCESSING, file)
    if value is None:
        return None
    try:
        return Preprocessing.from_dict(value, _mean_image(value))
    except (Caffe2LrpError, TypeError, ValueError, KeyError) as error:
        raise FileFormatError(f"{file}: its metadata {PREPROCESSING} cannot be used: {error}") from None


def _mean_image(value: dict[str, Any]) -> np.ndarray | None:
    """A mean that is an image: its shape, and base64 of little-endian float32."""
    mean = value.get("mean") if isinstance(value, dict) else None
    if not isinstance(mean, dict):
        return None
    return np.frombuffer(base64.b64decode(mean["float32"]), "<f4").reshape(mean["shape"])


def labels(model: onnx.ModelProto, file: str) -> list[str] | None:
    """Class names, if the file has some.

    Raises
    ------
    FileFormatError
        If they are no list of strings.
    """
    value = _entry(model, LABELS, file)
    if value is None:
        return None
    if not isinstance(value, list) or not all(isinstance(label, str) for label in value):
        raise FileFormatError(f"{file}: its metadata {LABELS} must be a list of strings")
    return value


def _entry(model: onnx.ModelProto, key: str, file: str) -> Any:
    for entry in model.metadata_props:
        if entry.key == key:
            try:
                return json.loads(entry.value)
            except (ValueError, RecursionError) as error:
                raise FileFormatError(f"{file}: its metadata {key} is no JSON: {error}") from None
    return None
