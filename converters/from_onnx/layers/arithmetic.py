"""Sum, difference, product, quotient and power of two tensors that are broadcast to each other.

With a constant they are Power (one number), Scale or Bias. Of two blobs of one shape they are Eltwise; of a blob and a
smaller one Scale or Bias with two inputs, or Eltwise behind Tile. A difference is the sum with the second term
negated, a quotient the product with the second factor inverted.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import numpy as np

from caffe2lrp.converters.from_onnx.layers.reshape import reshape
from caffe2lrp.converters.from_onnx.layers.tile import repeat
from caffe2lrp.converters.from_onnx.node import Blob, Node, ReadError, Value, as_weights
from caffe2lrp.converters.from_onnx.registry import reads
from caffe2lrp.layers import Shape
from caffe2lrp.layers.activation import Power
from caffe2lrp.layers.affine import Bias, Scale
from caffe2lrp.layers.eltwise import Eltwise


@reads("Add")
def _add(node: Node) -> None:
    _sum(node, node.value(0), node.value(1))


@reads("Sub")
def _sub(node: Node) -> None:
    _sum(node, node.value(0), _prepared(node, Power(scale=-1.0), np.negative))


@reads("Mul")
def _mul(node: Node) -> None:
    _product(node, node.value(0), node.value(1))


@reads("Div")
def _div(node: Node) -> None:
    _product(node, node.value(0), _prepared(node, Power(power=-1.0), np.reciprocal))


@reads("Pow")
def _pow(node: Node) -> None:
    node.value(1)
    node.add(Power(power=node.constant_number("exponent", 1, 1.0)), node.blob())


def _prepared(node: Node, params: Power, function: Callable[[np.ndarray], np.ndarray]) -> Value:
    """The second operand, negated or inverted."""
    value = node.value(1)
    if isinstance(value, Blob):
        return node.add(params, value, part="operand")
    with np.errstate(divide="ignore"):
        return function(as_weights(value, "its second input"))


def _sum(node: Node, a: Value, b: Value) -> None:
    x, y = _larger_first(node, a, b)
    if isinstance(y, Blob):
        _of_blobs(node, x, y, Eltwise("SUM"), Bias)
        return
    axis, offset = _smaller(y, x.shape)
    if offset.size == 1:
        node.add(Power(shift=float(offset.reshape(()))), x)
    else:
        node.add(Bias(axis=axis, num_axes=offset.ndim), x, weights={"bias": offset})


def _product(node: Node, a: Value, b: Value) -> None:
    x, y = _larger_first(node, a, b)
    if isinstance(y, Blob):
        _of_blobs(node, x, y, Eltwise("PROD"), Scale)
        return
    axis, factor = _smaller(y, x.shape)
    if factor.size == 1:
        node.add(Power(scale=float(factor.reshape(()))), x)
    else:
        node.add(Scale(axis=axis, num_axes=factor.ndim), x, weights={"scale": factor})


def _of_blobs(node: Node, x: Blob, y: Blob, whole: Eltwise, broadcast: type[Bias] | type[Scale]) -> None:
    """A layer of two blobs: `whole` if they are of one shape, `broadcast` if y lies on neighbouring axes of x."""
    full = _all_axes(y.shape, x.shape)
    used = [axis for axis, size in enumerate(full) if size != 1]
    # axis 0 is the batch: where both have it, they have it in common, even if it is 1 now
    start = 0 if len(y.shape) == len(x.shape) and full[0] == x.shape[0] else min(used, default=0)
    stop = max(used, default=start) + 1
    if y.shape == x.shape:
        node.add(whole, x, y)
    elif full[start:stop] == x.shape[start:stop]:
        node.add(broadcast(axis=start), x, reshape(node, y, full[start:stop], part="factor"))
    else:
        y = reshape(node, y, full, part="factor")
        node.add(whole, x, repeat(node, y, [a // b for a, b in zip(x.shape, full, strict=True)], part="tiled"))


# -- broadcasting ----------------------------------------------------------------------------------


def _larger_first(node: Node, a: Value, b: Value) -> tuple[Blob, Value]:
    """The operands, first the blob that the other is broadcast to."""
    a, b = _aligned(node, a, b)
    if not isinstance(a, Blob) or (isinstance(b, Blob) and prod(b.shape) > prod(a.shape)):
        a, b = b, a
    assert isinstance(a, Blob), "nodes of constants are computed"
    return a, b if isinstance(b, Blob) else as_weights(b, "its constant input")


def _aligned(node: Node, a: Value, b: Value) -> tuple[Value, Value]:
    """The operands of old opsets (before 7), where an attribute says to which axis of the first the second belongs."""
    if node.opset >= 7 or not node.integer("broadcast", 0):
        return a, b
    axis = node.integer("axis", len(a.shape) - len(b.shape))
    axis += len(a.shape) if axis < 0 else 0
    if axis + len(b.shape) > len(a.shape):
        raise ReadError(f"its second input {b.shape} does not fit the first, {a.shape}, from axis {axis} on")
    shape = (*b.shape, *[1] * (len(a.shape) - axis - len(b.shape)))
    return a, reshape(node, b, shape, part="aligned") if isinstance(b, Blob) else b.reshape(shape)


def _smaller(values: np.ndarray, shape: Shape) -> tuple[int, np.ndarray]:
    """Where a constant begins that is broadcast to a shape, and the constant on the axes that it really has."""
    full = _all_axes(values.shape, shape)
    used = [axis for axis, size in enumerate(full) if size != 1]
    start, stop = (used[0], used[-1] + 1) if used else (0, 0)
    return start, np.ascontiguousarray(np.broadcast_to(values.reshape(full[start:stop]), shape[start:stop]))


def _all_axes(small: Shape, large: Shape) -> Shape:
    full = (*[1] * (len(large) - len(small)), *small)
    if len(small) > len(large) or any(a not in (1, b) for a, b in zip(full, large, strict=True)):
        raise ReadError(f"its inputs have the shapes {large} and {small}; one must fit into the other")
    return full
