"""Protobuf's binary format over one buffer: bulk data stays where it was read, as views."""

from __future__ import annotations

import ctypes
import struct
from typing import Any, NoReturn

import numpy as np

from caffe2lrp.converters.caffe.message import Message, Unknown, single
from caffe2lrp.converters.caffe.schema import ENUMS, SCHEMAS, Field, Schema
from caffe2lrp.errors import FileFormatError

VARINT, FIXED64, BYTES, FIXED32 = 0, 1, 2, 5
MAX_DEPTH = 64
MAX_PACKED = 1 << 20
"""Bytes of a packed field that is not bulk data; shapes and learning rates need a few."""

_WIRE_TYPE = {"float": FIXED32, "floats": FIXED32, "double": FIXED64, "doubles": FIXED64}
_SIZE = {"float": 4, "floats": 4, "double": 8, "doubles": 8}
_DTYPE = {"float": "<f4", "floats": "<f4", "double": "<f8", "doubles": "<f8"}


def read_wire(data: np.ndarray, schema: Schema, file: str) -> Message:
    """Read a message from its binary form.

    Parameters
    ----------
    data
        The whole file as ``uint8``; arrays in the result are views of it. If it may be written to, values are
        moved by up to seven bytes to align them, so the buffer is used up by reading.
    schema
        Type of the message.
    file
        Name of the file, for messages.

    Raises
    ------
    FileFormatError
        If the data end early or cannot be protobuf; the message names the offset.
    """
    return _Reader(data, file).message(schema, 0, data.size, 0)


def _element_type(known: Field) -> int:
    """Wire type of one value of the field."""
    if known.is_message or known.type in ("string", "bytes"):
        return BYTES
    return _WIRE_TYPE.get(known.type, VARINT)


class _Reader:
    def __init__(self, data: np.ndarray, file: str) -> None:
        self.data = data
        self.bytes = data.data
        self.file = file
        self.kept = 0
        """Where the last bytes end that a view of ours shows; all before it but views has served its purpose."""

    def fail(self, offset: int, what: str) -> NoReturn:
        raise FileFormatError(f"{self.file}: {what} (at byte {offset} of {self.data.size})")

    def message(self, schema: Schema, position: int, end: int, depth: int) -> Message:
        if depth > MAX_DEPTH:
            self.fail(position, f"messages are nested deeper than {MAX_DEPTH} levels")
        message = Message(schema)
        strangers: set[int] = set()
        while position < end:
            start = position
            tag, position = self.varint(position, end)
            number, wire_type = tag >> 3, tag & 7
            if number == 0:
                self.fail(start, "not a Caffe binary file: field number 0")
            value, stop = self.payload(wire_type, position, end, start)
            known = schema.by_number.get(number)
            if known is not None and self.accepts(known, wire_type):
                stop = self.store(message, known, wire_type, value, (start, position, stop, end, depth))
                if known.name == "type" and schema.of_type:  # it stands before all that depends on it
                    schema = message.schema = schema.variant(message.get("type"))
            elif number not in strangers:
                strangers.add(number)
                message.unknown.append(Unknown(f"field number {number}"))
            position = stop
        return message

    def varint(self, position: int, end: int) -> tuple[int, int]:
        result = shift = 0
        start = position
        while position < end:
            byte = self.bytes[position]
            position += 1
            result |= (byte & 0x7F) << shift
            if byte < 0x80:
                return result & 0xFFFFFFFFFFFFFFFF, position
            shift += 7
            if shift > 63:
                self.fail(start, "not a Caffe binary file: a number is longer than 10 bytes")
        self.fail(start, "the file is truncated inside a number, or it is not a Caffe binary file")

    def payload(self, wire_type: int, position: int, end: int, start: int) -> tuple[int, int]:
        """(value of a varint or start of the bytes, where the next field begins)."""
        if wire_type == VARINT:
            return self.varint(position, end)
        if wire_type == BYTES:
            length, position = self.varint(position, end)
        elif wire_type in (FIXED32, FIXED64):
            length = 4 if wire_type == FIXED32 else 8
        else:
            self.fail(start, f"not a Caffe binary file: a field with wire type {wire_type}")
        if length > end - position:
            self.fail(
                start,
                f"the file is truncated or damaged: a field of {length} bytes where {end - position} are left. "
                "Download or copy it again",
            )
        return position, position + length

    @staticmethod
    def accepts(known: Field, wire_type: int) -> bool:
        """Whether the field may have this wire type; as in protobuf, others make it an unknown field."""
        element = _element_type(known)
        return wire_type == element or (known.repeated and wire_type == BYTES and element != BYTES)

    def store(
        self, message: Message, known: Field, wire_type: int, value: int, place: tuple[int, int, int, int, int]
    ) -> int:
        """Add a field's value to the message; return where the next field begins."""
        start, position, stop, end, depth = place
        if known.is_message:
            child = self.message(SCHEMAS[known.type], value, stop, depth + 1)
            if message.has(known.name) and not known.repeated:
                message.get(known.name).merge(child)
            else:
                message.add(known.name, child)
        elif known.is_bulk:
            array, stop = self.bulk(known, wire_type, value, (start, position, stop, end))
            message.add(known.name, array)
        elif wire_type == BYTES and _element_type(known) != BYTES:
            message.values.setdefault(known.name, []).extend(self.packed(known, value, stop))
        else:
            scalar = self.scalar(known, value, stop)
            if known.repeated:
                message.add(known.name, scalar)
            else:
                message.set(known.name, scalar)
        return stop

    def bulk(
        self, known: Field, wire_type: int, value: int, place: tuple[int, int, int, int]
    ) -> tuple[np.ndarray, int]:
        start, position, stop, end = place
        size, dtype = _SIZE[known.type], np.dtype(_DTYPE[known.type])
        if wire_type == BYTES:
            if (stop - value) % size:
                self.fail(start, f"{stop - value} bytes of '{known.name}' are no whole number of {size}-byte values")
            value, count = self.aligned(value, stop, size), (stop - value) // size
            array = np.frombuffer(self.data, dtype, count, value)
            self.kept = value + array.nbytes
        else:
            # One tag a value: all values up to the first other tag are read at once.
            record = position - start + size
            count = self.run(start, position, end, record)
            stop = start + count * record
            array = np.ndarray((count,), dtype, self.data, position, (record,)).copy()
        if self.data.flags.writeable and not array.flags.aligned:
            array = array.copy()
        array.flags.writeable = False
        return array, stop

    def aligned(self, position: int, stop: int, size: int) -> int:
        """Move values down to an aligned address, over their own tag and length, and return their new place.

        Files do not align anything, but compiled kernels take unaligned arrays for another type and would be
        compiled twice. Moving costs a fraction of reading and no memory. A few values next to other values stay.
        """
        shift = (self.data.ctypes.data + position) % size
        if not shift or not self.data.flags.writeable or position - shift < self.kept:
            return position
        address = self.data.ctypes.data + position
        ctypes.memmove(address - shift, address, stop - position)
        return position - shift

    def run(self, start: int, position: int, end: int, record: int) -> int:
        """How many records in a row begin with the tag at start..position."""
        tag = self.data[start:position]
        limit, count, block = (end - start) // record, 1, 64
        while count < limit:
            step = min(block, limit - count)
            offset = start + count * record
            tags = np.ndarray((step, tag.size), np.uint8, self.data, offset, (record, 1))
            same = (tags == tag).all(axis=1)
            if not same.all():
                return count + int(np.argmin(same))
            count += step
            block = min(block * 4, 1 << 20)
        return count

    def packed(self, known: Field, position: int, stop: int) -> list[Any]:
        if stop - position > MAX_PACKED:
            self.fail(position, f"'{known.name}' has {stop - position} bytes, far more than any network needs")
        if known.type in _SIZE:
            if (stop - position) % _SIZE[known.type]:
                self.fail(position, f"'{known.name}' is no whole number of values")
            array = np.frombuffer(self.data, _DTYPE[known.type], (stop - position) // _SIZE[known.type], position)
            return [single(v) for v in array] if known.type == "float" else array.tolist()
        values = []
        while position < stop:
            value, position = self.varint(position, stop)
            values.append(_from_varint(known, value))
        return values

    def scalar(self, known: Field, value: int, stop: int) -> Any:
        if known.type == "float":
            return single(struct.unpack_from("<f", self.bytes, value)[0])
        if known.type == "double":
            return struct.unpack_from("<d", self.bytes, value)[0]
        if known.type == "bytes":
            self.kept = stop
            return self.data[value:stop]
        if known.type == "string":
            raw = bytes(self.bytes[value:stop])
            try:
                return raw.decode()
            except UnicodeDecodeError:
                return raw.decode("latin-1")
        return _from_varint(known, value)


def _from_varint(known: Field, value: int) -> Any:
    if known.type == "bool":
        return value != 0
    if known.type == "uint":
        return value
    signed = value - (1 << 64) if value >= 1 << 63 else value
    if known.type in ENUMS:
        return next((name for name, number in ENUMS[known.type].items() if number == signed), str(signed))
    return signed


# -- writing ---------------------------------------------------------------------------------------


def write_wire(message: Message) -> list[Any]:
    """The binary form of a message, as pieces (bytes and array buffers) to be written one after the other.

    Arrays are not copied: their own memory is among the pieces.
    """
    return _encode(message)[0]


def _encode(message: Message) -> tuple[list[Any], int]:
    pieces: list[Any] = []
    size = 0
    by_number = sorted(message.values, key=lambda name: message.schema.by_name[name].number)
    for name in by_number:
        known = message.schema.by_name[name]
        for piece, length in _encode_field(known, message, message.values[name]):
            pieces.extend(piece)
            size += length
    return pieces, size


def _encode_field(known: Field, message: Message, values: list[Any]) -> list[tuple[list[Any], int]]:
    if known.is_bulk:
        return [_delimited(known, *_array_bytes(message.array(known.name)))]
    if known.is_message:
        return [_delimited(known, *_encode(value)) for value in values]
    if known.packed:
        raw = b"".join(_encode_scalar(known, value) for value in values)
        return [_delimited(known, [raw], len(raw))]
    if known.type in ("string", "bytes"):
        encoded = [value.encode() if isinstance(value, str) else bytes(value) for value in values]
        return [_delimited(known, [raw], len(raw)) for raw in encoded]
    tag = _varint(known.number << 3 | _element_type(known))
    return [([tag + raw], len(tag) + len(raw)) for raw in (_encode_scalar(known, value) for value in values)]


def _array_bytes(array: np.ndarray) -> tuple[list[Any], int]:
    array = np.ascontiguousarray(array)
    return [array.view(np.uint8).reshape(-1).data], array.nbytes


def _delimited(known: Field, pieces: list[Any], size: int) -> tuple[list[Any], int]:
    head = _varint(known.number << 3 | BYTES) + _varint(size)
    return [head, *pieces], len(head) + size


def _encode_scalar(known: Field, value: Any) -> bytes:
    if known.type in ("float", "double"):
        return struct.pack("<f" if known.type == "float" else "<d", value)
    if known.type in ENUMS:
        value = ENUMS[known.type].get(value, value)
    return _varint(int(value))


def _varint(value: int) -> bytes:
    value &= 0xFFFFFFFFFFFFFFFF
    out = bytearray()
    while value > 0x7F:
        out.append(value & 0x7F | 0x80)
        value >>= 7
    out.append(value)
    return bytes(out)
