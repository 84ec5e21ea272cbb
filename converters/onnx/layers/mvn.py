"""MVN from its parts: ONNX's operator of that name has no epsilon."""

from __future__ import annotations

import numpy as np

from caffe2lrp.converters.onnx.graph import GraphBuilder
from caffe2lrp.converters.onnx.registry import emits
from caffe2lrp.ir import Layer
from caffe2lrp.layers.mvn import MVN


@emits(MVN, opset=18, single=True)
def _mvn(graph: GraphBuilder, layer: Layer) -> None:
    p = layer.params
    assert isinstance(p, MVN)
    (x,), outputs = graph.inputs(layer), graph.outputs(layer)
    axes = len(graph.shape(layer.inputs[0]))
    if axes < 4:
        target = graph.constant([0] * axes + [1] * (4 - axes), f"{layer.name}.shape")
        x = graph.node("Reshape", [x, target], layer=layer)
    over = graph.constant([1, 2, 3] if p.across_channels else [2, 3], f"{layer.name}.axes")
    mean = graph.node("ReduceMean", [x, over], layer=layer, keepdims=1)
    if not p.normalize_variance:
        graph.node("Sub", [x, mean], outputs, layer=layer)
        return
    centred = graph.node("Sub", [x, mean], layer=layer)
    variance = graph.node("ReduceMean", [graph.node("Mul", [centred, centred], layer=layer), over], layer=layer)
    epsilon = graph.constant(np.array(p.epsilon), f"{layer.name}.epsilon")
    divisor = graph.node("Add", [graph.node("Sqrt", [variance], layer=layer), epsilon], layer=layer)
    graph.node("Div", [centred, divisor], outputs, layer=layer)
