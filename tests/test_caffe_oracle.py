"""An independent reader to test against: google.protobuf with a private pool made from our own table."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from caffe2lrp.converters.caffe.files import read_bytes
from caffe2lrp.converters.caffe.message import Message
from caffe2lrp.converters.caffe.schema import ENUMS, SCHEMAS, Field
from caffe2lrp.converters.caffe.text import read_text
from caffe2lrp.converters.caffe.wire import read_wire

pytest.importorskip("google.protobuf")
from google.protobuf import descriptor_pb2, descriptor_pool, message_factory, text_format

TYPES = {
    "int": descriptor_pb2.FieldDescriptorProto.TYPE_INT64,
    "uint": descriptor_pb2.FieldDescriptorProto.TYPE_UINT64,
    "float": descriptor_pb2.FieldDescriptorProto.TYPE_FLOAT,
    "floats": descriptor_pb2.FieldDescriptorProto.TYPE_FLOAT,
    "double": descriptor_pb2.FieldDescriptorProto.TYPE_DOUBLE,
    "doubles": descriptor_pb2.FieldDescriptorProto.TYPE_DOUBLE,
    "bool": descriptor_pb2.FieldDescriptorProto.TYPE_BOOL,
    "string": descriptor_pb2.FieldDescriptorProto.TYPE_STRING,
    "bytes": descriptor_pb2.FieldDescriptorProto.TYPE_BYTES,
}


def describe(field: Field, proto: Any) -> None:
    """Fill a field descriptor from a line of the table."""
    proto.name, proto.number = field.name, field.number
    proto.label = proto.LABEL_REPEATED if field.repeated else proto.LABEL_OPTIONAL
    proto.options.packed = field.packed
    if field.type in TYPES:
        proto.type = TYPES[field.type]
    else:
        proto.type = proto.TYPE_ENUM if field.type in ENUMS else proto.TYPE_MESSAGE
        proto.type_name = f".oracle.{field.type}"


@cache
def oracle(name: str) -> Any:
    """The google.protobuf class of a message of the table."""
    file = descriptor_pb2.FileDescriptorProto(name="oracle.proto", package="oracle", syntax="proto2")
    for enum, values in ENUMS.items():
        # Enum values share the namespace of their enum's scope, so each enum gets a message around it.
        proto = file.message_type.add(name=f"In{enum}").enum_type.add(name=enum)
        for value, number in values.items():
            proto.value.add(name=value, number=number)
    for schema in SCHEMAS.values():
        message = file.message_type.add(name=schema.name)
        for field in schema.by_number.values():
            describe(field, proto := message.field.add())
            if field.type in ENUMS:
                proto.type_name = f".oracle.In{field.type}.{field.type}"
    pool = descriptor_pool.DescriptorPool()
    pool.Add(file)
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"oracle.{name}"))


def plain(message: Message) -> dict[str, Any]:
    """Our message as dictionaries, lists and arrays."""
    out: dict[str, Any] = {}
    for name, values in message.values.items():
        field = message.schema.by_name[name]
        if field.is_bulk:
            out[name] = message.array(name)
        else:
            listed = [plain(v) if isinstance(v, Message) else v for v in values]
            out[name] = listed if field.repeated else listed[-1]
    return out


def plain_oracle(message: Any) -> dict[str, Any]:
    """The oracle's message in the same form."""
    out: dict[str, Any] = {}
    for descriptor, value in message.ListFields():
        field = SCHEMAS[message.DESCRIPTOR.name].by_name[descriptor.name]
        if field.is_bulk:
            out[field.name] = np.array(value, "<f8" if field.type == "doubles" else "<f4")
            continue
        listed = [_element(field, v) for v in (value if field.repeated else [value])]
        out[field.name] = listed if field.repeated else listed[0]
    return out


def _element(field: Field, value: Any) -> Any:
    if field.is_message:
        return plain_oracle(value)
    if field.type in ENUMS:
        return next(name for name, number in ENUMS[field.type].items() if number == value)
    return float(np.float32(value)) if field.type == "float" else value


def same(ours: Any, theirs: Any) -> bool:
    """Whether two plain trees are equal, bit by bit."""
    if isinstance(theirs, dict):
        return ours.keys() == theirs.keys() and all(same(ours[key], theirs[key]) for key in theirs)
    if isinstance(theirs, list):
        return len(ours) == len(theirs) and all(map(same, ours, theirs))
    if isinstance(theirs, np.ndarray):
        return ours.dtype == theirs.dtype and ours.tobytes() == theirs.tobytes()
    if isinstance(theirs, bytes):
        return bytes(ours) == theirs
    return bool(ours == theirs) or repr(ours) == repr(theirs) == "nan"


def read_with_oracle(path: Path, name: str = "NetParameter") -> Any:
    """Read a binary or text file with google.protobuf."""
    message, raw = oracle(name)(), path.read_bytes()
    if path.suffix == ".prototxt":
        return text_format.Parse(raw.decode(), message)
    message.ParseFromString(raw)
    return message


def test_every_real_binary_reads_as_google_reads_it(shared: Path) -> None:
    paths = sorted((shared / "models").glob("*/*.caffemodel"))
    assert len(paths) >= 8
    for path in paths:
        if path.stat().st_size < 6e6:  # lists of floats are slow
            ours = read_wire(read_bytes(path), SCHEMAS["NetParameter"], path.name)
            assert same(plain(ours), plain_oracle(read_with_oracle(path))), path


def test_every_real_text_reads_as_google_reads_it(shared: Path) -> None:
    paths = [*(shared / "models").glob("*/*.prototxt"), *(shared / "golden" / "prototxt").glob("*.prototxt")]
    assert len(paths) >= 25
    for path in paths:
        ours = read_text(path.read_text(), SCHEMAS["NetParameter"], path.name)
        assert same(plain(ours), plain_oracle(read_with_oracle(path))), path
        assert not any(message.unknown for message in ours.walk())


def test_mean_image_reads_as_google_reads_it(shared: Path) -> None:
    path = shared / "models" / "cifar10_full_v1" / "mean.binaryproto"
    ours = read_wire(read_bytes(path), SCHEMAS["BlobProto"], path.name)
    assert same(plain(ours), plain_oracle(read_with_oracle(path, "BlobProto")))
