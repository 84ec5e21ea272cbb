"""Sum, Mean and Max of any number of blobs."""

from __future__ import annotations

from caffe2lrp.converters.from_onnx.node import Node, ReadError
from caffe2lrp.converters.from_onnx.registry import reads
from caffe2lrp.layers.eltwise import Eltwise


@reads("Sum", "Mean", "Max")
def _eltwise(node: Node) -> None:
    blobs = node.blobs()
    if any(blob.shape != blobs[0].shape for blob in blobs):
        raise ReadError(f"its inputs differ in shape: {', '.join(str(blob.shape) for blob in blobs)}")
    if len(blobs) == 1:
        node.give(blobs[0])
    elif node.proto.op_type == "Max":
        node.add(Eltwise("MAX"), *blobs)
    else:
        share = (1 / len(blobs),) * len(blobs) if node.proto.op_type == "Mean" else ()
        node.add(Eltwise("SUM", share), *blobs)
