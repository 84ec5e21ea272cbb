"""Gemm and MatMul with constant weights: fully connected layers."""

from __future__ import annotations

import numpy as np

from caffe2lrp.converters.from_onnx.node import Node, ReadError
from caffe2lrp.converters.from_onnx.registry import reads
from caffe2lrp.layers.inner_product import InnerProduct


@reads("Gemm")
def _gemm(node: Node) -> None:
    """y = alpha x W + beta b; the factors are multiplied into the weights."""
    x, weight = node.blob(), node.weights(1)
    if len(x.shape) != 2 or weight.ndim != 2:
        raise ReadError(f"multiplies {x.shape} and {weight.shape}, which are not two matrices")
    if node.integer("transA", 0):
        raise ReadError("transposes its input (transA), which would mix the images of a batch")
    rows = weight if node.integer("transB", 0) else weight.T
    weights = {"weight": _times(rows, node.number("alpha", 1.0))}
    if node.has(2):
        bias = node.weights(2)
        if bias.size not in (1, len(rows)) or bias.shape[-1:] not in ((), (1,), (len(rows),)):
            raise ReadError(f"adds a constant of shape {bias.shape} to {len(rows)} outputs; only one each is supported")
        weights["bias"] = _times(np.broadcast_to(bias.reshape(-1), len(rows)), node.number("beta", 1.0))
    node.add(InnerProduct(len(rows), bias="bias" in weights), x, weights=weights)


@reads("MatMul")
def _matmul(node: Node) -> None:
    x, weight = node.blob(), node.weights(1)
    if weight.ndim != 2 or len(x.shape) < 2:
        raise ReadError(f"multiplies {x.shape} and {weight.shape}; only a constant matrix on the right is supported")
    params = InnerProduct(weight.shape[1], bias=False, axis=len(x.shape) - 1)
    node.add(params, x, weights={"weight": np.ascontiguousarray(weight.T)})


def _times(values: np.ndarray, factor: float) -> np.ndarray:
    return np.ascontiguousarray(values if factor == 1 else values * values.dtype.type(factor))
