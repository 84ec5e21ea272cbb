"""BatchNorm, BN, Scale and Bias."""

from __future__ import annotations

import numpy as np

from caffe2lrp.converters.onnx.graph import GraphBuilder
from caffe2lrp.converters.onnx.registry import emits
from caffe2lrp.ir import Layer
from caffe2lrp.layers.affine import Bias, Scale
from caffe2lrp.layers.base import canonical_axis
from caffe2lrp.layers.batch_norm import BN, BatchNorm


@emits(BatchNorm, single=True)
def _batch_norm(graph: GraphBuilder, layer: Layer) -> None:
    """Stored are sums and their weight; 0 means that there are none."""
    assert isinstance(layer.params, BatchNorm)
    weight = float(layer.weights["weight"][0])
    norm = 1 / weight if weight else 0.0
    mean, variance = (np.asarray(layer.weights[key], np.float64) * norm for key in ("mean", "variance"))
    (x,), outputs = graph.inputs(layer), graph.outputs(layer)
    if len(graph.shape(layer.inputs[0])) == 1:  # one channel, which has no axis
        deviation = np.sqrt(variance + layer.params.epsilon)
        centred = graph.node("Sub", [x, graph.constant(mean, f"{layer.name}.mean")], layer=layer)
        graph.node("Div", [centred, graph.constant(deviation, f"{layer.name}.deviation")], outputs, layer=layer)
        return
    statistics = {"scale": np.ones(mean.shape), "bias": np.zeros(mean.shape), "mean": mean, "variance": variance}
    names = [graph.constant(value, f"{layer.name}.{key}") for key, value in statistics.items()]
    graph.node("BatchNormalization", [x, *names], outputs, layer=layer, epsilon=layer.params.epsilon)


@emits(BN, single=True)
def _bn(graph: GraphBuilder, layer: Layer) -> None:
    assert isinstance(layer.params, BN)
    (x,), outputs = graph.inputs(layer), graph.outputs(layer)
    if layer.params.statistics:
        names = [graph.weight(layer, key) for key in ("scale", "bias", "mean", "variance")]
        graph.node("BatchNormalization", [x, *names], outputs, layer=layer, epsilon=layer.params.epsilon)
        return
    inner = [1] * (len(graph.shape(layer.inputs[0])) - 2)
    scaled = graph.node("Mul", [x, graph.weight(layer, "scale", (-1, *inner))], layer=layer)
    graph.node("Add", [scaled, graph.weight(layer, "bias", (-1, *inner))], outputs, layer=layer)


@emits(Scale, Bias)
def _affine(graph: GraphBuilder, layer: Layer) -> None:
    """Mul, Add or both; what is multiplied or added gets axes of size 1 behind its own, so that it is broadcast."""
    p = layer.params
    assert isinstance(p, (Scale, Bias))
    shapes = [graph.shape(blob) for blob in layer.inputs]
    factor = p.factor_shape(shapes)
    behind = len(shapes[0]) - len(factor) - (canonical_axis(p.axis, shapes[0]) if factor else 0)
    steps = []  # (operator, second operand)
    if len(shapes) == 2:
        second = graph.inputs(layer)[1]
        if factor and behind:
            target = graph.constant([0] * len(factor) + [1] * behind, f"{layer.name}.shape")
            second = graph.node("Reshape", [second, target], layer=layer)
        steps.append(("Mul" if isinstance(p, Scale) else "Add", second))
    for key in layer.weights:
        steps.append(("Mul" if key == "scale" else "Add", graph.weight(layer, key, (*factor, *[1] * behind))))
    x = graph.inputs(layer)[0]
    for op, operand in steps[:-1]:
        x = graph.node(op, [x, operand], layer=layer)
    op, operand = steps[-1]
    graph.node(op, [x, operand], graph.outputs(layer), layer=layer)
