"""Convolution is ONNX's Conv, Deconvolution its ConvTranspose; Im2col picks values by their places."""

from __future__ import annotations

import numpy as np

from caffe2lrp.converters.onnx.graph import GraphBuilder
from caffe2lrp.converters.onnx.registry import emits
from caffe2lrp.ir import Layer
from caffe2lrp.layers.base import Shape, canonical_axis, count
from caffe2lrp.layers.convolution import Convolution, Convolving, Deconvolution
from caffe2lrp.layers.im2col import Im2col


@emits(Convolution, Deconvolution)
def _convolution(graph: GraphBuilder, layer: Layer) -> None:
    p = layer.params
    assert isinstance(p, Convolving)
    operator = "Conv" if isinstance(p, Convolution) else "ConvTranspose"
    shape, out = graph.shape(layer.inputs[0]), graph.shape(layer.outputs[0])
    # The operators want the channels at axis 1 and at least one axis behind them.
    point = (1,) * (not p.kernel)
    plain = canonical_axis(p.axis, shape) == 1 and not point
    (x,), outputs = graph.inputs(layer), graph.outputs(layer)
    if not plain:
        images = [-1, *p.images(shape)[1:], *point]
        x = graph.node("Reshape", [x, graph.constant(images, f"{layer.name}.images")], layer=layer)
    weight = graph.weight(layer, "weight", (*layer.weights["weight"].shape, *point))
    bias = [graph.weight(layer, "bias")] if p.bias else []
    y = graph.node(
        operator,
        [x, weight, *bias],
        outputs if plain else None,
        layer=layer,
        kernel_shape=p.kernel + point,
        strides=p.stride + point,
        pads=(*p.pad, *(0,) * len(point)) * 2,
        dilations=p.dilation + point,
        group=p.group,
    )
    if not plain:
        # where the channels are the first axis, there is no batch and all sizes are known
        whole = out if canonical_axis(p.axis, shape) == 0 else (-1, *out[1:])
        graph.node("Reshape", [y, graph.constant(whole, f"{layer.name}.shape")], outputs, layer=layer)


@emits(Im2col)
def _im2col(graph: GraphBuilder, layer: Layer) -> None:
    p = layer.params
    assert isinstance(p, Im2col)
    shape, out = graph.shape(layer.inputs[0]), graph.shape(layer.outputs[0])
    axis = canonical_axis(p.axis, shape)
    before = [0] * axis  # 0 copies a size, so the batch stays open
    (x,) = graph.inputs(layer)
    if any(p.pad):
        pads = graph.constant([*before, 0, *p.pad] * 2, f"{layer.name}.pads")
        x = graph.node("Pad", [x, pads], layer=layer, mode="constant")
    image = tuple(size + 2 * pad for size, pad in zip(shape[axis + 1 :], p.pad, strict=True))
    places = graph.constant(_seen_places(p, image), f"{layer.name}.places")
    x = graph.node("Reshape", [x, graph.constant([*before, 0, -1], f"{layer.name}.lines")], layer=layer)
    x = graph.node("Gather", [x, places], layer=layer, axis=axis + 1)
    columns = graph.constant([*before, -1, *out[axis + 1 :]], f"{layer.name}.shape")
    graph.node("Reshape", [x, columns], graph.outputs(layer), layer=layer)


def _seen_places(p: Im2col, image: Shape) -> np.ndarray:
    """Place in an image that each cell of the kernel meets, output by output: (cells * outputs,)."""
    places = np.arange(count(image)).reshape(image)
    extent = tuple(d * (k - 1) + 1 for k, d in zip(p.kernel, p.dilation, strict=True))
    seen = np.lib.stride_tricks.sliding_window_view(places, extent)
    seen = seen[tuple(slice(None, None, step) for step in (*p.stride, *p.dilation))]
    return seen.reshape(-1, count(p.kernel)).T.reshape(-1)
