"""Attributes of a plug-in's class as fields of a Caffe message, and as the param_str of a Python layer."""

from __future__ import annotations

import dataclasses
import re
import types
import typing
from typing import Any, Literal

from caffe2lrp.converters.caffe.layers import ParameterError
from caffe2lrp.converters.caffe.message import Message, single
from caffe2lrp.converters.caffe.param_str import read_param_str
from caffe2lrp.converters.caffe.schema import SCHEMAS, Field, Schema
from caffe2lrp.errors import OptionError

_KINDS = {int: "int", float: "float", bool: "bool", str: "string"}


@dataclasses.dataclass(frozen=True)
class Place:
    """Where the parameters of a type stand: in a message of the layer, or in a Python layer's string."""

    param: str
    module: str | None = None


PLACES: dict[type, Place] = {}
"""Of each registered class."""


def default_param(type_name: str) -> str:
    """Name of the message that Caffe's style gives a type: ``mish_param`` for Mish, ``roi_pooling_param``."""
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", type_name)
    return f"{words.lower()}_param"


# -- the message -----------------------------------------------------------------------------------


@dataclasses.dataclass
class Definition:
    """Message types and enums made of dataclasses, by name."""

    schemas: dict[str, Schema] = dataclasses.field(default_factory=dict)
    enums: dict[str, dict[str, int]] = dataclasses.field(default_factory=dict)

    def add(self, cls: type, name: str, base: Schema | None = None) -> None:
        """Make a message type that has a field for each attribute of a dataclass.

        Parameters
        ----------
        cls
            The dataclass.
        name
            Name of the message type.
        base
            A message type that has some of the fields already; they are taken over.
        """
        schema = self.schemas[name] = base.copy(name) if base else Schema(name)
        for number, attribute in enumerate(_attributes(cls), 1):
            if attribute.name not in schema.by_name:
                wanted = attribute.metadata.get("number", 0 if base else number)
                schema.add(self._field(cls, attribute, wanted, f"{name}.{attribute.name}"))

    def _field(self, cls: type, attribute: Any, number: int, name: str) -> Field:
        kind, repeated = _kind(_hints(cls)[attribute.name]), False
        if typing.get_origin(kind) is tuple:
            kind, repeated = typing.get_args(kind)[0], True
        default = None if attribute.default is dataclasses.MISSING or repeated else attribute.default
        if typing.get_origin(kind) is Literal:
            self.enums[name] = {str(value): i for i, value in enumerate(typing.get_args(kind))}
            return Field(attribute.name, number, name, repeated, default=default)
        if dataclasses.is_dataclass(kind):
            self.add(typing.cast(type, kind), name)
            return Field(attribute.name, number, name, repeated)
        if kind not in _KINDS:
            raise OptionError(
                f"{cls.__name__}.{attribute.name}: a parameter must be an int, float, bool, str, Literal, dataclass, "
                f"or a tuple of one of these, not {kind}"
            )
        return Field(attribute.name, number, _KINDS[kind], repeated, default=default)


def _hints(cls: type) -> dict[str, Any]:
    """Types of a class's attributes."""
    try:
        return typing.get_type_hints(cls)
    except NameError as error:
        raise OptionError(f"{cls.__name__}: an attribute's type is not known: {error}") from None


def _attributes(cls: Any) -> list[Any]:
    return [attribute for attribute in dataclasses.fields(cls) if attribute.init]


def _kind(hint: Any) -> Any:
    """The type that an attribute has unless it is None."""
    if typing.get_origin(hint) in (typing.Union, types.UnionType):
        rest = [kind for kind in typing.get_args(hint) if kind is not type(None)]
        return rest[0] if len(rest) == 1 else hint
    return hint


# -- reading ---------------------------------------------------------------------------------------


def values_of(cls: type, layer: Message) -> dict[str, Any]:
    """Values of a class's attributes out of a layer's message; those that the file does not give are left out."""
    place = PLACES[cls]
    if place.module is not None:
        given = read_param_str(layer.get("python_param").get("param_str"))
        values = {a.name: _frozen(given[a.name]) for a in _attributes(cls) if a.name in given}
    else:
        values = _from_message(cls, layer.get(place.param))
    missing = [a.name for a in _attributes(cls) if a.name not in values and _is_required(a)]
    if missing:
        raise ParameterError(f"{place.param} lacks {', '.join(missing)}")
    return values


def _is_required(attribute: Any) -> bool:
    return attribute.default is dataclasses.MISSING and attribute.default_factory is dataclasses.MISSING


def _from_message(cls: Any, message: Message) -> dict[str, Any]:
    hints = _hints(cls)
    values: dict[str, Any] = {}
    for attribute in _attributes(cls):
        if not message.has(attribute.name):
            if isinstance(attribute.default, float):  # which Caffe has in single precision
                values[attribute.name] = single(attribute.default)
            continue
        kind = _kind(hints[attribute.name])
        if typing.get_origin(kind) is tuple:
            element = typing.get_args(kind)[0]
            values[attribute.name] = tuple(_value(element, value) for value in message.all(attribute.name))
        else:
            values[attribute.name] = _value(kind, message.get(attribute.name))
    return values


def _value(kind: Any, value: Any) -> Any:
    return kind(**_from_message(kind, value)) if isinstance(value, Message) else value


def _frozen(value: Any) -> Any:
    return tuple(map(_frozen, value)) if isinstance(value, list) else value


# -- writing ---------------------------------------------------------------------------------------


def values_for_file(params: Any) -> dict[str, Any]:
    """Values of all attributes that are not None."""
    values = {a.name: getattr(params, a.name) for a in _attributes(type(params))}
    return {name: value for name, value in values.items() if value is not None}


def message_for_file(schema: str, values: dict[str, Any]) -> Message:
    """The message with these values; dataclasses become messages of their own."""
    message = Message(SCHEMAS[schema])
    for name, value in values.items():
        kind = message.schema.by_name[name].type
        listed = value if isinstance(value, (list, tuple)) else [value]
        message.values[name] = [
            message_for_file(kind, values_for_file(v)) if dataclasses.is_dataclass(v) else v for v in listed
        ]
    return message
