"""Softmax and LogSoftmax."""

from __future__ import annotations

from caffe2lrp.converters.from_onnx.layers.reshape import reshape
from caffe2lrp.converters.from_onnx.node import Node
from caffe2lrp.converters.from_onnx.registry import reads
from caffe2lrp.layers.base import canonical_axis
from caffe2lrp.layers.softmax import LogSoftmax, Softmax


@reads("Softmax", "LogSoftmax")
def _softmax(node: Node) -> None:
    """Before opset 13 all axes from `axis` on are normalised together, as if they were one."""
    x, kind = node.blob(), {"Softmax": Softmax, "LogSoftmax": LogSoftmax}[node.proto.op_type]
    axis = canonical_axis(node.integer("axis", 1 if node.opset < 13 else -1), x.shape)
    large = [place for place in range(axis, len(x.shape)) if x.shape[place] != 1]
    if node.opset >= 13 or len(large) < 2:
        node.add(kind(axis if node.opset >= 13 or not large else large[0]), x)
        return
    flat = reshape(node, x, (*x.shape[:axis], -1), part="flat")
    reshape(node, node.add(kind(axis), flat, part="softmax"), x.shape)
