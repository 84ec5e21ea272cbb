"""ONNX files whose weights are never copied.

protobuf's own serialisers hold a model several times in memory. Here the structure of a model (an ordinary `ModelProto`
without weights) and its arrays are written one after the other into one stream, in which lengths are known beforehand;
the result is the same message.
"""

from __future__ import annotations

import io
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

if TYPE_CHECKING:
    import onnx

# Field numbers of onnx.proto.
_GRAPH, _INITIALIZER, _RAW_DATA = 7, 5, 9
_LENGTH_DELIMITED = 2


@dataclass
class Model:
    """A model: its structure without initializers, and the arrays of these by name."""

    structure: onnx.ModelProto
    arrays: dict[str, np.ndarray] = field(default_factory=dict)

    def to_bytes(self) -> bytes:
        """The whole model as one message, which must stay below 2 GB."""
        stream = io.BytesIO()
        write(stream, self)
        return stream.getvalue()


def write(stream: BinaryIO, model: Model) -> None:
    """Write a model as one message."""
    from onnx import ModelProto

    outer = ModelProto()
    outer.CopyFrom(model.structure)
    outer.ClearField("graph")
    graph = model.structure.graph.SerializeToString()
    heads = {name: _head(name, array) for name, array in model.arrays.items()}
    sizes = {name: len(heads[name]) + array.nbytes for name, array in model.arrays.items()}
    whole = len(graph) + sum(len(_key(_INITIALIZER, size)) + size for size in sizes.values())
    stream.write(outer.SerializeToString() + _key(_GRAPH, whole) + graph)
    for name, array in model.arrays.items():
        stream.write(_key(_INITIALIZER, sizes[name]) + heads[name])
        for piece in _pieces(array):
            stream.write(piece)


def _head(name: str, array: np.ndarray) -> bytes:
    """A TensorProto up to where its values begin."""
    from onnx import TensorProto, helper

    tensor = TensorProto(name=name, data_type=helper.np_dtype_to_tensor_dtype(array.dtype), dims=array.shape)
    return tensor.SerializeToString() + _key(_RAW_DATA, array.nbytes)


def _pieces(array: np.ndarray) -> Iterator[memoryview]:
    """The values as little-endian bytes; only arrays that are not contiguous are copied."""
    values = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    if values.size:
        yield values.reshape(-1).view(np.uint8).data


def _key(number: int, length: int) -> bytes:
    """Tag and length of a field, as protobuf writes them."""
    return _varint(number << 3 | _LENGTH_DELIMITED) + _varint(length)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
