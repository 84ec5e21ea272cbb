"""HardSigmoid and HardSwish."""

from __future__ import annotations

from caffe2lrp.converters.onnx.graph import GraphBuilder
from caffe2lrp.converters.onnx.registry import emits
from caffe2lrp.ir import Layer
from caffe2lrp.layers.clipped import HardSigmoid, HardSwish


@emits(HardSigmoid)
def _hard_sigmoid(graph: GraphBuilder, layer: Layer) -> None:
    p = layer.params
    assert isinstance(p, HardSigmoid)
    graph.node("HardSigmoid", graph.inputs(layer), graph.outputs(layer), layer=layer, alpha=p.alpha, beta=p.beta)


@emits(HardSwish)
def _hard_swish(graph: GraphBuilder, layer: Layer) -> None:
    """ONNX has a HardSwish of its own since opset 14 only."""
    (x,) = graph.inputs(layer)
    gate = graph.node("HardSigmoid", [x], layer=layer, alpha=1 / 6, beta=0.5)
    graph.node("Mul", [x, gate], graph.outputs(layer), layer=layer)
