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
from caffe2lrp.errors import ModelError
from caffe2lrp.ir import Layer
from caffe2lrp.layers.pooling import Pooling

Pair = tuple[int, int]


@emits(Pooling)
def _pooling(graph: GraphBuilder, layer: Layer) -> None:
    p = layer.params
    assert isinstance(p, Pooling)
    if p.kernel is None and p.stride == (1, 1) and p.pad == (0, 0) and not p.mask:
        kind = "GlobalMaxPool" if p.method == "MAX" else "GlobalAveragePool"
        graph.node(kind, graph.inputs(layer), graph.outputs(layer), layer=layer)
    elif p.method == "MAX":
        _maximum(graph, layer, p)
    else:
        _average(graph, layer, p)


def _maximum(graph: GraphBuilder, layer: Layer, p: Pooling) -> None:
    x, pads = _padded(graph, layer, p, float(np.finfo(graph.dtype).min))  # Caffe starts from -FLT_MAX
    window = _window(graph, layer, p, pads)
    if not p.mask:
        graph.node("MaxPool", [x], graph.outputs(layer), layer=layer, **window)
        return
    maxima, mask = graph.outputs(layer)
    places = graph.tensor(f"{layer.name}/places")
    graph.node("MaxPool", [x], [maxima, places], layer=layer, **window)
    _mask(graph, layer, p, places, mask, is_padded=x != graph.inputs(layer)[0])


def _mask(graph: GraphBuilder, layer: Layer, p: Pooling, places: str, mask: str, *, is_padded: bool) -> None:
    """Pixels of an image out of places in the whole array; in an image that was padded before, they are moved."""
    shape, ends = graph.shape(layer.inputs[0]), _ends(graph, layer, p)
    if graph.dtype == np.float16 and shape[2] * shape[3] > 2048:
        raise ModelError(f"{layer}: half precision cannot hold the {shape[2] * shape[3]} places of its mask")
    padded = [n + pad + end if is_padded else n for n, pad, end in zip(shape[2:], p.pad, ends, strict=True)]

    def whole(op: str, x: str, value: int) -> str:
        return graph.node(op, [x, graph.constant(np.array(value), f"{layer.name}.number")], layer=layer)

    pixel = whole("Mod", places, padded[0] * padded[1])
    if is_padded:
        row, column = whole("Sub", whole("Div", pixel, padded[1]), p.pad[0]), whole("Mod", pixel, padded[1])
        column = whole("Sub", column, p.pad[1])
        inside = [
            graph.node("And", [whole("GreaterOrEqual", x, 0), whole("Less", x, n)], layer=layer)
            for x, n in ((row, shape[2]), (column, shape[3]))
        ]
        pixel = graph.node("Add", [whole("Mul", row, shape[3]), column], layer=layer)
        none = graph.constant(np.array(-1), f"{layer.name}.none")
        pixel = graph.node("Where", [graph.node("And", inside, layer=layer), pixel, none], layer=layer)
    graph.cast(pixel, graph.dtype, layer, mask)


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
