"""Concat and Split. Where parts are not used, each one that is used is cut out by itself."""

from __future__ import annotations

import numpy as np

from caffe2lrp.converters.from_onnx.layers.pad import cut
from caffe2lrp.converters.from_onnx.node import Node, ReadError
from caffe2lrp.converters.from_onnx.registry import reads
from caffe2lrp.layers.base import canonical_axis
from caffe2lrp.layers.join import Concat, Slice


@reads("Concat")
def _concat(node: Node) -> None:
    node.add(Concat(node.integer("axis", 1)), *node.blobs())


@reads("Split")
def _split(node: Node) -> None:
    x, axis, parts = node.blob(), node.integer("axis", 0), len(node.proto.output)
    size = x.shape[canonical_axis(axis, x.shape)]
    step = -(-size // max(parts, 1))  # the last part may be smaller
    sizes = node.constant_integers("split", 1) or (*[step] * (parts - 1), size - step * (parts - 1))
    if len(sizes) != parts or min(sizes, default=0) < 1 or sum(sizes) != size:
        raise ReadError(f"cannot cut a size of {size} into {parts} parts of {sizes}")
    bounds = [0, *np.cumsum(sizes).tolist()]
    if not all(node.is_read(i) for i in range(parts)):
        for i in filter(node.is_read, range(parts)):
            node.add(cut(x.shape, {axis: slice(*bounds[i : i + 2])}), x, output=i)
        return
    points = () if len(set(sizes)) == 1 else tuple(bounds[1:-1])
    node.add(Slice(parts, axis, points), x)
