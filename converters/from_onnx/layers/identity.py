"""Operators that change nothing when a trained network is run."""

from __future__ import annotations

from caffe2lrp.converters.from_onnx.node import Node, ReadError
from caffe2lrp.converters.from_onnx.registry import reads
from caffe2lrp.layers.dropout import Dropout


@reads("Dropout")
def _dropout(node: Node) -> None:
    node.add(Dropout(node.constant_number("ratio", 1, 0.5)), node.blob())


@reads("Identity")
def _identity(node: Node) -> None:
    node.give(node.blob())


@reads("Cast")
def _cast(node: Node) -> None:
    """All floating-point types are one here."""
    from onnx import TensorProto

    kind = node.integer("to", TensorProto.FLOAT)
    if kind not in (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.BFLOAT16, TensorProto.DOUBLE):
        name = TensorProto.DataType.Name(kind) if kind in TensorProto.DataType.values() else kind
        raise ReadError(f"turns values into {name}; only floating-point numbers are supported")
    node.give(node.blob())
