"""Tile."""

from __future__ import annotations

from collections.abc import Sequence

from caffe2lrp.converters.from_onnx.node import Blob, Node, ReadError
from caffe2lrp.converters.from_onnx.registry import reads
from caffe2lrp.layers.tile import Tile


@reads("Tile")
def _tile(node: Node) -> None:
    x, repeats = node.blob(), node.constant_integers("repeats", 1)
    if repeats is None or len(repeats) != len(x.shape) or min(repeats, default=1) < 1:
        raise ReadError(f"repeats an input of shape {x.shape} by {repeats}")
    if all(tiles == 1 for tiles in repeats):
        node.give(x)
    else:
        repeat(node, x, repeats)


def repeat(node: Node, x: Blob, repeats: Sequence[int], part: str = "") -> Blob:
    """Copies of a blob side by side, one axis after the other; some axis must be repeated."""
    *first, last = [axis for axis, tiles in enumerate(repeats) if tiles != 1]
    for axis in first:
        x = node.add(Tile(repeats[axis], axis), x, part=f"axis{axis}")
    return node.add(Tile(repeats[last], last), x, part=part)
