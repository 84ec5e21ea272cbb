"""Sum, difference, product, quotient and power of two tensors that are broadcast to each other.

With a constant they are Power (one number), Scale or Bias; of two blobs of one shape Eltwise, of a blob and a smaller
one Scale or Bias with two inputs. A difference is the sum with the second term negated, a quotient the product with
the second factor inverted.
"""

from __future__ import annotations

from collections.abc import Callable
from math import prod

import numpy as np

from caffe2lrp.converters.from_onnx.layers.reshape import reshape
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
    exponent = node.constant(1)
    if exponent.size != 1:
        raise ReadError(f"its exponent has the shape {exponent.shape}; only one number is supported")
    node.add(Power(power=float(exponent.reshape(()))), node.blob())


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
        if x.shape == y.shape:
            node.add(Eltwise("SUM"), x, y)
        else:
            axis, small = _smaller_blob(node, x, y)
            node.add(Bias(axis=axis), x, small)
        return
    axis, offset = _smaller(y, x.shape)
    if offset.size == 1:
        node.add(Power(shift=float(offset.reshape(()))), x)
    else:
        node.add(Bias(axis=axis, num_axes=offset.ndim), x, weights={"bias": offset})


def _product(node: Node, a: Value, b: Value) -> None:
    x, y = _larger_first(node, a, b)
    if isinstance(y, Blob):
        if x.shape == y.shape:
            node.add(Eltwise("PROD"), x, y)
        else:
            axis, small = _smaller_blob(node, x, y)
            node.add(Scale(axis=axis), x, small)
        return
    axis, factor = _smaller(y, x.shape)
    if factor.size == 1:
        node.add(Power(scale=float(factor.reshape(()))), x)
    else:
        node.add(Scale(axis=axis, num_axes=factor.ndim), x, weights={"scale": factor})


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


def _smaller_blob(node: Node, x: Blob, y: Blob) -> tuple[int, Blob]:
    """The same for a blob; axis 0 is the batch, which it must have in common with the other."""
    full = _all_axes(y.shape, x.shape)
    used = [axis for axis, size in enumerate(full) if size != 1]
    batch = len(y.shape) == len(x.shape) and full[0] == x.shape[0]
    start = 0 if batch else min(used, default=0)
    stop = max(used, default=start) + 1
    if full[start:stop] != x.shape[start:stop]:
        raise ReadError(f"broadcasts {y.shape} to {x.shape}, which is supported only for neighbouring axes")
    return start, reshape(node, y, full[start:stop], part="factor")


def _all_axes(small: Shape, large: Shape) -> Shape:
    full = (*[1] * (len(large) - len(small)), *small)
    if len(small) > len(large) or any(a not in (1, b) for a, b in zip(full, large, strict=True)):
        raise ReadError(f"its inputs have the shapes {large} and {small}; one must fit into the other")
    return full
