"""Networks out to Caffe's files: a prototxt, and weights as a caffemodel of the newest generation or as HDF5."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from caffe2lrp.converters.caffe.files import PathLike
from caffe2lrp.converters.caffe.hdf5 import write_hdf5
from caffe2lrp.converters.caffe.layers import ParameterError, file_type, write_params
from caffe2lrp.converters.caffe.message import Message, new
from caffe2lrp.converters.caffe.naming import file_names, input_layers
from caffe2lrp.converters.caffe.schema import Field
from caffe2lrp.converters.caffe.wire import write_wire
from caffe2lrp.errors import FileFormatError, ModelError, OptionError
from caffe2lrp.ir import Layer, Network
from caffe2lrp.saving import check_target, replacing

HDF5_SUFFIXES = (".h5", ".hdf5")
LINE = 100
"""Longest line of a short message."""
MAX_BINARY = 2**31 - 1
"""Bytes of the largest binary file that Caffe reads: protobuf counts them in an ``int``."""


def save(network: Network, prototxt: PathLike | None = None, weights: PathLike | None = None) -> None:
    """Write a network as Caffe's files; the way back from `load`.

    Parameters
    ----------
    network
        The network. Layers run in place again where they did and still can. Weights are stored in single precision;
        labels and preprocessing have no place in Caffe's files.
    prototxt
        The net definition to write, if any.
    weights
        The weights to write, if any: HDF5 where the name ends in ``.h5`` or ``.hdf5``, else a caffemodel, which
        holds the definition, too. Files that exist are replaced, also the one that the network was read from.

    Raises
    ------
    OptionError
        If neither file is named, or both have the same name, or one has a name of the other kind.
    FileFormatError
        If a file cannot be written; what was there before in its place is unchanged then.
    ModelError
        If Caffe's files cannot hold the network.
    """
    if prototxt is None and weights is None:
        raise OptionError("name a prototxt, a weights file or both to write")
    kinds = ((prototxt, (".caffemodel", *HDF5_SUFFIXES), "net definition"), (weights, (".prototxt",), "weights file"))
    for path, others, kind in kinds:
        if path is not None and Path(path).suffix.lower() in others:
            raise OptionError(f"'{path}' is to be the {kind}, but a file of that name would be taken for another kind")
    targets = [check_target(path) for path in (prototxt, weights) if path is not None]
    if len(set(targets)) < len(targets):
        raise OptionError(f"'{prototxt}' cannot be both the net definition and the weights file")
    if weights is not None:
        write = write_hdf5 if Path(weights).suffix.lower() in HDF5_SUFFIXES else write_caffemodel
        write(network, weights)
    if prototxt is not None:
        write_prototxt(network, prototxt)


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
    with replacing(path) as draft:
        draft.write_text(text, encoding="utf-8")


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
        If the file cannot be written, or would be larger than Caffe can read.
    ModelError
        If two layers with weights have the same name, or Caffe has no such layer as one of the network's.
    """
    size = 4 * network.parameter_count
    if size > MAX_BINARY:
        raise FileFormatError(
            f"{path}: the weights have {size / 1e9:.1f} GB, and Caffe reads no binary file over 2 GB; write HDF5"
        )
    message = net_message(network, weights=True)
    with replacing(path) as draft, draft.open("wb") as file:
        file.writelines(write_wire(message))


# -- the message -----------------------------------------------------------------------------------


def net_message(network: Network, *, weights: bool = False) -> Message:
    """The network as a ``NetParameter``, with or without the weights."""
    names = file_names(network)
    net = new("NetParameter", name=network.name or None)
    for source in _input_messages(network, names):
        net.add("layer", source)
    network.weighted_layers()  # refuses what no reader could tell apart
    for layer in network.layers:
        net.add("layer", _layer_message(layer, names, weights))
    return net


def _input_messages(network: Network, names: Mapping[str, str]) -> list[Message]:
    """Input layers; neighbours of one name are one layer with several blobs, as the reader makes of old fields."""
    messages: list[Message] = []
    for blob, layer_name in input_layers(network).items():
        if not messages or messages[-1].get("name") != layer_name:
            messages.append(new("LayerParameter", name=layer_name, type="Input"))
        messages[-1].add("top", names[blob])
        messages[-1].sub("input_param").add("shape", new("BlobShape", dim=network.inputs[blob]))
    return messages


def _layer_message(layer: Layer, names: Mapping[str, str], weights: bool) -> Message:
    message = new(
        "LayerParameter",
        name=layer.name,
        type=file_type(layer.params),
        bottom=[names[blob] for blob in layer.inputs],
        top=[names[blob] for blob in layer.outputs],
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


# -- text ------------------------------------------------------------------------------------------


def _format(message: Message, depth: int) -> Iterator[str]:
    """Lines of a message in protobuf's text format."""
    indent = "  " * depth
    for name, values in message.values.items():
        known = message.schema.by_name[name]
        for value in _elements(known, values):
            if isinstance(value, Message):
                yield from _block(f"{indent}{name}", list(_format(value, depth + 1)), indent)
            else:
                yield f"{indent}{name}: {_scalar(known, value)}"


def _block(head: str, lines: list[str], indent: str) -> list[str]:
    """A message of its lines; on one line if all are of one field and fit, as people write the shape of an input."""
    short = " ".join([f"{head} {{", *map(str.strip, lines), "}"])
    fields = {line.split(maxsplit=1)[0] for line in lines}
    if len(fields) <= 1 and len(short) <= LINE:
        return [short]
    return [f"{head} {{", *lines, f"{indent}}}"]


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
        number = np.float32(value)
        return np.format_float_positional(number, trim="-") if 1e-6 < abs(number) < 1e6 or not number else str(number)
    return str(value)


_CHARACTERS = [chr(byte) if 32 <= byte < 127 and byte not in b'"\\' else f"\\{byte:03o}" for byte in range(256)]
