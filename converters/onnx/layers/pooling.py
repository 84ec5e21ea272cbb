"""Pooling with Caffe's sizes and divisors, and SPP.

ONNX has a ceil_mode of its own, but with another rule for the last window, and another divisor for windows that
reach beyond the padding; runtimes disagree about both. So windows are written out: the image is padded as far as
they reach, and the size is rounded down, which then is exact.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np

from caffe2lrp.converters.onnx.graph import GraphBuilder
from caffe2lrp.converters.onnx.registry import emits
from caffe2lrp.errors import ModelError
from caffe2lrp.ir import Layer
from caffe2lrp.layers.base import Shape
from caffe2lrp.layers.pooling import SPP, Pooling


@dataclass(frozen=True)
class _Call:
    """One pooling of the tensor `x`, with everything spelled out; several make a pyramid."""

    graph: GraphBuilder
    layer: Layer
    params: Pooling
    x: str
    shape: Shape
    outputs: list[str] | None

    @property
    def target(self) -> Shape:
        return self.params.output_shapes([self.shape])[0]

    @property
    def window(self) -> Shape:
        return self.params.window(self.shape)

    def node(self, operator: str, inputs: list[str], last: bool = False, **attributes: Any) -> str:
        """Append a node; the last one writes the outputs."""
        return self.graph.node(operator, inputs, self.outputs if last else None, layer=self.layer, **attributes)

    def constant(self, values: Any, name: str) -> str:
        return self.graph.constant(values, f"{self.layer.name}.{name}")


@emits(Pooling)
def _pooling(graph: GraphBuilder, layer: Layer) -> None:
    assert isinstance(layer.params, Pooling)
    (x,) = graph.inputs(layer)
    _pool(graph, layer, layer.params, x, graph.outputs(layer))


@emits(SPP)
def _spp(graph: GraphBuilder, layer: Layer) -> None:
    assert isinstance(layer.params, SPP)
    (x,), outputs = graph.inputs(layer), graph.outputs(layer)
    levels = layer.params.levels(graph.shape(layer.inputs[0]))
    if len(levels) == 1:
        _pool(graph, layer, levels[0], x, outputs)
        return
    pooled = [_pool(graph, layer, level, x, None) for level in levels]
    rows = [graph.node("Flatten", [level], layer=layer, axis=1) for level in pooled]
    graph.node("Concat", rows, outputs, layer=layer, axis=1)


def _pool(graph: GraphBuilder, layer: Layer, params: Pooling, x: str, outputs: list[str] | None) -> str:
    """Append a pooling and return the name of its output."""
    shape = graph.shape(layer.inputs[0])
    call = _Call(graph, layer, params.on(shape), x, shape, outputs)
    whole = params.kernel is None and set(params.stride) == {1} and not any(params.pad) and not params.mask
    if params.method == "STOCHASTIC":
        return _expectation(call)
    if whole:
        return call.node("GlobalMaxPool" if params.method == "MAX" else "GlobalAveragePool", [x], last=True)
    return _maximum(call) if params.method == "MAX" else _average(call)


def _maximum(call: _Call) -> str:
    x, pads = _padded(call, float(np.finfo(call.graph.dtype).min))  # Caffe starts from -FLT_MAX
    if not call.params.mask:
        return call.node("MaxPool", [x], last=True, **_attributes(call, pads))
    assert call.outputs is not None
    maxima, mask = call.outputs
    places = call.graph.tensor(f"{call.layer.name}/places")
    call.graph.node("MaxPool", [x], [maxima, places], layer=call.layer, **_attributes(call, pads))
    _mask(call, places, mask, is_padded=x != call.x)
    return maxima


def _mask(call: _Call, places: str, mask: str, *, is_padded: bool) -> None:
    """Pixels of an image out of places in the whole array; in an image that was padded before, they are moved."""
    graph, layer, shape, pads, ends = call.graph, call.layer, call.shape, call.params.pad, _ends(call)
    if graph.dtype == np.float16 and shape[2] * shape[3] > 2048:
        raise ModelError(f"{layer}: half precision cannot hold the {shape[2] * shape[3]} places of its mask")
    padded = [n + pad + end if is_padded else n for n, pad, end in zip(shape[2:], pads, ends, strict=True)]

    def whole(op: str, x: str, value: int) -> str:
        return graph.node(op, [x, graph.constant(np.array(value), f"{layer.name}.number")], layer=layer)

    pixel = whole("Mod", places, padded[0] * padded[1])
    if is_padded:
        row, column = whole("Sub", whole("Div", pixel, padded[1]), pads[0]), whole("Mod", pixel, padded[1])
        column = whole("Sub", column, pads[1])
        inside = [
            graph.node("And", [whole("GreaterOrEqual", x, 0), whole("Less", x, n)], layer=layer)
            for x, n in ((row, shape[2]), (column, shape[3]))
        ]
        pixel = graph.node("Add", [whole("Mul", row, shape[3]), column], layer=layer)
        none = graph.constant(np.array(-1), f"{layer.name}.none")
        pixel = graph.node("Where", [graph.node("And", inside, layer=layer), pixel, none], layer=layer)
    graph.cast(pixel, graph.dtype, layer, mask)


def _average(call: _Call) -> str:
    """The divisor counts the cells of the padded image, but none beyond it."""
    divisors = _divisors(call)
    full = int(np.prod(call.window))
    x, pads = _padded(call, 0.0)
    attributes = _attributes(call, pads)
    if (divisors == full).all():
        return call.node("AveragePool", [x], last=True, count_include_pad=1, **attributes)
    if not any(call.params.pad) and any(pads):
        return call.node("AveragePool", [x], last=True, count_include_pad=0, **attributes)
    mean = call.node("AveragePool", [x], count_include_pad=1, **attributes)
    with np.errstate(divide="ignore"):
        correction = full / divisors
    return call.node("Mul", [mean, call.constant(correction, "correction")], last=True)


def _expectation(call: _Call) -> str:
    """Sum of squares / sum, as means of the same cells; 0 where the sum is not positive."""
    x, pads = _padded(call, 0.0)
    attributes = {"count_include_pad": 1, **_attributes(call, pads)}
    mean = call.node("AveragePool", [x], **attributes)
    squares = call.node("AveragePool", [call.node("Mul", [x, x])], **attributes)
    zero = call.constant(np.array(0.0), "zero")
    ratio = call.node("Div", [squares, mean])
    return call.node("Where", [call.node("Greater", [mean, zero]), ratio, zero], last=True)


def _ends(call: _Call) -> Shape:
    """How far the last windows reach beyond the image."""
    p = call.params
    sizes = zip(call.target[2:], p.stride, call.window, p.pad, call.shape[2:], strict=True)
    return tuple(max(0, (out - 1) * s + k - pad - size) for out, s, k, pad, size in sizes)


def _padded(call: _Call, value: float) -> tuple[str, Shape]:
    """The input and the padding left to the operator: none where a window has no pixel, which operators refuse."""
    ends = _ends(call)
    if all(end < k for end, k in zip(ends, call.window, strict=True)):
        return call.x, (*call.params.pad, *ends)
    pads = call.constant([0, 0, *call.params.pad, 0, 0, *ends], "pads")
    return call.node("Pad", [call.x, pads, call.constant(np.array(value), "fill")], mode="constant"), (0,) * 2 * len(
        ends
    )


def _attributes(call: _Call, pads: Shape) -> dict[str, Any]:
    return {"kernel_shape": call.window, "strides": call.params.stride, "pads": pads}


def _divisors(call: _Call) -> np.ndarray:
    """Size of each window clipped to the padded image, in the shape of one channel of the output."""
    counts = []
    for out, s, k, pad, size in zip(
        call.target[2:], call.params.stride, call.window, call.params.pad, call.shape[2:], strict=True
    ):
        start = np.arange(out) * s - pad
        counts.append((np.minimum(start + k, size + pad) - start).astype(np.float64))
    return reduce(np.multiply.outer, counts)
