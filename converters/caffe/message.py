"""The generic message: the values of one Caffe message, whatever kind of file they came from."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from caffe2lrp.converters.caffe.schema import SCHEMAS, Field, Schema


@dataclass(frozen=True, slots=True)
class Unknown:
    """A field (or enum value) that the table does not know: kept so that it can be reported."""

    name: str
    line: int | None = None


@dataclass(slots=True)
class Message:
    """Fields with presence, defaults and the lines they stood on.

    Attributes
    ----------
    schema
        The message's type.
    line
        1-based line where the message begins in a text file.
    values
        The values of each field that is present, in order; a field that is not repeated has one.
    unknown
        What the table does not know.
    spelled
        For layers: the type as the file spells it, before any upgrade.
    """

    schema: Schema = field(repr=False)
    line: int | None = None
    values: dict[str, list[Any]] = field(default_factory=dict)
    unknown: list[Unknown] = field(default_factory=list)
    spelled: str | None = None

    def has(self, name: str) -> bool:
        """Whether the file gave the field."""
        return bool(self.values.get(name))

    def get(self, name: str) -> Any:
        """Value of a field, or its default; an absent message is an empty one."""
        values = self.values.get(name)
        if values:
            return values[-1]
        known = self.schema.by_name[name]
        return Message(SCHEMAS[known.type]) if known.is_message else _default(known)

    def all(self, name: str) -> list[Any]:
        """Values of a repeated field."""
        return self.values.get(name, [])

    def set(self, name: str, value: Any) -> None:
        self.values[name] = [value]

    def add(self, name: str, value: Any) -> None:
        self.values.setdefault(name, []).append(value)

    def sub(self, name: str) -> Message:
        """The message in a field, created where there was none."""
        if not self.has(name):
            self.set(name, Message(SCHEMAS[self.schema.by_name[name].type], self.line))
        return self.values[name][-1]

    def array(self, name: str) -> np.ndarray:
        """Bulk data as one array; a view of the file where it was stored in one piece."""
        dtype = "<f8" if self.schema.by_name[name].type == "doubles" else "<f4"
        pieces = [np.asarray(piece, dtype) for piece in self.all(name)]
        if len(pieces) == 1 and pieces[0].ndim == 1:
            return pieces[0]
        return np.concatenate([np.atleast_1d(piece) for piece in pieces]) if pieces else np.empty(0, dtype)

    def merge(self, other: Message) -> None:
        """What protobuf does when a message that is not repeated occurs twice in a binary file."""
        for name, values in other.values.items():
            known = self.schema.by_name[name]
            if known.repeated:
                self.values.setdefault(name, []).extend(values)
            elif known.is_message and self.has(name):
                self.get(name).merge(values[-1])
            else:
                self.values[name] = values
        self.unknown.extend(other.unknown)

    def walk(self) -> Iterator[Message]:
        """This message and all below it."""
        stack = [self]
        while stack:
            message = stack.pop()
            yield message
            stack.extend(v for values in message.values.values() for v in values if isinstance(v, Message))


def new(name: str, /, **values: Any) -> Message:
    """A message of the named type; lists fill repeated fields, None leaves a field out."""
    message = Message(SCHEMAS[name])
    for key, value in values.items():
        if value is not None:
            message.values[key] = list(value) if isinstance(value, (list, tuple)) else [value]
    return message


def single(value: float) -> float:
    """A number as Caffe has it: rounded to single precision, also where the network runs in double precision.

    ``0.0001`` in a text file is 9.9999997e-05 to Caffe; in a network that runs in float64 the difference shows.
    """
    with np.errstate(over="ignore"):
        return float(np.float32(value))


def _default(known: Field) -> Any:
    return single(known.default) if known.type == "float" and known.default is not None else known.default
