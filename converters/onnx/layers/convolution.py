"""Convolution is ONNX's Conv."""

from __future__ import annotations

from caffe2lrp.converters.onnx.graph import GraphBuilder
from caffe2lrp.converters.onnx.registry import emits
from caffe2lrp.ir import Layer
from caffe2lrp.layers.convolution import Convolution


@emits(Convolution)
def _convolution(graph: GraphBuilder, layer: Layer) -> None:
    p = layer.params
    assert isinstance(p, Convolution)
    weights = [graph.weight(layer, key) for key in ("weight", "bias") if key in layer.weights]
    graph.node(
        "Conv",
        [*graph.inputs(layer), *weights],
        graph.outputs(layer),
        layer=layer,
        kernel_shape=p.kernel,
        strides=p.stride,
        pads=(*p.pad, *p.pad),
        dilations=p.dilation,
        group=p.group,
    )
