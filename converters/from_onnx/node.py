"""A node of the graph as its reader sees it: attributes, inputs, and where its layers go."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from caffe2lrp.layers import LayerParams, Shape
from caffe2lrp.layers.source import Parameter

if TYPE_CHECKING:
    import onnx


class ReadError(ValueError):
    """A node contradicts itself or asks for what is not supported; the builder adds its name."""


@dataclass(frozen=True)
class Blob:
    """A blob of the network: what an ONNX tensor that depends on the input has become."""

    name: str
    shape: Shape


Value = Blob | np.ndarray
"""A tensor: computed from the input, or constant."""


class Target(Protocol):
    """Where a node's layers go."""

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

    def free_name(self, wanted: str) -> str:
        """A name for a blob that no tensor has."""

    def is_read(self, tensor: str) -> bool:
        """Whether a tensor is read by a node or is an output of the model."""


_FIELDS = {"FLOAT": "f", "INT": "i", "STRING": "s", "INTS": "ints"}


class Node:
    """One node.

    Parameters
    ----------
    proto
        The node as it is stored.
    opset
        Version of the operators.
    inputs
        Its inputs; None for those left out.
    target
        Where its layers go.

    Attributes
    ----------
    results
        What it writes, by the name of the tensor; the reader fills it with `add` or `give`.
    """

    def __init__(self, proto: onnx.NodeProto, opset: int, inputs: Sequence[Value | None], target: Target) -> None:
        self.proto = proto
        self.opset = opset
        self.inputs = list(inputs)
        self.results: dict[str, Blob] = {}
        self._target = target
        self._attributes = {attribute.name: attribute for attribute in proto.attribute}

    # -- attributes --------------------------------------------------------------------------------

    def _attribute(self, name: str, kind: str, default: Any) -> Any:
        from onnx import AttributeProto

        attribute = self._attributes.get(name)
        if attribute is None:
            return default
        if attribute.type not in (AttributeProto.UNDEFINED, AttributeProto.AttributeType.Value(kind)):
            found = AttributeProto.AttributeType.Name(attribute.type)
            raise ReadError(f"its attribute {name} is of type {found} and not {kind}")
        return getattr(attribute, _FIELDS[kind])

    def integer(self, name: str, default: int) -> int:
        """An attribute that is a whole number."""
        return int(self._attribute(name, "INT", default))

    def integers(self, name: str) -> tuple[int, ...] | None:
        """An attribute that is a list of whole numbers; None where it is not given."""
        values = self._attribute(name, "INTS", None)
        return None if values is None else tuple(int(value) for value in values)

    def number(self, name: str, default: float) -> float:
        """An attribute that is a number, in single precision."""
        return float(self._attribute(name, "FLOAT", np.float32(default)))

    def text(self, name: str, default: str) -> str:
        """An attribute that is a string."""
        value = self._attribute(name, "STRING", None)
        return default if value is None else value.decode("utf-8", errors="replace")

    # -- inputs ------------------------------------------------------------------------------------

    def has(self, index: int) -> bool:
        """Whether an input is given."""
        return index < len(self.inputs) and self.inputs[index] is not None

    def value(self, index: int) -> Value:
        """An input that must be given."""
        value = self.inputs[index] if index < len(self.inputs) else None
        if value is None:
            raise ReadError(f"its input {index} is missing")
        return value

    def blob(self, index: int = 0) -> Blob:
        """An input that depends on the network's input."""
        value = self.value(index)
        if not isinstance(value, Blob):
            raise ReadError(f"its input {index}, '{self.proto.input[index]}', is a constant, which is not supported")
        return value

    def blobs(self) -> list[Blob]:
        """All inputs; constants become layers that hold them."""
        if not self.inputs:
            raise ReadError("has no inputs")
        return [self._held(index) for index in range(len(self.inputs))]

    def _held(self, index: int) -> Blob:
        value = self.value(index)
        if isinstance(value, Blob):
            return value
        return self.add(Parameter(value.shape), weights={"value": self.weights(index)}, part=f"input{index}")

    def constant(self, index: int) -> np.ndarray:
        """An input that must be constant."""
        value = self.value(index)
        if isinstance(value, Blob):
            raise ReadError(
                f"its input {index}, '{self.proto.input[index]}', depends on the network's input; only a constant is "
                "supported"
            )
        return value

    def weights(self, index: int) -> np.ndarray:
        """A constant input of floating point, in at least single precision."""
        return as_weights(self.constant(index), f"its input {index}, '{self.proto.input[index]}'")

    def constant_number(self, name: str, index: int, default: float) -> float:
        """A number that is an attribute in old opsets and a constant input in new ones."""
        if not self.has(index):
            return self.number(name, default)
        values = self.constant(index)
        if values.size != 1 or values.dtype.kind not in "fiu":
            raise ReadError(
                f"its input {index} ({name}) must be one number, not {values.dtype} of shape {values.shape}"
            )
        return float(values.reshape(()))

    def constant_integers(self, name: str, index: int) -> tuple[int, ...] | None:
        """Whole numbers that are an attribute in old opsets and a constant input in new ones; None if not given."""
        if not self.has(index):
            return self.integers(name)
        values = self.constant(index)
        if values.dtype.kind not in "iu":
            raise ReadError(f"its input {index} ({name}) must be whole numbers, not {values.dtype}")
        return tuple(int(value) for value in values.reshape(-1))

    # -- what is read ------------------------------------------------------------------------------

    def is_read(self, output: int) -> bool:
        """Whether anything reads an output of the node."""
        return output < len(self.proto.output) and self._target.is_read(self.proto.output[output])

    def give(self, blob: Blob) -> None:
        """Let the node's output be a blob that is there already."""
        self.results[self.proto.output[0]] = blob

    def add(
        self,
        params: LayerParams,
        *inputs: Blob,
        weights: Mapping[str, np.ndarray] | None = None,
        part: str = "",
        output: int = 0,
    ) -> Blob:
        """Append a layer.

        Parameters
        ----------
        params
            Typed parameters of the layer.
        inputs
            What it reads.
        weights
            Its weights.
        part
            What the layer does where a node becomes several layers: it is called ``node/part``, and writes a blob
            ``output/part``. The layer without a part is the last one, it writes the node's output.
        output
            Which output it begins with.

        Returns
        -------
        Blob
            The first output.
        """
        name = self.proto.name or self.proto.output[0]
        if part:
            names = [self._target.free_name(f"{self.proto.output[0]}/{part}")]
            return self._target.add(f"{name}/{part}", params, inputs, names, weights or {}, self.proto.op_type)[0]
        names = list(self.proto.output[output:])
        blobs = self._target.add(name, params, inputs, names, weights or {}, self.proto.op_type)
        self.results.update(zip(names, blobs, strict=False))
        return blobs[0]


def as_weights(values: np.ndarray, what: str) -> np.ndarray:
    """Values as weights: in at least single precision; `what` they are is for the message."""
    if values.dtype in (np.float32, np.float64):
        return values
    if values.dtype.name in ("float16", "bfloat16"):
        return values.astype(np.float32)
    raise ReadError(f"{what}, is of type {values.dtype}, but weights must be floating-point numbers")
