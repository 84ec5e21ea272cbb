"""The binary format: views instead of copies, every encoding of floats, and damage of all sorts."""

from __future__ import annotations

import struct
from contextlib import suppress
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caffe2lrp.converters.caffe.message import Message, new
from caffe2lrp.converters.caffe.schema import ENUMS, SCHEMAS, Field
from caffe2lrp.converters.caffe.weights import blob_of
from caffe2lrp.converters.caffe.wire import read_wire, write_wire
from caffe2lrp.errors import FileFormatError
from tests.test_caffe_oracle import oracle, plain, plain_oracle, same

NET, BLOB = SCHEMAS["NetParameter"], SCHEMAS["BlobProto"]


def read(raw: bytes, schema: Any = NET) -> Message:
    return read_wire(np.frombuffer(raw, np.uint8), schema, "net.caffemodel")


def varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])


def delimited(number: int, raw: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(raw)) + raw


def scalars(kind: str) -> st.SearchStrategy[Any]:
    if kind in ENUMS:
        return st.sampled_from(list(ENUMS[kind]))
    return {
        "int": st.integers(-(1 << 63), (1 << 63) - 1),
        "uint": st.integers(0, (1 << 64) - 1),
        "float": st.floats(width=32).map(lambda v: float(np.float32(v))),
        "double": st.floats(),
        "bool": st.booleans(),
        "string": st.text(max_size=8),
        "bytes": st.binary(max_size=8),
        "floats": st.lists(st.floats(width=32), min_size=1, max_size=4).map(lambda v: np.array(v, "<f4")),
        "doubles": st.lists(st.floats(), min_size=1, max_size=4).map(lambda v: np.array(v, "<f8")),
    }[kind]


@st.composite
def messages(draw: Any, name: str, depth: int = 0) -> Message:
    """A message of the table with random fields and values."""
    message = Message(SCHEMAS[name])
    fields: list[Field] = [f for f in SCHEMAS[name].by_number.values() if depth < 2 or not f.is_message]
    for field in draw(st.lists(st.sampled_from(fields), max_size=4, unique=True)) if fields else []:
        element = messages(field.type, depth + 1) if field.is_message else scalars(field.type)
        most = 3 if field.repeated and not field.is_bulk else 1
        message.values[field.name] = draw(st.lists(element, min_size=1, max_size=most))
    return message


@settings(max_examples=100, deadline=None)
@given(st.sampled_from(sorted(SCHEMAS)).flatmap(messages))
def test_what_we_write_google_reads_and_the_other_way_round(message: Message) -> None:
    raw = b"".join(bytes(piece) for piece in write_wire(message))
    theirs = oracle(message.schema.name)()
    theirs.ParseFromString(raw)
    expected = plain_oracle(theirs)
    assert same(plain(message), expected)
    assert same(plain(read(raw, message.schema)), expected)
    again = read(theirs.SerializeToString(), message.schema)
    assert same(plain(again), expected)


def test_packed_floats_are_views_of_the_file() -> None:
    raw = np.frombuffer(delimited(5, np.arange(5, dtype="<f4").tobytes()), np.uint8)
    array = read_wire(raw, BLOB, "x").array("data")
    assert np.shares_memory(array, raw)
    assert not array.flags.writeable
    np.testing.assert_array_equal(array, np.arange(5))


def test_views_of_a_buffer_of_our_own_are_aligned() -> None:
    rng = np.random.default_rng(0)
    for sizes in ((1, 2, 3), (100, 1, 1, 31, 32, 33), (0, 5, 0, 5000)):
        arrays = [(name, rng.standard_normal(n).astype("<f4")) for n in sizes for name in ("data", "diff")]
        for offset in range(4):
            raw = b"".join(delimited(5 if name == "data" else 6, a.tobytes()) for name, a in arrays)
            doubles = rng.standard_normal(offset + 1)
            raw += delimited(8, doubles.tobytes()) + delimited(12, b"raw") + delimited(6, b"")
            buffer = np.frombuffer(b"\0" * offset + raw, np.uint8).copy()
            message = read_wire(buffer[offset:], BLOB, "x")
            for name in ("data", "diff"):
                expected = np.concatenate([a for n, a in arrays if n == name])
                np.testing.assert_array_equal(message.array(name), expected)
                assert all(piece.flags.aligned for piece in message.all(name))
            np.testing.assert_array_equal(message.array("double_data"), doubles)
            assert bytes(message.get("raw_data")) == b"raw"


def test_unpacked_floats_and_doubles() -> None:
    values = np.random.default_rng(0).standard_normal(1000)
    floats = b"".join(b"\x2d" + struct.pack("<f", v) for v in values)
    message = read(floats + b"\x08\x01" + floats, BLOB)
    np.testing.assert_array_equal(message.array("data"), np.tile(values.astype(np.float32), 2))
    assert message.get("num") == 1
    doubles = b"".join(b"\x41" + struct.pack("<d", v) for v in values)
    np.testing.assert_array_equal(read(doubles, BLOB).array("double_data"), values)


def test_data_in_several_pieces_are_joined() -> None:
    raw = delimited(5, struct.pack("<2f", 1, 2)) + b"\x2d" + struct.pack("<f", 3) + delimited(5, struct.pack("<f", 4))
    np.testing.assert_array_equal(read(raw, BLOB).array("data"), [1, 2, 3, 4])


@pytest.mark.parametrize(("kind", "dtype"), [("FLOAT16", "<f2"), ("FLOAT", "<f4"), ("DOUBLE", "<f8")])
def test_raw_data_of_nvcaffe(kind: str, dtype: str) -> None:
    values = np.array([0.5, -2, 1024], dtype)
    raw = b"".join(write_wire(new("BlobProto", raw_data_type=kind, raw_data=values.tobytes(), shape=shape(3))))
    blob = blob_of(read(raw, BLOB), "blob")
    np.testing.assert_array_equal(blob.values, [0.5, -2, 1024])
    assert blob.values.dtype == np.float32


def shape(*dims: int) -> Message:
    return new("BlobShape", dim=dims)


def test_double_data_become_single() -> None:
    blob = blob_of(read(delimited(8, struct.pack("<2d", 0.1, 2)), BLOB), "blob")
    np.testing.assert_array_equal(blob.values, np.array([0.1, 2], np.float32))


@pytest.mark.parametrize(
    ("message", "problem"),
    [
        (new("BlobProto", shape=shape(2, 3), data=np.zeros((1, 5), "f4")), r"shape \(2, 3\) but 5 values"),
        (new("BlobProto", shape=shape(-1, -5), data=np.zeros((1, 5), "f4")), r"shape \(-1, -5\) but 5 values"),
        (new("BlobProto", num=1, channels=2, height=3, width=4), r"\(1, 2, 3, 4\) but 0 values"),
        (new("BlobProto", raw_data_type="INT", raw_data=b"1234"), "stored as INT"),
        (new("BlobProto", raw_data_type="FLOAT", raw_data=b"12345"), "5 bytes, which is no whole number"),
    ],
)
def test_blobs_that_contradict_themselves(message: Message, problem: str) -> None:
    message.values = {k: list(v) for k, v in message.values.items()}
    with pytest.raises(FileFormatError, match=problem):
        blob_of(message, "blob 0 of layer 'conv'")


def test_unknown_fields_and_other_wire_types_are_reported_not_fatal() -> None:
    raw = delimited(1, b"net") + delimited(777, b"?") + varint(888 << 3) + b"\x01" + varint(1 << 3 | 0) + b"\x05"
    message = read(raw)
    assert message.get("name") == "net"
    assert [u.name for u in message.unknown] == ["field number 777", "field number 888", "field number 1"]


def test_a_message_given_twice_is_merged() -> None:
    two = delimited(6, b"\x08\x00") + delimited(6, b"\x10\x07")
    state = read(two).get("state")
    assert (state.get("phase"), state.get("level")) == ("TRAIN", 7)


@pytest.mark.parametrize(
    ("raw", "schema", "problem"),
    [
        (b"\x0a\x05abc", NET, "truncated or damaged: a field of 5 bytes where 3 are left.*at byte 0 of 5"),
        (b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", NET, "truncated or damaged"),
        (b"\x0a", NET, "truncated inside a number"),
        (b"\x20\x80", NET, "truncated inside a number"),
        (b"\x20" + b"\xff" * 11, NET, "longer than 10 bytes"),
        (b"\x00\x00", NET, "field number 0"),
        (b"\x0b\x0c", NET, "wire type 3"),
        (b"\x0e", NET, "wire type 6"),
        (b"\x0f", NET, "wire type 7"),
        (b"\x2d\x00\x00", BLOB, "a field of 4 bytes where 2 are left"),
        (b"\x2a\x03\x00\x00\x00", BLOB, "3 bytes of 'data' are no whole number"),
        (delimited(7, delimited(1, b"\x01" * (2 << 20))), BLOB, "far more than any network needs"),
        (delimited(2, delimited(7, b"\x00" * 5)), NET, "'blobs_lr' is no whole number"),
    ],
)
def test_damage_is_named_with_its_place(raw: bytes, schema: Any, problem: str) -> None:
    with pytest.raises(FileFormatError, match=problem) as caught:
        read(raw, schema)
    assert "net.caffemodel: " in str(caught.value)
    assert "at byte" in str(caught.value)


def test_no_message_of_the_table_contains_itself() -> None:
    """Nesting is bounded by the table, so hostile depth lies in unknown fields, which are not opened."""
    raw = b""
    for _ in range(10_000):
        raw = delimited(999, raw)[-100_000:]
    read(delimited(998, raw))


@settings(max_examples=300, deadline=None)
@given(st.binary(max_size=80), st.sampled_from(["NetParameter", "BlobProto", "LayerParameter"]))
def test_any_bytes_are_read_or_refused(raw: bytes, name: str) -> None:
    with suppress(FileFormatError):
        read(raw, SCHEMAS[name])
