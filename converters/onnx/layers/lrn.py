"""LRN: ONNX's own across channels; within a channel from its parts, as ONNX has no operator for it."""

from __future__ import annotations

from typing import Any

import numpy as np

from caffe2lrp.converters.onnx.graph import GraphBuilder
from caffe2lrp.converters.onnx.registry import emits
from caffe2lrp.ir import Layer
from caffe2lrp.layers.lrn import LRN


@emits(LRN, single=True)
def _lrn(graph: GraphBuilder, layer: Layer) -> None:
    p = layer.params
    assert isinstance(p, LRN)
    if p.region == "within":
        _within(graph, layer, p)
        return
    # ONNX divides alpha by the size, too, and its bias is Caffe's k
    attributes = {"size": p.size, "alpha": p.alpha, "beta": p.beta, "bias": p.k}
    graph.node("LRN", graph.inputs(layer), graph.outputs(layer), layer=layer, **attributes)


def _within(graph: GraphBuilder, layer: Layer, p: LRN) -> None:
    """x / (1 + alpha * mean of squares) ^ beta; zeros of the padding count in the mean."""
    (x,) = graph.inputs(layer)
    window: dict[str, Any] = {"kernel_shape": (p.size,) * 2, "pads": (p.size // 2,) * 4, "count_include_pad": 1}
    alpha, one, beta = (
        graph.constant(np.array(value), f"{layer.name}.{name}")
        for name, value in (("alpha", p.alpha), ("one", 1.0), ("beta", p.beta))
    )
    squares = graph.node("Mul", [x, x], layer=layer)
    mean = graph.node("AveragePool", [squares], layer=layer, **window)
    total = graph.node("Add", [graph.node("Mul", [mean, alpha], layer=layer), one], layer=layer)
    norm = graph.node("Pow", [total, beta], layer=layer)
    graph.node("Div", [x, norm], graph.outputs(layer), layer=layer)
