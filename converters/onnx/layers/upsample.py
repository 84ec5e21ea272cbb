"""Upsample and Interp."""

from __future__ import annotations

import numpy as np

from caffe2lrp.converters.onnx.graph import GraphBuilder
from caffe2lrp.converters.onnx.registry import emits
from caffe2lrp.ir import Layer
from caffe2lrp.layers.upsample import Interp, Upsample


@emits(Upsample)
def _upsample(graph: GraphBuilder, layer: Layer) -> None:
    assert isinstance(layer.params, Upsample)
    if len(layer.inputs) == 2:
        _by_mask(graph, layer)
        return
    factors = np.array([1, 1, *layer.params.scale], np.float32)
    scales = graph.raw_constant(factors, f"{layer.name}.scales")
    graph.node(
        "Resize", [*graph.inputs(layer), "", scales], graph.outputs(layer), layer=layer,
        mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor",
    )  # fmt: skip


def _by_mask(graph: GraphBuilder, layer: Layer) -> None:
    """Values scattered into rows of pixels; what names no pixel goes to one more behind them, which is cut off."""
    from onnx import helper

    x, mask = graph.inputs(layer)
    target = graph.shape(layer.outputs[0])
    pixels = target[2] * target[3]
    rows = graph.constant([0, 0, -1], f"{layer.name}.rows")
    values = graph.node("Reshape", [x, rows], layer=layer)
    places = graph.cast(graph.node("Reshape", [mask, rows], layer=layer), np.dtype(np.int64), layer)
    zero, end = (graph.constant(np.array(k), f"{layer.name}.{name}") for name, k in (("first", 0), ("end", pixels)))
    outside = graph.node(
        "Or",
        [graph.node("Less", [places, zero], layer=layer), graph.node("GreaterOrEqual", [places, end], layer=layer)],
        layer=layer,
    )
    places = graph.node("Where", [outside, end, places], layer=layer)
    one, two = (graph.constant([k], f"{layer.name}.{name}") for name, k in (("from", 0), ("to", 2)))
    head = graph.node("Slice", [graph.node("Shape", [x], layer=layer), one, two], layer=layer)
    room = graph.node("Concat", [head, graph.constant([pixels + 1], f"{layer.name}.room")], layer=layer, axis=0)
    nothing = helper.make_tensor("value", helper.np_dtype_to_tensor_dtype(graph.dtype), [1], [0.0])
    empty = graph.node("ConstantOfShape", [room], layer=layer, value=nothing)
    filled = graph.node("ScatterElements", [empty, places, values], layer=layer, axis=2)
    cut = [graph.constant([k], f"{layer.name}.{name}") for name, k in (("start", 0), ("stop", pixels), ("axis", 2))]
    kept = graph.node("Slice", [filled, *cut], layer=layer)
    shape = graph.constant([0, *target[1:]], f"{layer.name}.shape")
    graph.node("Reshape", [kept, shape], graph.outputs(layer), layer=layer)


@emits(Interp)
def _interp(graph: GraphBuilder, layer: Layer) -> None:
    """Resize by factors, so that the batch size stays open; they are a little larger, as sizes are rounded down."""
    p = layer.params
    assert isinstance(p, Interp)
    (x,), shape, target = graph.inputs(layer), graph.shape(layer.inputs[0]), graph.shape(layer.outputs[0])
    size = p.cropped(shape)
    if any(p.crop):
        starts, ends = [p.crop[0]] * 2, [p.crop[0] + n for n in size]
        bounds = [
            graph.constant(value, f"{layer.name}.{name}")
            for name, value in (("starts", starts), ("ends", ends), ("axes", [2, 3]))
        ]
        x = graph.node("Slice", [x, *bounds], layer=layer)
    if target[2:] == size:
        graph.node("Identity", [x], graph.outputs(layer), layer=layer)
        return
    factors = np.array([1, 1, *((out + 0.5) / n for out, n in zip(target[2:], size, strict=True))], np.float32)
    scales = graph.raw_constant(factors, f"{layer.name}.scales")
    graph.node(
        "Resize", [x, "", scales], graph.outputs(layer), layer=layer,
        mode="linear", coordinate_transformation_mode="align_corners",
    )  # fmt: skip
