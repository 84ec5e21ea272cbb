"""Pooling with Caffe's sizes and divisors.

ONNX has a ceil_mode of its own, but with another rule for the last window, and another divisor for windows that
reach beyond the padding; runtimes disagree about both. So windows are written out: the image is padded as far as
they reach, and the size is rounded down, which then is exact.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from caffe2lrp.converters.onnx.graph import GraphBuilder
from caffe2lrp.converters.onnx.registry import emits
from caffe2lrp.ir import Layer
from caffe2lrp.layers.pooling import Pooling

Pair = tuple[int, int]


@emits(Pooling)
def _pooling(graph: GraphBuilder, layer: Layer) -> None:
    p = layer.params
    assert isinstance(p, Pooling)
    if p.kernel is None and p.stride == (1, 1) and p.pad == (0, 0):
        kind = "GlobalMaxPool" if p.method == "MAX" else "GlobalAveragePool"
        graph.node(kind, graph.inputs(layer), graph.outputs(layer), layer=layer)
    elif p.method == "MAX":
        _maximum(graph, layer, p)
    else:
        _average(graph, layer, p)


def _maximum(graph: GraphBuilder, layer: Layer, p: Pooling) -> None:
    x, pads = _padded(graph, layer, p, float(np.finfo(graph.dtype).min))  # Caffe starts from -FLT_MAX
    graph.node("MaxPool", [x], graph.outputs(layer), layer=layer, **_window(graph, layer, p, pads))


def _average(graph: GraphBuilder, layer: Layer, p: Pooling) -> None:
    """The divisor counts the cells of the padded image, but none beyond it."""
    divisors = _divisors(graph, layer, p)
    full = int(np.prod(p.window(graph.shape(layer.inputs[0]))))
    x, pads = _padded(graph, layer, p, 0.0)
    window = _window(graph, layer, p, pads)
    outputs = graph.outputs(layer)
    if (divisors == full).all():
        graph.node("AveragePool", [x], outputs, layer=layer, count_include_pad=1, **window)
    elif p.pad == (0, 0) and any(pads):
        graph.node("AveragePool", [x], outputs, layer=layer, count_include_pad=0, **window)
    else:
        mean = graph.node("AveragePool", [x], layer=layer, count_include_pad=1, **window)
        with np.errstate(divide="ignore"):
            correction = full / divisors
        graph.node("Mul", [mean, graph.constant(correction, f"{layer.name}.correction")], outputs, layer=layer)


def _ends(graph: GraphBuilder, layer: Layer, p: Pooling) -> Pair:
    """How far the last windows reach beyond the image."""
    shape, target = graph.shape(layer.inputs[0]), graph.shape(layer.outputs[0])
    reach = [
        max(0, (out - 1) * s + k - pad - size)
        for out, s, k, pad, size in zip(target[2:], p.stride, p.window(shape), p.pad, shape[2:], strict=True)
    ]
    return reach[0], reach[1]


def _padded(graph: GraphBuilder, layer: Layer, p: Pooling, value: float) -> tuple[str, tuple[int, ...]]:
    """The input and the padding left to the operator: none where a window has no pixel, which operators refuse."""
    (x,) = graph.inputs(layer)
    ends = _ends(graph, layer, p)
    if all(end < k for end, k in zip(ends, p.window(graph.shape(layer.inputs[0])), strict=True)):
        return x, (*p.pad, *ends)
    pads = graph.constant([0, 0, *p.pad, 0, 0, *ends], f"{layer.name}.pads")
    fill = graph.constant(np.array(value), f"{layer.name}.fill")
    return graph.node("Pad", [x, pads, fill], layer=layer, mode="constant"), (0, 0, 0, 0)


def _window(graph: GraphBuilder, layer: Layer, p: Pooling, pads: tuple[int, ...]) -> dict[str, Any]:
    return {"kernel_shape": p.window(graph.shape(layer.inputs[0])), "strides": p.stride, "pads": pads}


def _divisors(graph: GraphBuilder, layer: Layer, p: Pooling) -> np.ndarray:
    """Size of each window clipped to the padded image, (height, width) of the output."""
    shape, target = graph.shape(layer.inputs[0]), graph.shape(layer.outputs[0])
    counts = []
    for out, s, k, pad, size in zip(target[2:], p.stride, p.window(shape), p.pad, shape[2:], strict=True):
        start = np.arange(out) * s - pad
        counts.append((np.minimum(start + k, size + pad) - start).astype(np.float64))
    return np.outer(*counts)
