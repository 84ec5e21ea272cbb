"""Another shape for the same values: Reshape, Flatten, Squeeze, Unsqueeze; and in another order: Transpose."""

from __future__ import annotations

from collections.abc import Sequence
from math import prod

from caffe2lrp.converters.from_onnx.node import Blob, Node, ReadError
from caffe2lrp.converters.from_onnx.registry import reads
from caffe2lrp.layers import LayerParams, Shape
from caffe2lrp.layers.base import canonical_axis
from caffe2lrp.layers.permute import Permute
from caffe2lrp.layers.reshape import Flatten, Reshape


def reshape(node: Node, x: Blob, dims: Sequence[int], part: str = "") -> Blob:
    """The blob in another shape; `dims` may hold one -1, and what is the blob's own shape adds no layer."""
    if tuple(dims) == x.shape or (-1 in dims and _params(x.shape, dims).output_shapes([x.shape]) == [x.shape]):
        if not part:
            node.give(x)
        return x
    return node.add(_params(x.shape, dims), x, part=part)


def _params(shape: Shape, dims: Sequence[int]) -> LayerParams:
    """Only the axes that change are named, so that the network can be fitted to other sizes of the rest."""
    start = 0
    while start < min(len(shape), len(dims)) and dims[start] == shape[start]:
        start += 1
    same = 0
    while same < min(len(shape), len(dims)) - start and dims[-1 - same] == shape[-1 - same]:
        same += 1
    middle = tuple(dims[start : len(dims) - same])
    joined = len(shape) - same - start
    if middle == (-1,) and joined:
        return Flatten(start, -same - 1)
    return Reshape(middle, start, joined)


@reads("Reshape")
def _reshape(node: Node) -> None:
    x = node.blob()
    dims = node.constant_integers("shape", 1)
    if dims is None:
        raise ReadError("does not say which shape")
    if any(d < -1 for d in dims) or dims.count(-1) > 1:
        raise ReadError(f"cannot reshape to {dims}")
    if 0 in dims and node.integer("allowzero", 0):
        raise ReadError(f"makes an empty blob of shape {dims}")
    if any(d == 0 and axis >= len(x.shape) for axis, d in enumerate(dims)):
        raise ReadError(f"copies an axis that its input {x.shape} does not have, by {dims}")
    reshape(node, x, [d or x.shape[axis] for axis, d in enumerate(dims)])


@reads("Flatten")
def _flatten(node: Node) -> None:
    """Two axes, whatever there were."""
    x, axis = node.blob(), node.integer("axis", 1)
    place = len(x.shape) if axis == len(x.shape) else canonical_axis(axis, x.shape)
    if place == 0:
        reshape(node, x, (1, -1))
    elif place == 1 and len(x.shape) != 2:
        reshape(node, x, (x.shape[0], -1))
    else:
        reshape(node, x, (-1, prod(x.shape[place:])))


@reads("Squeeze")
def _squeeze(node: Node) -> None:
    x = node.blob()
    axes = node.constant_integers("axes", 1)
    if axes is None:
        axes = tuple(axis for axis, size in enumerate(x.shape) if size == 1)
    gone = {canonical_axis(axis, x.shape) for axis in axes}
    if any(x.shape[axis] != 1 for axis in gone):
        raise ReadError(f"takes away the axes {axes} of {x.shape}, which are not all of size 1")
    reshape(node, x, [size for axis, size in enumerate(x.shape) if axis not in gone])


@reads("Unsqueeze")
def _unsqueeze(node: Node) -> None:
    x = node.blob()
    axes = node.constant_integers("axes", 1) or ()
    rank = len(x.shape) + len(axes)
    new = {canonical_axis(axis, (1,) * rank) for axis in axes}
    if len(new) != len(axes):
        raise ReadError(f"adds an axis twice: {axes}")
    sizes = iter(x.shape)
    reshape(node, x, [1 if axis in new else next(sizes) for axis in range(rank)])


@reads("Transpose")
def _transpose(node: Node) -> None:
    """Where only axes of size 1 move, the values stay where they are."""
    x = node.blob()
    order = node.integers("perm") or tuple(reversed(range(len(x.shape))))
    if sorted(order) != list(range(len(x.shape))):
        raise ReadError(f"its perm {order} is no order of the axes of {x.shape}")
    moved = [axis for axis in order if axis == 0 or x.shape[axis] != 1]
    if moved == sorted(moved):
        reshape(node, x, [x.shape[axis] for axis in order])
    else:
        node.add(Permute(order), x)
