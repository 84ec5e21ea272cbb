"""Networks out to Caffe's files: a prototxt and a caffemodel of the newest generation."""

from __future__ import annotations

import math
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

import numpy as np

from caffe2lrp.converters.caffe.files import PathLike
from caffe2lrp.converters.caffe.layers import ParameterError, file_type, write_params
from caffe2lrp.converters.caffe.message import Message, new
from caffe2lrp.converters.caffe.schema import Field
from caffe2lrp.converters.caffe.wire import write_wire
from caffe2lrp.errors import FileFormatError, ModelError
from caffe2lrp.ir import Layer, Network


def write_prototxt(network: Network, path: PathLike) -> None:
    """Write a net definition.

    Parameters
    ----------
    network
        The network. Its blobs get their Caffe names, so that layers run in place again where they did.
    path
        The file to write.

    Raises
    ------
    FileFormatError
        If the file cannot be written.
    ModelError
        If Caffe has no such layer as one of the network's.
    """
    text = "\n".join(_format(net_message(network), 0)) + "\n"
    try:
        Path(path).write_text(text, encoding="utf-8")
    except OSError as error:
        raise _unwritable(path, error) from None


def write_caffemodel(network: Network, path: PathLike) -> None:
    """Write a net definition with its weights in Caffe's binary form.

    Parameters
    ----------
    network
        The network.
    path
        The file to write. It may be the one that the weights were read from.

    Raises
    ------
    FileFormatError
        If the file cannot be written.
    ModelError
        If Caffe has no such layer as one of the network's.
    """
    message = net_message(network, weights=True)
    try:
        with open(path, "wb") as file:
            file.writelines(write_wire(message))
    except OSError as error:
        raise _unwritable(path, error) from None


def _unwritable(path: PathLike, error: OSError) -> FileFormatError:
    return FileFormatError(f"{os.fspath(path)}: cannot write the file: {error.strerror or error}")


# -- the message -----------------------------------------------------------------------------------


def net_message(network: Network, *, weights: bool = False) -> Message:
    """The network as a ``NetParameter``, with or without the weights."""
    name = _file_names(network)
    net = new("NetParameter", name=network.name or None)
    for blob, shape in network.inputs.items():
        source = new("LayerParameter", name=_input_layer(network, blob), type="Input", top=name(blob))
        source.set("input_param", new("InputParameter", shape=new("BlobShape", dim=shape)))
        net.add("layer", source)
    for layer in network.layers:
        net.add("layer", _layer_message(layer, name, weights))
    return net


def _layer_message(layer: Layer, name: Callable[[str], str], weights: bool) -> Message:
    message = new(
        "LayerParameter",
        name=layer.name,
        type=file_type(layer.params),
        bottom=[name(blob) for blob in layer.inputs],
        top=[name(blob) for blob in layer.outputs],
    )
    if weights:
        message.values["blobs"] = [
            new("BlobProto", shape=new("BlobShape", dim=array.shape), data=[_flat(array)])
            for array in layer.weights.values()
        ]
    message.schema = message.schema.variant(layer.type)
    try:
        param = write_params(layer.params)
    except ParameterError as error:
        raise ModelError(f"{layer}: {error}; the net cannot be written as a Caffe file") from None
    if param is not None:
        message.set(*param)
        if weights and not message.schema.by_name[param[0]].number:
            raise FileFormatError(f"{layer}: no binary file can hold its parameters, as {param[0]} has no field number")
    return message


def _flat(array: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(array, np.float32).reshape(math.prod(array.shape))


def _file_names(network: Network) -> Callable[[str], str]:
    """How blobs are called in the file: by Caffe's names if a reader would then find the same values again."""
    return network.caffe_name if _reads_back(network) else lambda blob: blob


def _input_layer(network: Network, blob: str) -> str:
    """Name of the layer for an input: the one that the name of an overwritten blob speaks of, if it is one."""
    caffe_name = network.caffe_name(blob)
    return blob.removeprefix(f"{caffe_name}@") or caffe_name


def _reads_back(network: Network) -> bool:
    """Whether Caffe's blob names lead to the network's own values, and to its own names for them."""
    current: dict[str, str] = {}
    writers: dict[str, str] = {}
    for blob in network.inputs:
        if network.caffe_name(blob) in current:
            return False
        current[network.caffe_name(blob)] = blob
        writers[blob] = _input_layer(network, blob)
    for layer in network.layers:
        bottoms = [network.caffe_name(blob) for blob in layer.inputs]
        if any(current.get(bottom) != blob for bottom, blob in zip(bottoms, layer.inputs, strict=True)):
            return False
        for index, blob in enumerate(layer.outputs):
            top = network.caffe_name(blob)
            if top in current and bottoms[index : index + 1] != [top]:
                return False
            current[top], writers[blob] = blob, layer.name
    finals = set(current.values())
    return all(
        blob == (network.caffe_name(blob) if blob in finals else f"{network.caffe_name(blob)}@{writer}")
        for blob, writer in writers.items()
    )


# -- text ------------------------------------------------------------------------------------------


def _format(message: Message, depth: int) -> Iterator[str]:
    """Lines of a message in protobuf's text format."""
    indent = "  " * depth
    for name, values in message.values.items():
        known = message.schema.by_name[name]
        for value in _elements(known, values):
            if isinstance(value, Message):
                yield f"{indent}{name} {{"
                yield from _format(value, depth + 1)
                yield f"{indent}}}"
            else:
                yield f"{indent}{name}: {_scalar(known, value)}"


def _elements(known: Field, values: list[Any]) -> Iterable[Any]:
    if known.is_bulk:
        return (value for array in values for value in np.ravel(array))
    return values


def _scalar(known: Field, value: Any) -> str:
    if known.type in ("string", "bytes"):
        raw = value.encode() if isinstance(value, str) else bytes(value)
        return '"' + "".join(_CHARACTERS[byte] for byte in raw) + '"'
    if known.type == "bool":
        return "true" if value else "false"
    if known.type == "float":  # the shortest decimal that means the same single-precision number
        return str(np.float32(value))
    return str(value)


_CHARACTERS = [chr(byte) if 32 <= byte < 127 and byte not in b'"\\' else f"\\{byte:03o}" for byte in range(256)]
