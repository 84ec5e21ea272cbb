"""Stored weights: blobs of a caffemodel or of an HDF5 file, by layer name."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from caffe2lrp.converters.caffe.message import Message
from caffe2lrp.errors import FileFormatError
from caffe2lrp.layers import Shape

_RAW_DTYPES = {"DOUBLE": "<f8", "FLOAT": "<f4", "FLOAT16": "<f2"}


@dataclass(frozen=True, slots=True)
class Blob:
    """A stored blob: its values in one dimension, and its shape as the file gives it."""

    shape: Shape
    values: np.ndarray

    def fits(self, shape: Shape) -> bool:
        """Whether the shapes are the same but for leading ones, which the 4-D blobs of old files have."""
        return _core(self.shape) == _core(shape)


@dataclass(frozen=True, slots=True)
class Weights:
    """All blobs of a file, by layer name.

    None stands for a blob that the file leaves out, because the layer shares it with one that stores it.
    """

    file: str
    layers: dict[str, list[Blob | None]]


def _core(shape: Shape) -> Shape:
    first = next((i for i, d in enumerate(shape) if d != 1), len(shape))
    return tuple(shape[first:])


def blob_of(message: Message, place: str) -> Blob:
    """A ``BlobProto`` as an array, not copied where it is single precision.

    Parameters
    ----------
    message
        The ``BlobProto``.
    place
        What it is and where, for messages.

    Raises
    ------
    FileFormatError
        If the number of values is not what the shape says.
    """
    values = _values(message, place)
    shape = _shape(message, values)
    if any(d < 0 for d in shape) or math.prod(shape) != values.size:
        raise FileFormatError(f"{place} has the shape {shape} but {values.size} values")
    return Blob(shape, values)


def _values(message: Message, place: str) -> np.ndarray:
    if message.has("double_data"):
        return message.array("double_data").astype(np.float32)
    if message.has("data") or not message.has("raw_data"):
        return message.array("data").astype(np.float32, copy=False)
    kind = message.get("raw_data_type")
    if kind not in _RAW_DTYPES:
        raise FileFormatError(f"{place} is stored as {kind}; only DOUBLE, FLOAT and FLOAT16 are understood")
    raw, dtype = message.get("raw_data"), np.dtype(_RAW_DTYPES[kind])
    if len(raw) % dtype.itemsize:
        raise FileFormatError(f"{place} has {len(raw)} bytes, which is no whole number of {kind} values")
    return np.frombuffer(raw, dtype).astype(np.float32, copy=False)


def _shape(message: Message, values: np.ndarray) -> Shape:
    if message.has("shape"):
        return tuple(message.get("shape").all("dim"))
    legacy = ("num", "channels", "height", "width")
    if any(message.has(name) for name in legacy):
        return tuple(message.get(name) for name in legacy)
    return (values.size,)


def from_layers(layers: Iterable[Message], file: str) -> Weights:
    """The weights that layer messages carry.

    Where several layers have one name, the first with blobs counts.
    """
    found: dict[str, list[Blob | None]] = {}
    for layer in layers:
        name = layer.get("name")
        if layer.has("blobs") and name not in found:
            places = (f"{file}: blob {index} of layer '{name}'" for index in range(len(layer.all("blobs"))))
            found[name] = [blob_of(blob, place) for blob, place in zip(layer.all("blobs"), places, strict=True)]
    return Weights(file, found)
