"""ReduceMean and ReduceMax over the pixels of an image: global pooling."""

from __future__ import annotations

from typing import Literal

from caffe2lrp.converters.from_onnx.layers.reshape import reshape
from caffe2lrp.converters.from_onnx.node import Node, ReadError
from caffe2lrp.converters.from_onnx.registry import reads
from caffe2lrp.layers.base import canonical_axis
from caffe2lrp.layers.pooling import Pooling


@reads("ReduceMean")
def _mean(node: Node) -> None:
    _reduce(node, "AVE")


@reads("ReduceMax")
def _max(node: Node) -> None:
    _reduce(node, "MAX")


def _reduce(node: Node, method: Literal["AVE", "MAX"]) -> None:
    x = node.blob()
    axes = node.constant_integers("axes", 1) or ()
    places = sorted(canonical_axis(axis, x.shape) for axis in axes)
    if len(x.shape) != 4 or places != [2, 3]:
        raise ReadError(
            f"reduces the axes {axes} of {x.shape}; only all pixels of an image, axes 2 and 3, are supported"
        )
    keep = bool(node.integer("keepdims", 1))
    pooled = node.add(Pooling(method, None), x, part="" if keep else "pooled")
    if not keep:
        reshape(node, pooled, x.shape[:2])
