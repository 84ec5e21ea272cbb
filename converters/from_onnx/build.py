"""The walk over the nodes of a graph, which become the layers of a `Network`."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from caffe2lrp.converters.caffe.inputs import InputShape
from caffe2lrp.converters.from_onnx.constants import EVALUATED, SHAPE_OPERATORS, evaluate
from caffe2lrp.converters.from_onnx.files import stored
from caffe2lrp.converters.from_onnx.graph import DOMAINS, Graph
from caffe2lrp.converters.from_onnx.inputs import input_shapes
from caffe2lrp.converters.from_onnx.node import Blob, Node, ReadError, Value
from caffe2lrp.converters.from_onnx.registry import READERS
from caffe2lrp.errors import ModelError
from caffe2lrp.ir import Layer, Network, Origin, with_weights
from caffe2lrp.layers import LayerParams, Shape, ShapeError
from caffe2lrp.layers.activation import Power

if TYPE_CHECKING:
    import onnx

_LARGEST = 1 << 40  # values in one blob: more is a mistake or an attack


def build(graph: Graph, input_shape: InputShape | None = None, *, weights: bool = True) -> Network:
    """Build the network of a graph.

    Blobs have the names of the ONNX tensors, layers those of the nodes, or of their first output where nodes have none.

    Parameters
    ----------
    graph
        The graph.
    input_shape
        Shape of the first input, or shapes by name.
    weights
        Whether large tensors are read from the file; else they are zeros.

    Raises
    ------
    ModelError
        If a shape is not known or if nodes cannot be read; the message names all of these.
    OptionError
        If `input_shape` does not fit.
    """
    import caffe2lrp.converters.from_onnx.layers  # noqa: F401  (fills the table of readers)

    inputs = input_shapes(graph, input_shape)
    builder = _Builder(graph, inputs, weights)
    for node in graph.nodes:
        builder.read(node)
    builder.check()
    layers, notes = builder.finish()
    return Network(graph.name, inputs, layers, notes=[*graph.notes, *notes])


class _Builder:
    """Values of all tensors so far, and the layers that make them."""

    def __init__(self, graph: Graph, inputs: Mapping[str, Shape], weights: bool) -> None:
        self.graph = graph
        self.weights = weights
        self.values: dict[str, Value] = {name: Blob(name, shape) for name, shape in inputs.items()}
        self.layers: list[Layer] = []
        self.problems: list[str] = []
        self.read_tensors = {name for node in graph.nodes for name in node.input} | set(graph.outputs)
        self._lost: set[str] = set()  # outputs of nodes that could not be read
        self._layer_names: set[str] = set()
        self._tensors = {*inputs, *graph.constants, *(name for node in graph.nodes for name in node.output)}

    # -- one node ----------------------------------------------------------------------------------

    def read(self, proto: onnx.NodeProto) -> None:
        """Add a node's layers, or compute it if it is constant; what goes wrong is kept for `check`."""
        try:
            results = self._results(proto)
        except (ReadError, ShapeError) as error:
            self.problems.append(f"{_shown(proto)}: {error}")
            results = None
        if results is None:
            self._lost.update(proto.output)
        else:
            self.values.update(results)

    def _results(self, proto: onnx.NodeProto) -> Mapping[str, Value] | None:
        if proto.domain not in DOMAINS:
            raise ReadError(f"operators of the domain {proto.domain} are not supported")
        if any(name in self._lost for name in proto.input):
            if proto.op_type not in READERS and proto.op_type not in EVALUATED | set(SHAPE_OPERATORS):
                raise ReadError(_UNKNOWN)
            return None  # no wonder
        inputs = [self._value(name) if name else None for name in proto.input]
        if proto.op_type in SHAPE_OPERATORS:
            # onnx looks at nothing but the shape of this array, which takes no memory
            return evaluate(proto, self.graph.opset, [_outline(value) for value in inputs])
        constants = [value for value in inputs if not isinstance(value, Blob)]
        if len(constants) == len(inputs):
            return evaluate(proto, self.graph.opset, constants)
        if proto.op_type not in READERS:
            raise ReadError(_UNKNOWN)
        node = Node(proto, self.graph.opset, inputs, self)
        READERS[proto.op_type](node)
        return node.results

    def _value(self, tensor: str) -> Value:
        if tensor not in self.values:
            if tensor not in self.graph.constants:
                raise ReadError(f"reads the tensor '{tensor}', which nothing that is supported writes")
            folder = os.path.dirname(os.path.abspath(self.graph.file))
            self.values[tensor] = stored(self.graph.constants[tensor], folder, weights=self.weights)
        return self.values[tensor]

    # -- what readers call -------------------------------------------------------------------------

    def is_read(self, tensor: str) -> bool:
        """Whether a tensor is read by a node or is an output of the model."""
        return tensor in self.read_tensors

    def add(
        self,
        name: str,
        params: LayerParams,
        inputs: Sequence[Blob],
        outputs: Sequence[str],
        weights: Mapping[str, np.ndarray],
        operator: str,
    ) -> list[Blob]:
        """Append a layer and return what it writes: at most the blobs called `outputs`."""
        given = [blob.shape for blob in inputs]
        params.check_inputs(given)
        shapes = params.output_shapes(given)
        for shape in shapes:
            if min(shape, default=1) < 1:
                raise ReadError(f"its output would have the shape {shape}; the input {given[0]} is too small for it")
            if np.prod(np.array(shape, np.float64)) > _LARGEST:
                raise ReadError(f"its output would have the shape {shape}, which no computer can hold")
        written = [Blob(blob, shape) for blob, shape in zip(outputs, shapes, strict=False)]
        names = [[blob.name for blob in blobs] for blobs in (inputs, written)]
        origin = Origin(self.graph.file, None, operator)
        layer = Layer(self._free_layer_name(name), params, tuple(names[0]), tuple(names[1]), origin=origin)
        self.layers.append(with_weights(layer, weights))
        return written

    def free_name(self, wanted: str) -> str:
        """A name for a blob that no tensor has."""
        name = wanted
        while name in self._tensors:
            name += "'"
        self._tensors.add(name)
        return name

    def _free_layer_name(self, wanted: str) -> str:
        """A name that no layer has yet: ONNX lets nodes share one."""
        name, number = wanted, 2
        while name in self._layer_names:
            name, number = f"{wanted}#{number}", number + 1
        self._layer_names.add(name)
        return name

    # -- the end -----------------------------------------------------------------------------------

    def check(self) -> None:
        """Raise an error that names everything that went wrong."""
        if self.problems:
            lines = "\n".join(f"  {problem}" for problem in self.problems)
            known = f"\nSupported operators: {', '.join(sorted(READERS))}" if _UNKNOWN in lines else ""
            raise ModelError(f"{self.graph.file}: {len(self.problems)} node(s) cannot be read:\n{lines}{known}")

    def finish(self) -> tuple[list[Layer], list[str]]:
        """The layers, with the outputs called as the model calls them, and notes."""
        names: dict[str, str] = {}
        computed = {blob for layer in self.layers for blob in layer.outputs}
        for output in self.graph.outputs:
            value = self.values.get(output)
            if not isinstance(value, Blob) or (value.name == output and output not in computed):
                raise ModelError(f"{self.graph.file}: its output '{output}' is not computed from the input")
            if value.name != output and value.name in computed - names.keys() - set(self.graph.outputs):
                names[value.name] = output
            elif value.name != output:  # another name of an input or of another output
                self.add(output, Power(), [value], [output], {}, "Identity")
        layers = [
            replace(
                layer,
                inputs=tuple(names.get(blob, blob) for blob in layer.inputs),
                outputs=tuple(names.get(blob, blob) for blob in layer.outputs),
            )
            for layer in self.layers
        ]
        read = {blob for layer in layers for blob in layer.inputs}
        notes = [
            f"{self.graph.file}: the output '{output}' is read by other layers, too: get it with keep='{output}'"
            for output in self.graph.outputs
            if output in read
        ]
        return layers, notes


_UNKNOWN = "this operator is not supported"


def _outline(value: Value | None) -> np.ndarray | None:
    return np.broadcast_to(np.float32(0), value.shape) if value is not None else None


def _shown(node: onnx.NodeProto) -> str:
    return f"node '{node.name or next(iter(node.output), '')}' ({node.op_type})"
