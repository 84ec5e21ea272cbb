"""Entering a class into the tables of all rooms: layer types, reader and writer, engine, ONNX."""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Callable, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar, dataclass_transform

from caffe2lrp.converters.caffe import layers as caffe
from caffe2lrp.converters.caffe.message import Message
from caffe2lrp.converters.caffe.schema import ENUMS, SCHEMAS, Field
from caffe2lrp.converters.onnx.registry import EMITTERS, LEAST_OPSET, Emitter
from caffe2lrp.engine.registry import FORWARD, GRADIENT, RELEVANCE
from caffe2lrp.errors import ModelError, OptionError
from caffe2lrp.layers import REGISTRY
from caffe2lrp.layers.base import LayerParams
from caffe2lrp.plugin import fields
from caffe2lrp.plugin.blame import blamed, guarded
from caffe2lrp.plugin.layer import OwnLayer

if TYPE_CHECKING:
    from caffe2lrp.engine.backward import RelevancePlan
    from caffe2lrp.ir import Layer

_GUARDED = ("check_inputs", "output_shapes", "weight_shapes", "multiply_adds")

_Entry = tuple[dict[Any, Any], Any, Any]
"""A table, a key and what stands there, or None."""

_own: dict[str, list[_Entry]] = {}
"""For each type of a plug-in, what stood in the tables before."""

_T = TypeVar("_T", bound=type[OwnLayer])


@dataclass_transform(frozen_default=True)
def register_layer(
    type_name: str,
    *,
    param: str | None = None,
    number: int = 0,
    module: str | None = None,
    replace: bool = False,
) -> Callable[[_T], _T]:
    """Class decorator: make a subclass of `OwnLayer` the layer type `type_name`. See docs/own-layers.md.

    The class becomes a frozen dataclass: its annotated attributes are the layer's parameters.

    Parameters
    ----------
    type_name
        The type as prototxt files spell it, ``type: "Mish"``; for a Python layer, the name of its class.
    param
        Name of the layer's message with the parameters; the default is the type's name in Caffe's style, as in
        ``mish_param``. It may be one of Caffe's own, such as ``convolution_param``.
    number
        Number of that message in the fork's ``caffe.proto``, for caffemodels that are read without a prototxt.
        Fields in the message have the numbers 1, 2, 3, ... in the order of the attributes, or
        ``dataclasses.field(metadata={"number": 7})``.
    module
        For a Python layer (``type: "Python"``), the module of its class; parameters come from its ``param_str``.
    replace
        Whether a type that caffe2lrp has already is to be replaced.

    Raises
    ------
    OptionError
        If the class cannot be registered.
    """

    def register(cls: _T) -> _T:
        if not (isinstance(cls, type) and issubclass(cls, OwnLayer)):
            raise OptionError(f"{cls!r} cannot be the layer type '{type_name}': it must derive from caffe2lrp.OwnLayer")
        if type_name in REGISTRY and type_name not in _own and not replace:
            raise OptionError(
                f"caffe2lrp has a layer type '{type_name}' already: choose another name, or pass replace=True"
            )
        if not (_has(cls, "forward") or _has(cls, "add_forward")):
            raise OptionError(f"{cls.__name__} has neither forward nor add_forward, so '{type_name}' cannot be run")
        if "__dataclass_params__" not in vars(cls):
            dataclasses.dataclass(frozen=True)(cls)
        cls.type = type_name
        for name in _GUARDED:
            if getattr(cls, name) not in (getattr(LayerParams, name), getattr(OwnLayer, name, None)):
                setattr(cls, name, guarded(cls, name))
        fields.PLACES[cls] = fields.Place(param or fields.default_param(type_name), module)
        _enter(type_name, cls, number)
        return cls

    return register


def unregister_layer(type_name: str) -> None:
    """Forget a layer type of a plug-in; one that it replaced is back."""
    for table, key, before in reversed(_own.pop(type_name, [])):
        _set(table, key, before)


def registered_types() -> Mapping[str, type[LayerParams]]:
    """The layer types of plug-ins."""
    return {name: REGISTRY[name] for name in _own}


def _has(cls: type[OwnLayer], method: str) -> bool:
    return getattr(cls, method) is not getattr(OwnLayer, method)


def _set(table: dict[Any, Any], key: Any, value: Any) -> None:
    if value is None:
        table.pop(key, None)
    else:
        table[key] = value


def _enter(name: str, cls: type[OwnLayer], number: int) -> None:
    place = fields.PLACES[cls]
    unregister_layer(name)
    if name in REGISTRY:  # what is built in must be in the tables before it is replaced
        importlib.import_module("caffe2lrp.engine.layers")
        importlib.import_module("caffe2lrp.converters.onnx.layers")
    entries: list[_Entry] = [
        (REGISTRY, name, cls),
        (caffe._READERS, name, _reader(cls)),
        (FORWARD, name, _forward(cls)),
        (RELEVANCE, name, _backward(cls, "relevance")),
        (GRADIENT, name, _backward(cls, "gradient")),
        (EMITTERS, name, _emitter(cls)),
    ]
    if place.module is None:
        entries += _message_entries(name, cls, place.param, number)
    else:
        entries += [
            (caffe.PYTHON_LAYERS, (place.module, name), name),
            (caffe._WRITERS, name, ("python_param", partial(_write_python, place.module, name))),
        ]
    _own[name] = [(table, key, table.get(key)) for table, key, _ in entries]
    for entry in entries:
        _set(*entry)


# -- Caffe's files -----------------------------------------------------------------------------------


def _message_entries(name: str, cls: type, param: str, number: int) -> list[_Entry]:
    """The message that is made of the attributes, on top of Caffe's own one of that name if there is one."""
    layer = SCHEMAS["LayerParameter"]
    known, message = layer.by_name.get(param), f"{param} of {name}"
    definition = fields.Definition()
    definition.add(cls, message, SCHEMAS[known.type] if known else None)
    variant = layer.copy()
    variant.add(Field(param, number or (known.number if known else 0), message))
    return [
        *((SCHEMAS, key, schema) for key, schema in definition.schemas.items()),
        *((ENUMS, key, enum) for key, enum in definition.enums.items()),
        (layer.of_type, name, variant),
        (caffe._WRITERS, name, (param, partial(_write, message))),
    ]


def _reader(cls: type[OwnLayer]) -> caffe.Reader:
    def read(layer: Message, note: caffe.Note) -> LayerParams:
        with blamed("reading its parameters by its plug-in"):
            return cls.read(layer)

    return read


def _write(schema: str, params: OwnLayer) -> Message:
    return fields.message_for_file(schema, params.write())


def _write_python(module: str, name: str, params: OwnLayer) -> Message:
    values = {"module": module, "layer": name, "param_str": repr(params.write())}
    return fields.message_for_file("PythonParameter", values)


# -- the engine and ONNX -----------------------------------------------------------------------------


def _forward(cls: type[OwnLayer]) -> Callable[..., None]:
    if _has(cls, "add_forward"):
        return lambda plan, layer: _lower("add_forward", plan, layer)
    from caffe2lrp.plugin.running import add_forward

    return add_forward


def _backward(cls: type[OwnLayer], name: str) -> Callable[..., None] | None:
    if _has(cls, f"add_{name}"):
        return lambda plan, layer: _lower(f"add_{name}", plan, layer)
    if not _has(cls, name):
        return _no_gradient if name == "gradient" else None
    from caffe2lrp.plugin.running import add_backward

    return lambda plan, layer: add_backward(plan, layer, name)


def _no_gradient(plan: RelevancePlan, layer: Layer) -> None:
    raise ModelError(f"{layer}: its plug-in has no gradient method, which the gradient baselines need")


def _emitter(cls: type[OwnLayer]) -> Emitter | None:
    if not _has(cls, "to_onnx"):
        return None
    return Emitter(lambda graph, layer: _lower("to_onnx", graph, layer), LEAST_OPSET, single=False)


def _lower(method: str, target: Any, layer: Layer) -> None:
    with blamed(f"{layer}: {method} of its plug-in"):
        getattr(layer.params, method)(target, layer)
