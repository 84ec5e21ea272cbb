"""From a list of layer messages to the graph that a trained network is run with.

`link` gives every written value an identity of its own, so that in-place layers and Split layers need no
further thought. `for_inference` then takes away what serves training only: data layers become sources,
losses become the function that they end in or vanish, and with them what only they needed, such as labels.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from caffe2lrp.converters.caffe.constants import dummy_layer, is_constant
from caffe2lrp.converters.caffe.message import Message, new
from caffe2lrp.errors import ModelError
from caffe2lrp.layers import REGISTRY

DATA_TYPES = frozenset(
    {"Data", "ImageData", "HDF5Data", "MemoryData", "WindowData", "AnnotatedData", "DummyData", "Python", "VideoData"}
)
LOSS_FUNCTIONS = {"SoftmaxWithLoss": "Softmax", "SigmoidCrossEntropyLoss": "Sigmoid"}
"""Losses that end in a function worth keeping."""
DROPPED_TYPES = frozenset({"Accuracy", "Silence", "HDF5Output", "DetectionEvaluate"})


@dataclass(eq=False, slots=True)
class Value:
    """What a layer writes into a blob: every writing of a blob is a value of its own."""

    blob: str
    writer: Node | None = None


@dataclass(eq=False, slots=True)
class Node:
    """A layer of the graph."""

    name: str
    type: str
    inputs: list[Value]
    outputs: list[Value]
    message: Message
    place: str
    is_loss: bool = False
    """Whether it stands for a loss layer."""
    is_source: bool = False

    def __str__(self) -> str:
        spelled = self.message.spelled or self.type
        return f"{self.place}: layer '{self.name}' ({spelled})"


@dataclass(slots=True)
class Graph:
    """Nodes in order of execution, and remarks."""

    nodes: list[Node]
    notes: list[str] = field(default_factory=list)


def is_data(layer: Message) -> bool:
    """Whether a layer only brings data in: it is of a data type, or of an unknown one without bottoms."""
    kind = layer.get("type")
    if layer.all("bottom") or not layer.all("top"):
        return False
    computes = kind in REGISTRY or kind in DROPPED_TYPES or kind.endswith("Loss") or kind in ("Input", "Parameter")
    return kind in DATA_TYPES or not computes


# -- values ----------------------------------------------------------------------------------------


def link(layers: Iterable[Message], excluded: Sequence[Message], place: Callable[[Message], str]) -> Graph:
    """Connect layers by the values that they read and write.

    Parameters
    ----------
    layers
        The layers of the chosen phase, in order.
    excluded
        Layers of other phases; their data layers stand in where nothing else writes a blob (a training
        snapshot has no other).
    place
        Gives file and line of a layer.
    """
    linker = _Linker(excluded, place)
    for layer in layers:
        linker.add(layer)
    linker.imply_input()
    return Graph(linker.spare + linker.nodes, linker.notes)


class _Linker:
    def __init__(self, excluded: Sequence[Message], place: Callable[[Message], str]) -> None:
        self.place = place
        self.current: dict[str, Value] = {}
        self.nodes: list[Node] = []
        self.spare: list[Node] = []
        self.notes: list[str] = []
        self.unwritten: list[Value] = []
        self.substitutes = {top: layer for layer in reversed(excluded) if is_data(layer) for top in layer.all("top")}

    def add(self, layer: Message) -> None:
        inputs = [self.read(blob) for blob in layer.all("bottom")]
        if layer.get("type") == "Split" and inputs:
            # A copy of a value is the value itself.
            self.current.update(dict.fromkeys(layer.all("top"), inputs[0]))
            return
        self.nodes.append(self.node(layer, inputs))

    def node(self, layer: Message, inputs: list[Value]) -> Node:
        source = layer.get("type") == "Input" or is_data(layer)
        node = Node(layer.get("name"), layer.get("type"), inputs, [], layer, self.place(layer), is_source=source)
        bottoms = layer.all("bottom")
        for index, blob in enumerate(layer.all("top")):
            in_place = index < len(bottoms) and bottoms[index] == blob
            if blob in self.current and not in_place:
                raise ModelError(f"{node}: writes blob '{blob}', which '{self.writer_name(blob)}' above writes already")
            value = Value(blob, node)
            node.outputs.append(value)
            self.current[blob] = value
        return node

    def read(self, blob: str) -> Value:
        if blob not in self.current:
            spare = self.substitutes.get(blob)
            if spare is None:
                # Not an error yet: perhaps only a loss wants it.
                self.current[blob] = Value(blob)
                self.unwritten.append(self.current[blob])
            else:
                self.adopt(spare)
        return self.current[blob]

    def adopt(self, layer: Message) -> None:
        node = Node(layer.get("name"), layer.get("type"), [], [], layer, self.place(layer), is_source=True)
        for blob in layer.all("top"):
            if blob not in self.current:
                self.current[blob] = Value(blob, node)
            node.outputs.append(self.current[blob])
        self.spare.append(node)
        self.notes.append(f"{node}: it belongs to another phase, but is the only source of the input")

    def imply_input(self) -> None:
        """Snapshots of deploy nets lost their input fields: what nothing writes is the input then."""
        if any(node.is_source for node in self.spare + self.nodes) or not self.unwritten:
            return
        message = new("LayerParameter", name="input", type="Input")
        node = Node("input", "Input", [], self.unwritten, message, self.place(message), is_source=True)
        for value in self.unwritten:
            value.writer = node
        self.spare.append(node)

    def writer_name(self, blob: str) -> str:
        writer = self.current[blob].writer
        return writer.name if writer else "nothing"


# -- what inference needs --------------------------------------------------------------------------


def for_inference(graph: Graph) -> Graph:
    """The part of the graph that computes outputs from inputs.

    Raises
    ------
    ModelError
        If what is needed reads a blob that nothing writes, or if nothing is left.
    """
    notes = list(graph.notes)
    kept = _without_silenced([node for node in graph.nodes if _convert_loss(node, graph.nodes, notes)], graph, notes)
    kept = _with_constants(kept)
    live = _reached(kept, _primary(kept))
    needed = _ancestors(kept, live)
    for node in kept:
        if node in needed:
            _check_written(node)
    unneeded = [node.name for node in kept if node not in needed and not node.is_source]
    if unneeded:
        notes.append(f"left out, as only losses or labels need them: {', '.join(unneeded)}")
    return Graph([node for node in kept if node in needed], notes)


def _convert_loss(node: Node, nodes: list[Node], notes: list[str]) -> bool:
    """Turn a loss into the function it ends in; False where the layer is not needed at all."""
    is_loss = node.type.endswith("Loss") and node.type not in LOSS_FUNCTIONS and node.type not in REGISTRY
    if node.type in DROPPED_TYPES or is_loss:
        notes.append(f"{node}: left out, as it serves training and testing only")
        return False
    function = LOSS_FUNCTIONS.get(node.type)
    if function is None:
        return True
    if any(other.type == function and other.inputs[:1] == node.inputs[:1] for other in nodes):
        notes.append(f"{node}: left out, as another layer computes the {function} of its input already")
        return False
    node.type, node.is_loss = function, True
    node.inputs = node.inputs[:1]
    _name_output(node, {value.blob for other in nodes for value in other.outputs if other is not node})
    notes.append(f"{node}: a loss; its {function} without the label is kept as '{node.outputs[0].blob}'")
    return True


def _name_output(node: Node, taken: set[str]) -> None:
    """A loss's second output is the probabilities; the first is the loss, whose name they take over otherwise."""
    if not node.outputs:
        node.outputs = [Value("prob" if "prob" not in taken else node.name, node)]
    node.outputs = node.outputs[1:2] or node.outputs[:1]


def _without_silenced(kept: list[Node], graph: Graph, notes: list[str]) -> list[Node]:
    """Leave out layers that compute for Silence layers only: their outputs are not to be outputs of the net."""
    readers = _readers(graph.nodes)
    gone: set[Node] = set()
    for node in reversed(graph.nodes):
        if (
            not node.is_source
            and node.outputs
            and all(
                readers.get(value) and all(reader.type == "Silence" or reader in gone for reader in readers[value])
                for value in node.outputs
            )
        ):
            gone.add(node)
    rest = [node for node in kept if node not in gone]
    if not gone or all(node.is_source for node in rest):
        return kept
    notes.append(f"left out, as only Silence layers read them: {', '.join(n.name for n in graph.nodes if n in gone)}")
    return rest


def _with_constants(nodes: list[Node]) -> list[Node]:
    """The nodes, with constant DummyData as layers of their own, one for each top, beside other sources of data.

    Where a net has no other source, they stand for the data.
    """
    dummies = [node for node in nodes if node.is_source and node.type == "DummyData"]
    constant = {value for node in dummies for i, value in enumerate(node.outputs) if is_constant(node.message, i)}
    if not _primary(nodes) - constant:
        return nodes
    found = []
    for node in nodes:
        if node in dummies and not constant.isdisjoint(node.outputs):
            found += [_dummy(node, index, value in constant) for index, value in enumerate(node.outputs)]
        else:
            found.append(node)
    return found


def _dummy(node: Node, index: int, constant: bool) -> Node:
    """One top of a DummyData node as a node of its own."""
    value = node.outputs[index]
    name = node.name if len(node.outputs) == 1 else f"{node.name}_{value.blob}"
    message = dummy_layer(node.message, index)
    value.writer = Node(name, node.type, [], [value], message, node.place, is_source=not constant)
    return value.writer


def _readers(nodes: Iterable[Node]) -> dict[Value, list[Node]]:
    readers: dict[Value, list[Node]] = {}
    for node in nodes:
        for value in node.inputs:
            readers.setdefault(value, []).append(node)
    return readers


def _primary(kept: list[Node]) -> set[Value]:
    """The values that images (or other true inputs) come in by; labels are left out.

    Of a data layer that is its first top, of declared inputs it is all of them, but never what losses alone read.
    """
    readers = _readers(kept)
    primary: set[Value] = set()
    for node in kept:
        if node.is_source:
            tops = node.outputs if node.type == "Input" else node.outputs[:1]
            primary.update(value for value in tops if value in readers)
    images = {value for value in primary if "label" not in value.blob.lower()}
    return images or primary


def _reached(nodes: list[Node], primary: set[Value]) -> set[Node]:
    """All layers that depend on a primary value."""
    values, reached = set(primary), set()
    for node in nodes:
        # A layer that lacks an input is kept, too, so that it is complained about and not lost.
        lacks = any(value.writer is None for value in node.inputs) or _lacks_bottoms(node)
        if lacks or any(value in values for value in node.inputs):
            reached.add(node)
            values.update(node.outputs)
    return reached


def _ancestors(nodes: list[Node], wanted: set[Node]) -> set[Node]:
    """The wanted layers and all that they depend on."""
    needed = set(wanted)
    for node in reversed(nodes):
        if node in needed:
            needed.update(value.writer for value in node.inputs if value.writer is not None)
    return needed & set(nodes)


def _lacks_bottoms(node: Node) -> bool:
    """Whether a layer reads nothing and is not made for that."""
    needs = node.type not in REGISTRY or REGISTRY[node.type].input_count[0] > 0
    return needs and not (node.inputs or node.is_source)


def _check_written(node: Node) -> None:
    if _lacks_bottoms(node) and node.type in REGISTRY:
        raise ModelError(f"{node}: has no bottom, so there is nothing for it to compute with")
    for value in node.inputs:
        if value.writer is None:
            raise ModelError(
                f"{node}: reads blob '{value.blob}', which nothing above it writes. Is a layer missing, or excluded "
                "from this phase?"
            )


def without_branches(graph: Graph, missing: Sequence[Node]) -> Graph:
    """The graph without side branches that cannot be computed because their weights are missing.

    Only branches that end in a loss, and in nothing else, may go: the auxiliary heads of a training net. The
    graph is returned as it is where more would be lost.
    """
    readers = _readers(graph.nodes)
    sinks = [node for node in graph.nodes if not any(value in readers for value in node.outputs)]
    lost = _downstream(graph.nodes, missing)
    remaining = {node for node in sinks if node not in lost}
    if not missing or not remaining or not all(node.is_loss for node in sinks if node in lost):
        return graph
    needed = _ancestors(graph.nodes, remaining)
    gone = [node.name for node in graph.nodes if node not in needed]
    note = f"left out, as the weights file does not have them and nothing else needs them: {', '.join(gone)}"
    return Graph([node for node in graph.nodes if node in needed], [*graph.notes, note])


def _downstream(nodes: list[Node], start: Sequence[Node]) -> set[Node]:
    lost = set(start)
    for node in nodes:
        if any(value.writer in lost for value in node.inputs):
            lost.add(node)
    return lost
