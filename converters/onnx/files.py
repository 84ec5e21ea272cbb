"""ONNX files whose weights are never copied.

protobuf's own serialisers hold a model several times in memory. Here the structure of a model (an ordinary
`ModelProto`) and its arrays are kept apart. Writing puts them one after the other into one stream, in which all lengths
are known beforehand; the result is the same message. Reading leaves the arrays in the file: the structure refers to
them as external data, which onnxruntime maps into memory.
"""

from __future__ import annotations

import io
import mmap
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from caffe2lrp.errors import FileFormatError

if TYPE_CHECKING:
    import onnx

SMALL = 1024
"""Arrays of at most so many bytes stay in the structure: shape inference looks at some of them."""

# Field numbers and wire types of onnx.proto.
_IR_VERSION, _GRAPH, _INITIALIZER, _RAW_DATA = 1, 7, 5, 9
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_ALIGNMENT = 4096  # of arrays in a data file, so that they can be mapped


@dataclass
class Model:
    """A model: its structure without initializers, and the arrays of these by name."""

    structure: onnx.ModelProto
    arrays: dict[str, np.ndarray] = field(default_factory=dict)

    @property
    def nbytes(self) -> int:
        """Bytes of all arrays."""
        return sum(array.nbytes for array in self.arrays.values())

    def to_bytes(self) -> bytes:
        """The whole model as one message, which must stay below 2 GB."""
        stream = io.BytesIO()
        write(stream, self)
        return stream.getvalue()


# -- writing ---------------------------------------------------------------------------------------


def write(stream: BinaryIO, model: Model) -> None:
    """Write a model as one message."""
    from onnx import ModelProto

    outer = ModelProto()
    outer.CopyFrom(model.structure)
    outer.ClearField("graph")
    graph = model.structure.graph.SerializeToString()
    heads = {name: _tensor(name, array).SerializeToString() for name, array in model.arrays.items()}
    values = {name: _key(_RAW_DATA, array.nbytes) for name, array in model.arrays.items()}
    sizes = {name: len(heads[name]) + len(values[name]) + array.nbytes for name, array in model.arrays.items()}
    whole = len(graph) + sum(len(_key(_INITIALIZER, size)) + size for size in sizes.values())
    stream.write(outer.SerializeToString() + _key(_GRAPH, whole) + graph)
    for name, array in model.arrays.items():
        stream.write(_key(_INITIALIZER, sizes[name]) + heads[name] + values[name])
        stream.write(_bytes_of(array))


def write_data(stream: BinaryIO, arrays: Mapping[str, np.ndarray]) -> dict[str, int]:
    """Write arrays that are not small to a data file; returns where each begins."""
    offsets = {}
    for name, array in arrays.items():
        if array.nbytes > SMALL:
            stream.write(bytes(-stream.tell() % _ALIGNMENT))
            offsets[name] = stream.tell()
            stream.write(_bytes_of(array))
    return offsets


def with_references(model: Model, location: str, offsets: Mapping[str, int]) -> onnx.ModelProto:
    """The structure with initializers, of which those with an offset refer to a data file in the same folder."""
    from onnx import ModelProto

    whole = ModelProto()
    whole.CopyFrom(model.structure)
    for name, array in model.arrays.items():
        tensor = whole.graph.initializer.add()
        tensor.CopyFrom(_tensor(name, array))
        if name in offsets:
            _refer(tensor, location, offsets[name], array.nbytes)
        else:
            tensor.raw_data = bytes(_bytes_of(array))
    return whole


def _tensor(name: str, array: np.ndarray) -> onnx.TensorProto:
    """A tensor without its values."""
    from onnx import TensorProto, helper

    return TensorProto(name=name, data_type=helper.np_dtype_to_tensor_dtype(array.dtype), dims=array.shape)


def _refer(tensor: onnx.TensorProto, location: str, offset: int, length: int) -> None:
    tensor.data_location = tensor.EXTERNAL
    for key, value in (("location", location), ("offset", offset), ("length", length)):
        tensor.external_data.add(key=key, value=str(value))


def _bytes_of(array: np.ndarray) -> memoryview:
    """The values as little-endian bytes; only arrays that are not contiguous are copied."""
    values = np.ascontiguousarray(array, array.dtype.newbyteorder("<"))
    return values.reshape(-1).view(np.uint8).data


def _key(number: int, length: int) -> bytes:
    """Tag and length of a field, as protobuf writes them."""
    return _varint(number << 3 | _BYTES) + _varint(length)


def _varint(value: int) -> bytes:
    out = bytearray()
    while value >= 0x80:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)


# -- reading ---------------------------------------------------------------------------------------


def read_structure(path: str | os.PathLike[str]) -> onnx.ModelProto:
    """Read a model; what is not small stays in the file, to which its tensors refer.

    The result belongs to the file's folder: it has to be checked and run there.

    Raises
    ------
    FileFormatError
        If the file cannot be read or is no ONNX model.
    """
    from google.protobuf.message import DecodeError

    name = os.fspath(path)
    try:
        with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
            model = _model(data, Path(path).name)
    except OSError as error:
        raise FileFormatError(f"{name}: cannot read the file: {error.strerror or error}") from None
    except (DecodeError, ValueError, IndexError):
        raise FileFormatError(f"{name} is not an ONNX model, or is damaged") from None
    if not model.graph.node and not model.graph.output:
        raise FileFormatError(f"{name} is not an ONNX model: there is no graph in it")
    return model


def is_onnx(path: str | os.PathLike[str]) -> bool:
    """Whether a file begins like an ONNX model: with its version, where a caffemodel has the name of the net.

    A mean image begins with a number, too, but there a second one follows; a model goes on with strings and messages.
    """
    try:
        with open(path, "rb") as file:
            head = file.read(3)
            return head[:1] == bytes([_IR_VERSION << 3 | _VARINT]) and len(head) == 3 and head[2] & 7 == _BYTES
    except OSError as error:
        raise FileFormatError(f"{os.fspath(path)}: cannot read the file: {error.strerror or error}") from None


def _model(data: mmap.mmap, location: str) -> onnx.ModelProto:
    from onnx import ModelProto, TensorProto

    outer, inner, tensors = bytearray(), bytearray(), []
    for number, start, begin, end in _fields(data, 0, len(data)):
        if number != _GRAPH:
            outer += data[start:end]
            continue
        for number_, start_, begin_, end_ in _fields(data, begin, end):
            if number_ == _INITIALIZER:
                tensors.append((begin_, end_))
            else:
                inner += data[start_:end_]
    model = ModelProto.FromString(bytes(outer))
    model.graph.MergeFromString(bytes(inner))
    for begin, end in tensors:
        head = bytearray()
        place: tuple[int, int] | None = None
        for number, start, value, stop in _fields(data, begin, end):
            if number == _RAW_DATA and stop - value > SMALL:
                place = (value, stop - value)
            else:
                head += data[start:stop]
        tensor = TensorProto.FromString(bytes(head))
        if place is not None:
            _refer(tensor, location, *place)
        model.graph.initializer.append(tensor)
    return model


def _fields(data: mmap.mmap, position: int, stop: int) -> Iterator[tuple[int, int, int, int]]:
    """Number, start of the tag, start of the value and end of each field of a message."""
    while position < stop:
        start = position
        tag, position = _read_varint(data, position)
        length, kind = 0, tag & 7
        if kind == _VARINT:
            _, end = _read_varint(data, position)
        elif kind in (_FIXED64, _FIXED32):
            end = position + (8 if kind == _FIXED64 else 4)
        elif kind == _BYTES:
            length, position = _read_varint(data, position)
            end = position + length
        else:
            raise ValueError(f"wire type {kind}")
        if end > stop:
            raise ValueError("a field ends behind its message")
        yield tag >> 3, start, position, end
        position = end


def _read_varint(data: mmap.mmap, position: int) -> tuple[int, int]:
    value = shift = 0
    while shift < 64:
        byte = data[position]
        position += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, position
        shift += 7
    raise ValueError("a number is too long")
