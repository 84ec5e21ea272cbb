"""Sums and means over axes: over the pixels of an image global pooling, over other last axes Reduction."""

from __future__ import annotations

from typing import Literal

from caffe2lrp.converters.from_onnx.layers.reshape import reshape
from caffe2lrp.converters.from_onnx.node import Node, ReadError
from caffe2lrp.converters.from_onnx.registry import reads
from caffe2lrp.layers import LayerParams
from caffe2lrp.layers.base import canonical_axis
from caffe2lrp.layers.pooling import Pooling
from caffe2lrp.layers.reduction import Reduction

_OPERATIONS: dict[str, Literal["SUM", "ASUM", "SUMSQ", "MEAN"]] = {
    "ReduceL1": "ASUM",
    "ReduceMean": "MEAN",
    "ReduceSum": "SUM",
    "ReduceSumSquare": "SUMSQ",
}
_POOLING: dict[str, Literal["MAX", "AVE"]] = {"ReduceMax": "MAX", "ReduceMean": "AVE"}


@reads(*_OPERATIONS, *_POOLING)
def _reduce(node: Node) -> None:
    x, operator, rank = node.blob(), node.proto.op_type, len(node.blob().shape)
    given = node.constant_integers("axes", 1)
    if not given and node.integer("noop_with_empty_axes", 0):
        raise ReadError("reduces no axes")
    axes = sorted(canonical_axis(axis, x.shape) for axis in given or range(rank))
    keep = bool(node.integer("keepdims", 1))
    params: LayerParams
    if operator in _POOLING and rank == 4 and axes == [2, 3]:
        params, shape = Pooling(_POOLING[operator], None), (*x.shape[:2], 1, 1)
    elif operator in _OPERATIONS and axes and axes == list(range(axes[0], rank)):
        params, shape = Reduction(_OPERATIONS[operator], axes[0]), x.shape[: axes[0]]
    else:
        raise ReadError(f"reduces the axes {axes} of {x.shape}; only the last axes (of a maximum, pixels) can be")
    wanted = (*x.shape[: axes[0]], *[1] * len(axes)) if keep else x.shape[: axes[0]]
    if shape == wanted:
        node.add(params, x)
    else:
        reshape(node, node.add(params, x, part="reduced"), wanted)
