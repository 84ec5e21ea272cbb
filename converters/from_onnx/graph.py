"""The graph of a model: what comes from outside, and the nodes that lead to the outputs, in order."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING

from caffe2lrp.errors import FileFormatError, ModelError

if TYPE_CHECKING:
    import onnx

DOMAINS = ("", "ai.onnx")
"""Names for ONNX's own operators."""


@dataclass(frozen=True)
class Graph:
    """What of a model is read.

    Attributes
    ----------
    file
        Name of the file, for messages.
    name
        Name of the graph.
    opset
        Version of the operators.
    inputs
        What comes from outside.
    constants
        Stored tensors by name.
    nodes
        Nodes that lead to the outputs, each behind those that it reads from.
    outputs
        Names of the tensors that the model gives.
    notes
        What was left out.
    """

    file: str
    name: str
    opset: int
    inputs: Sequence[onnx.ValueInfoProto]
    constants: Mapping[str, onnx.TensorProto]
    nodes: Sequence[onnx.NodeProto]
    outputs: Sequence[str]
    notes: Sequence[str] = ()


def read_graph(model: onnx.ModelProto, file: str) -> Graph:
    """The graph of a model.

    Raises
    ------
    FileFormatError
        If the graph contradicts itself: no nodes or outputs, a tensor that is written twice, names that are no text,
        sparse weights.
    ModelError
        If its nodes form a cycle.
    """
    proto = model.graph
    if not proto.node or not proto.output:
        raise FileFormatError(f"{file}: its graph has no {'outputs' if proto.node else 'nodes'}")
    if proto.sparse_initializer:
        raise FileFormatError(f"{file}: holds sparse weights, which are not supported: store them as ordinary tensors")
    _check_names(proto, file)
    constants = {tensor.name: tensor for tensor in proto.initializer}
    outputs = [output.name for output in proto.output]
    nodes = _ordered(proto.node, outputs, file)
    left_out = len(proto.node) - len(nodes)
    read = {name for node in nodes for name in node.input}
    given = [value for value in proto.input if value.name not in constants]  # old files list their weights there, too
    inputs = [value for value in given if value.name in read]
    notes = [f"{file}: {left_out} node(s) that no output depends on are left out"] if left_out else []
    notes += [f"{file}: the input '{value.name}' is not used" for value in given if value.name not in read]
    return Graph(file, proto.name, _opset(model, file), inputs, constants, nodes, outputs, notes)


def _check_names(proto: onnx.GraphProto, file: str) -> None:
    """protobuf gives names that are no valid UTF-8 as bytes."""
    names = [proto.name, *(item.name for items in (proto.input, proto.output, proto.initializer) for item in items)]
    for node in proto.node:
        names += [node.name, node.op_type, node.domain, *node.input, *node.output]
        names += [attribute.name for attribute in node.attribute]
    for name in names:
        if not isinstance(name, str):
            raise FileFormatError(f"{file}: the name {name!r} is no text; is the file damaged?")


def _opset(model: onnx.ModelProto, file: str) -> int:
    """Version of ONNX's own operators; files from before versions were invented have the first."""
    import onnx

    version = max((entry.version for entry in model.opset_import if entry.domain in DOMAINS), default=1)
    newest = onnx.defs.onnx_opset_version()
    if not 1 <= version <= newest:
        raise FileFormatError(
            f"{file}: is written in opset {version}, but the installed package onnx knows 1 to {newest}; is it too old?"
        )
    return version


def _ordered(nodes: Sequence[onnx.NodeProto], outputs: Iterable[str], file: str) -> list[onnx.NodeProto]:
    """The nodes that the outputs depend on; those of a file in order stay as they are."""
    writer: dict[str, int] = {}
    for index, node in enumerate(nodes):
        for name in filter(None, node.output):
            if name in writer:
                raise FileFormatError(f"{file}: two nodes write the tensor '{name}'")
            writer[name] = index
    sources = [{writer[name] for name in node.input if name in writer} for node in nodes]
    needed: set[int] = set()
    waiting = [writer[name] for name in outputs if name in writer]
    while waiting:
        index = waiting.pop()
        if index not in needed:
            needed.add(index)
            waiting.extend(sources[index])
    sorter = TopologicalSorter({index: sources[index] for index in needed})
    try:
        sorter.prepare()
    except CycleError as error:
        through = ", ".join(f"'{nodes[index].output[0]}'" for index in error.args[1][:5])
        raise ModelError(f"{file}: its nodes form a cycle, through the tensors {through}") from None
    ready: list[int] = []
    ordered = []
    while sorter.is_active():
        for index in sorter.get_ready():
            heapq.heappush(ready, index)
        ordered.append(heapq.heappop(ready))
        sorter.done(ordered[-1])
    return [nodes[index] for index in ordered]
