"""Messages and stored weights become a `Network`."""

from __future__ import annotations

import difflib
import itertools
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np

from caffe2lrp.converters.caffe.fillers import is_bilinear
from caffe2lrp.converters.caffe.graph import Graph, Node, Value, for_inference, link, without_branches
from caffe2lrp.converters.caffe.inputs import InputShape, input_shapes
from caffe2lrp.converters.caffe.layers import ParameterError, has_weights, known_types, read_params
from caffe2lrp.converters.caffe.message import Message
from caffe2lrp.converters.caffe.phases import State, is_included
from caffe2lrp.converters.caffe.sharing import Sharing, find_weights, param_names
from caffe2lrp.converters.caffe.weights import Weights
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
    _leave_out_masks(graph)
    layers = [node for node in graph.nodes if not node.is_source]
    params = _read_all(layers, graph.notes)
    try:
        inputs = input_shapes(graph, weights, input_shape)
    except ModelError as error:
        message = str(error)
        raise ModelError(message if definition.file in message else f"{definition.file}: {message}") from None
    builder = _Builder(definition, inputs, params, graph.notes)
    builder.infer_shapes(layers)
    sharing = Sharing(definition.net, weights)
    for node in layers:
        sharing.check(node, builder.needed[node])
    for node in layers:
        builder.arrays[node] = find_weights(
            node, params[node], builder.inputs(node), weights, sharing, graph.notes.append
        )
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


_HELP = "A plug-in of a few lines of Python can add a type, see docs/own-layers.md"


def _read_all(nodes: list[Node], notes: list[str]) -> dict[Node, LayerParams]:
    """Parameters of all layers; whatever cannot be read or is not supported is reported at once."""
    known = known_types()
    params: dict[Node, LayerParams] = {}
    problems = []
    for node in nodes:
        if node.type not in known:
            problems.append(f"{node}{_python_class(node)}: its type is not known{_suggestion(node, known)}")
            continue
        try:
            params[node] = read_params(node.message, node.type, partial(_note, notes, node))
        except (ParameterError, ShapeError) as error:
            problems.append(f"{node}: {error}")
    if any(node.type not in known for node in nodes):
        problems[-1] += f"\nKnown types: {', '.join(known)}\n{_HELP}{_failed_plugins()}"
    _raise_all(problems)
    return params


def _note(notes: list[str], node: Node, text: str) -> None:
    notes.append(f"{node}: {text}")


def _raise_all(problems: list[str]) -> None:
    """One error for all problems."""
    if len(problems) == 1:
        raise ModelError(problems[0])
    if problems:
        raise ModelError("\n  ".join([f"{len(problems)} layers cannot be built:", *problems]))


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
    stored = node.name in weights.layers or any(param_names(node.message)) or is_bilinear(node.message)
    return _needs_weights(node) and not stored


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
    shapes: dict[Value, Shape]
    params: dict[Node, LayerParams]
    notes: list[str]
    outputs: dict[Node, list[Value]] = field(default_factory=dict)
    needed: dict[Node, dict[str, Shape]] = field(default_factory=dict)
    arrays: dict[Node, dict[str, np.ndarray]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.shapes = dict(self.shapes)

    def inputs(self, node: Node) -> list[Shape]:
        """Shapes of a layer's inputs."""
        return [self.shapes[value] for value in node.inputs]

    def infer_shapes(self, nodes: list[Node]) -> None:
        """Shapes of all outputs; the problems of layers that do not depend on each other are reported at once."""
        problems = []
        lost: set[Value] = set()  # outputs of layers with problems, and what depends on them
        for node in nodes:
            try:
                if not lost.intersection(node.inputs):
                    self.add(node)
                    continue
            except ModelError as error:
                problems.append(str(error))
            lost.update(node.outputs)
        _raise_all(problems)

    def add(self, node: Node) -> None:
        """Infer the shapes of a layer's outputs."""
        if not node.outputs:
            raise ModelError(f"{node}: has no top, so nothing can be done with what it computes")
        for value in node.inputs:
            if value not in self.shapes:
                raise ModelError(f"{node}: reads '{value.blob}', an output of '{_writer(value)}' that is not supported")
        bottoms = self.inputs(node)
        try:
            self.params[node].check_inputs(bottoms)
            self.params[node] = self.params[node].for_inputs(bottoms)
            tops = self.params[node].output_shapes(bottoms)
            self.needed[node] = self.params[node].weight_shapes(bottoms)
        except ShapeError as error:
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
        self.outputs[node] = node.outputs[: len(tops)]
        self.shapes.update(zip(node.outputs, tops, strict=False))

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
