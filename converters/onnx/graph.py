"""The ONNX graph while layers are written into it."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from caffe2lrp.errors import ModelError
from caffe2lrp.ir import Layer, Network
from caffe2lrp.layers.base import Shape

if TYPE_CHECKING:
    import onnx


class GraphBuilder:
    """Collects nodes and constants; emitters talk to it.

    Tensors have the names of the IR's blobs: Caffe's, where layers run in place for the last value only.
    The batch size may be left open, so an emitter must not write axis 0 of a blob into a constant.

    Parameters
    ----------
    network
        The network that is written.
    opset
        Version of the ONNX operators.
    dtype
        float32 or float16: the type of all blobs and weights.

    Attributes
    ----------
    nodes
        The nodes so far.
    constants
        Arrays of the initializers by name; they share memory with the network's weights.
    """

    def __init__(self, network: Network, opset: int, dtype: np.dtype[Any]) -> None:
        self.network = network
        self.opset = opset
        self.dtype = dtype
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, np.ndarray] = {}
        self._tensors = set(network.shapes)
        self._node_names: set[str] = set()
        self._weights: dict[tuple[Any, ...], str] = {}
        self._renamed: dict[str, str] = {}

    # -- what emitters read ------------------------------------------------------------------------

    def shape(self, blob: str) -> Shape:
        """Shape of a blob; its axis 0 is an example where the batch size is left open."""
        return self.network.shapes[blob]

    def inputs(self, layer: Layer) -> list[str]:
        """Names of the tensors that a layer reads."""
        return [self._renamed.get(blob, blob) for blob in layer.inputs]

    def outputs(self, layer: Layer) -> list[str]:
        """Names of the tensors that a layer writes."""
        return [self._renamed.get(blob, blob) for blob in layer.outputs]

    # -- what emitters write -----------------------------------------------------------------------

    def constant(self, array: np.ndarray | Sequence[int], name: str) -> str:
        """Add an initializer and return its name.

        Parameters
        ----------
        array
            Values; floating-point ones are brought to the type of the graph, whole numbers (and lists) to int64.
        name
            Wanted name, by custom ``layer.what``; a number is added if it is taken.
        """
        values = array if isinstance(array, np.ndarray) else np.array(array, np.int64)
        dtype = self.dtype if values.dtype.kind == "f" else values.dtype if values.dtype.kind == "b" else np.int64
        with np.errstate(over="ignore"):
            brought = values.astype(dtype, copy=False)
        if brought.dtype == np.float16 and np.isinf(brought).any() and not np.isinf(values).any():
            raise ModelError(f"'{name}' has values up to {np.abs(values).max():g}, which half precision cannot hold")
        return self.raw_constant(brought, name)

    def raw_constant(self, array: np.ndarray, name: str) -> str:
        """Add an initializer of exactly the type of `array` and return its name."""
        unique = self.tensor(name)
        self.constants[unique] = array
        return unique

    def weight(self, layer: Layer, key: str, shape: Sequence[int] | None = None) -> str:
        """A stored weight of a layer as an initializer, in another shape if one is given; shared ones are one."""
        stored = layer.weights[key]
        wanted = stored.shape if shape is None else tuple(shape)
        memory = (stored.__array_interface__["data"][0], stored.shape, stored.strides, stored.dtype.str)
        same = (memory, wanted, self.dtype.str)
        if same not in self._weights:
            self._weights[same] = self.constant(stored.reshape(wanted), f"{layer.name}.{key}")
        return self._weights[same]

    def node(
        self,
        op_type: str,
        inputs: Sequence[str],
        outputs: Sequence[str] | None = None,
        *,
        layer: Layer | str,
        **attributes: Any,
    ) -> str:
        """Append a node.

        Parameters
        ----------
        op_type
            ONNX operator.
        inputs
            Names of tensors; the empty string leaves out an optional input.
        outputs
            Names of the tensors written; else one intermediate tensor, which is named after layer and operator.
        layer
            The layer that the node belongs to, or its name.
        attributes
            Attributes of the operator; those that are None are left out.

        Returns
        -------
        str
            Name of the first output.
        """
        from onnx import helper

        owner = layer if isinstance(layer, str) else layer.name
        written = [self.tensor(f"{owner}/{op_type}")] if outputs is None else list(outputs)
        is_last = isinstance(layer, Layer) and written == self.outputs(layer)
        name = _unique(owner if is_last else f"{owner}/{op_type}", self._node_names)
        place = _place(layer) if isinstance(layer, Layer) else None
        given = {key: value for key, value in attributes.items() if value is not None}
        self.nodes.append(helper.make_node(op_type, list(inputs), written, name, place, **given))
        return written[0]

    def tensor(self, name: str) -> str:
        """A new name for a tensor: the wanted one, or with a number where it is taken."""
        return _unique(name, self._tensors)

    # -- what the exporter does around layers ------------------------------------------------------

    def read_as(self, blob: str, tensor: str) -> None:
        """Let all that read or write a blob use another tensor in its place."""
        self._renamed[blob] = tensor

    def cast(self, tensor: str, dtype: np.dtype[Any], layer: Layer | str, to: str | None = None) -> str:
        """A tensor in another type."""
        from onnx import helper

        kind = helper.np_dtype_to_tensor_dtype(dtype)
        return self.node("Cast", [tensor], None if to is None else [to], layer=layer, to=kind)

    def index(self, layer: Layer, position: int) -> str:
        """An input that holds indices, as int64; what the network is given is read as it is, not in half precision."""
        blob = layer.inputs[position]
        tensor = blob if blob in self.network.inputs else self.inputs(layer)[position]
        return self.cast(tensor, np.dtype(np.int64), layer)

    @contextmanager
    def single_precision(self, layer: Layer) -> Iterator[None]:
        """Write a layer in float32 into a graph of another type."""
        dtype, renamed = self.dtype, dict(self._renamed)
        outputs = self.outputs(layer)
        self.dtype = np.dtype(np.float32)
        for blob, tensor in zip(layer.inputs, self.inputs(layer), strict=True):
            self.read_as(blob, self.cast(tensor, self.dtype, layer))
        for blob in layer.outputs:
            self.read_as(blob, self.tensor(f"{blob}/single"))
        yield
        for tensor, blob in zip(self.outputs(layer), outputs, strict=True):
            self.cast(tensor, dtype, layer, blob)
        self.dtype, self._renamed = dtype, renamed


def _place(layer: Layer) -> str:
    """Type of a layer as its file spells it, and where it stands there."""
    origin = layer.origin
    if origin.file is None:
        return layer.type
    line = "" if origin.line is None else f":{origin.line}"
    return f"{origin.type or layer.type}, {Path(origin.file).name}{line}"


def tensor_type(dtype: np.dtype[Any] | type[np.generic]) -> int:
    """ONNX's number of a NumPy type, for Cast."""
    from onnx import helper

    return int(helper.np_dtype_to_tensor_dtype(np.dtype(dtype)))


def _unique(name: str, taken: set[str]) -> str:
    new, number = name, 1
    while new in taken:
        number += 1
        new = f"{name}_{number}"
    taken.add(new)
    return new
