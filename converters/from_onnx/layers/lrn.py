"""LRN across channels."""

from __future__ import annotations

from caffe2lrp.converters.from_onnx.node import Node
from caffe2lrp.converters.from_onnx.registry import reads
from caffe2lrp.layers.lrn import LRN


@reads("LRN")
def _lrn(node: Node) -> None:
    alpha, beta, k = node.number("alpha", 1e-4), node.number("beta", 0.75), node.number("bias", 1.0)
    node.add(LRN(node.integer("size", 0), alpha, beta, k), node.blob())
