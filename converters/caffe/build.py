"""Messages and stored weights become a `Network`."""

from __future__ import annotations

import difflib
import itertools
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np

from caffe2lrp.converters.caffe.graph import Graph, Node, Value, for_inference, link, without_branches
from caffe2lrp.converters.caffe.inputs import InputShape, input_shapes
from caffe2lrp.converters.caffe.layers import ParameterError, has_weights, known_types, read_params
from caffe2lrp.converters.caffe.message import Message
from caffe2lrp.converters.caffe.phases import State, is_included
from caffe2lrp.converters.caffe.weights import Blob, Weights
from caffe2lrp.errors import FileFormatError, ModelError
from caffe2lrp.ir import Layer, Network, Origin, with_weights
from caffe2lrp.layers import LayerParams, Shape, ShapeError
from caffe2lrp.layers.installed import failed_plugins


@dataclass(frozen=True)
class Definition:
    """A net definition of the newest generation and the file it came from."""

    net: Message
    file: str

    def place(self, layer: Message) -> str:
        """File and line of a layer; binary files have no lines."""
        return self.file if layer.line is None else f"{self.file}:{layer.line}"


def build(
    definition: Definition, weights: Weights | None, state: State, input_shape: InputShape | None = None
) -> Network:
    """Build the network.

    Parameters
    ----------
    definition
        The net definition.
    weights
        Stored weights; None gives every weight the value 0 without allocating it.
    state
        Phase, level and stages to build for.
    input_shape
        Shape of the first input, or shapes by blob name.

    Raises
    ------
    ModelError
        If the net cannot be built; the message names the layer, its place and what to do.
    """
    graph = _inference_graph(definition, state)
    if weights is not None:
        graph = without_branches(graph, [node for node in graph.nodes if _lacks_weights(node, weights)])
    try:
        inputs = input_shapes(graph, weights, input_shape)
    except ModelError as error:
        message = str(error)
        raise ModelError(message if definition.file in message else f"{definition.file}: {message}") from None
    _leave_out_masks(graph)
    builder = _Builder(definition, weights, inputs, graph.notes)
    layers = [node for node in graph.nodes if not node.is_source]
    for node in layers:
        builder.add(node)
    names = _blob_names([*inputs, *(value for node in layers for value in builder.outputs[node])])
    return Network(
        definition.net.get("name"),
        {names[value]: shape for value, shape in inputs.items()},
        [builder.layer(node, names) for node in layers],
        blob_names={name: value.blob for value, name in names.items() if name != value.blob},
        notes=[*graph.notes, *_unknown_fields(definition), *_unused(weights, graph)],
    )


# -- the graph -------------------------------------------------------------------------------------


def _inference_graph(definition: Definition, state: State) -> Graph:
    layers = definition.net.all("layer")
    if not layers:
        raise FileFormatError(f"{definition.file}: there are no layers in this file; {_other_file(definition.net)}")
    included = [layer for layer in layers if is_included(layer, state, definition.place(layer))]
    chosen = {id(layer) for layer in included}
    graph = link(included, [layer for layer in layers if id(layer) not in chosen], definition.place)
    graph = for_inference(graph)
    if all(node.is_source for node in graph.nodes):
        raise ModelError(f"{definition.file}: no layers are left in phase {state.phase}")
    _check_types(graph.nodes)
    _make_names_unique(graph)
    return graph


def _leave_out_masks(graph: Graph) -> None:
    """Masks of pooling layers that nothing reads: they are no outputs of the net."""
    read = {value for node in graph.nodes for value in node.inputs}
    for node in graph.nodes:
        if node.type == "Pooling" and len(node.outputs) == 2 and node.outputs[1] not in read:
            graph.notes.append(f"{node}: its mask '{node.outputs[1].blob}' is left out, as nothing reads it")
            node.outputs.pop()
            node.message.values["top"] = node.message.all("top")[:1]


def _check_types(nodes: list[Node]) -> None:
    known = known_types()
    unknown = [node for node in nodes if node.type not in known and not node.is_source]
    if unknown:
        lines = "\n".join(f"  {node}{_python_class(node)}{_suggestion(node, known)}" for node in unknown)
        raise ModelError(
            f"{len(unknown)} layer(s) have types that are not known:\n{lines}\nKnown types: {', '.join(known)}\n"
            f"A plug-in of a few lines of Python can add a type, see docs/own-layers.md{_failed_plugins()}"
        )


def _failed_plugins() -> str:
    """Installed plug-ins that may have had the type."""
    return "".join(f"\nNot loaded: {failure}" for failure in failed_plugins())


def _suggestion(node: Node, known: list[str]) -> str:
    by_lower_case = {name.lower(): name for name in known}
    close = difflib.get_close_matches(node.type.lower().replace("_", ""), by_lower_case, 1, 0.8)
    return f" - is {by_lower_case[close[0]]} meant?" if close else ""


def _python_class(node: Node) -> str:
    param = node.message.get("python_param")
    return f" [{param.get('module')}.{param.get('layer')}]" if node.type == "Python" else ""


def _other_file(net: Message) -> str:
    """What a file without layers might be."""
    if {"base_lr", "lr_policy", "max_iter"} & {unknown.name for unknown in net.unknown}:
        return "it is a solver definition: pass the net that it names"
    return "is it a Caffe net?"


def _make_names_unique(graph: Graph) -> None:
    """Caffe lets layers share a name, but weights go by name: at most one of them may have some."""
    groups: dict[str, list[Node]] = {}
    for node in graph.nodes:
        if not node.is_source:
            groups.setdefault(node.name, []).append(node)
    for name, nodes in groups.items():
        weighted = [node for node in nodes if _needs_weights(node)]
        if len(weighted) > 1:
            raise ModelError(f"{weighted[1]}: another layer with weights has the same name, at {weighted[0].place}")
        owner = weighted[0] if weighted else nodes[0]
        free = (new for number in itertools.count(2) if (new := f"{name}#{number}") not in groups)
        for node in (node for node in nodes if node is not owner):
            new_name = next(free)
            graph.notes.append(f"{node}: called '{new_name}' here, as another layer has the same name")
            node.name = new_name


def _needs_weights(node: Node) -> bool:
    return has_weights(node.type) and not (node.type in ("Scale", "Bias") and len(node.inputs) == 2)


def _lacks_weights(node: Node, weights: Weights) -> bool:
    return _needs_weights(node) and node.name not in weights.layers and not any(_param_names(node))


def _param_names(node: Node) -> list[str]:
    return [param.get("name") for param in node.message.all("param")]


def _blob_names(values: Sequence[Value]) -> dict[Value, str]:
    """A name of its own for every value: the last one written into a blob keeps the blob's name."""
    last = {value.blob: value for value in values}
    taken = set(last)
    names: dict[Value, str] = {}
    for value in values:
        name = value.blob
        if last[value.blob] is not value:
            writer = value.writer.name if value.writer is not None else "input"
            name = f"{value.blob}@{writer}"
            while name in taken:
                name += "'"
            taken.add(name)
        names[value] = name
    return names


# -- layers ----------------------------------------------------------------------------------------


@dataclass
class _Builder:
    definition: Definition
    weights: Weights | None
    shapes: dict[Value, Shape]
    notes: list[str]
    params: dict[Node, LayerParams] = field(default_factory=dict)
    outputs: dict[Node, list[Value]] = field(default_factory=dict)
    arrays: dict[Node, dict[str, np.ndarray]] = field(default_factory=dict)
    shared: dict[str, np.ndarray] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.shapes = dict(self.shapes)

    def add(self, node: Node) -> None:
        """Read a layer's parameters, infer its shapes and find its weights."""
        if not node.outputs:
            raise ModelError(f"{node}: has no top, so nothing can be done with what it computes")
        for value in node.inputs:
            if value not in self.shapes:
                raise ModelError(f"{node}: reads '{value.blob}', an output of '{_writer(value)}' that is not supported")
        bottoms = [self.shapes[value] for value in node.inputs]
        try:
            params = read_params(node.message, node.type, lambda text: self.notes.append(f"{node}: {text}"))
            params.check_inputs(bottoms)
            tops = params.output_shapes(bottoms)
            needed = params.weight_shapes(bottoms)
        except (ParameterError, ShapeError) as error:
            raise ModelError(f"{node}: {error}") from None
        if len(tops) < len(node.outputs):
            self.drop_outputs(node, len(tops))
        if len(tops) > len(node.outputs):
            raise ModelError(f"{node}: makes {len(tops)} blobs but names {len(node.outputs)} tops")
        for value, shape in zip(node.outputs, tops, strict=False):
            if min(shape, default=1) < 1:
                raise ModelError(
                    f"{node}: its output '{value.blob}' would have the shape {shape}; the input {bottoms[0]} is too "
                    "small for it"
                )
        self.params[node] = params
        self.outputs[node] = node.outputs[: len(tops)]
        self.shapes.update(zip(node.outputs, tops, strict=False))
        self.arrays[node] = self.find(node, needed, bottoms) if needed else {}

    def drop_outputs(self, node: Node, count: int) -> None:
        extra = ", ".join(f"'{value.blob}'" for value in node.outputs[count:])
        self.notes.append(f"{node}: its further outputs {extra} are left out")

    def layer(self, node: Node, names: dict[Value, str]) -> Layer:
        """The finished layer."""
        origin = Origin(self.definition.file, node.message.line, node.message.spelled or node.type)
        layer = Layer(
            node.name,
            self.params[node],
            tuple(names[value] for value in node.inputs),
            tuple(names[value] for value in self.outputs[node]),
            origin=origin,
        )
        return with_weights(layer, self.arrays[node])

    # -- weights -----------------------------------------------------------------------------------

    def find(self, node: Node, needed: dict[str, Shape], bottoms: list[Shape]) -> dict[str, np.ndarray]:
        if self.weights is None:
            return {name: _zeros(node, shape) for name, shape in needed.items()}
        blobs = self.weights.layers.get(node.name, [])
        if blobs and len(blobs) != len(needed):
            raise ModelError(
                f"{node}: needs {len(needed)} blob(s) ({', '.join(needed)}), but {self.weights.file} has {len(blobs)} "
                "for it"
            )
        params = _param_names(node)
        found = {}
        for index, (name, shape) in enumerate(needed.items()):
            key = params[index] if index < len(params) else ""
            if key in self.shared and (not blobs or self.shared[key].shape == shape):
                found[name] = self.take_shared(node, key, name, shape)
            elif not blobs:
                raise ModelError(
                    f"{node}: {self.weights.file} has no weights for it; it needs {name} {shape}. "
                    "Do the weights belong to this net?"
                )
            else:
                found[name] = self.fit(node, name, blobs[index], shape, bottoms)
            if key:
                self.shared.setdefault(key, found[name])
        return found

    def take_shared(self, node: Node, key: str, name: str, shape: Shape) -> np.ndarray:
        """The very array of the layer that owns a shared parameter."""
        owner = self.shared[key]
        if owner.shape != shape and owner.size != math.prod(shape):
            raise ModelError(
                f"{node}: shares the parameter '{key}', which has the shape {owner.shape}, but its {name} needs {shape}"
            )
        return owner.reshape(shape)

    def fit(self, node: Node, name: str, blob: Blob, shape: Shape, bottoms: list[Shape]) -> np.ndarray:
        """A stored blob in the shape that the layer needs."""
        turned = (
            name == "weight"
            and node.type == "InnerProduct"
            and node.message.get("inner_product_param").get("transpose")
        )
        stored = shape[::-1] if turned else shape
        if not blob.fits(stored):
            file = self.weights.file if self.weights else ""
            raise ModelError(
                f"{node}: its {name} has the shape {stored} for the input {bottoms[0]}, but {file} stores "
                f"{blob.shape}. The weights belong to another net, or to another version or input size of it"
            )
        values = blob.values.reshape(stored)
        return np.ascontiguousarray(values.T) if turned else values


def _zeros(node: Node, shape: Shape) -> np.ndarray:
    try:
        return np.broadcast_to(np.float32(0), shape)
    except ValueError:
        raise ModelError(f"{node}: needs weights of the shape {shape}, which no computer can hold") from None


def _writer(value: Value) -> str:
    return value.writer.name if value.writer is not None else value.blob


# -- notes -----------------------------------------------------------------------------------------


def _shortened(items: Iterable[str], limit: int = 8) -> str:
    listed = list(items)
    more = f" and {len(listed) - limit} more" if len(listed) > limit else ""
    return ", ".join(listed[:limit]) + more


def _unknown_fields(definition: Definition) -> list[str]:
    """One note a field name, however often it occurs."""
    lines: dict[str, list[int]] = {}
    for message in definition.net.walk():
        for unknown in message.unknown:
            lines.setdefault(unknown.name, []).append(unknown.line or 0)
    notes = []
    for name, found in lines.items():
        where = _shortened(str(line) for line in sorted(set(found)) if line)
        notes.append(f"{definition.file}{':' if where else ''}{where}: unknown field '{name}' ignored")
    return notes


def _unused(weights: Weights | None, graph: Graph) -> list[str]:
    if weights is None:
        return []
    used = {node.name for node in graph.nodes}
    unused = [name for name in weights.layers if name not in used]
    if not unused:
        return []
    return [f"{weights.file}: weights of {len(unused)} layer(s) are not used: {_shortened(unused)}"]
