"""InnerProduct: Gemm where two axes are left, else MatMul over the last one."""

from __future__ import annotations

import numpy as np

from caffe2lrp.converters.onnx.graph import GraphBuilder
from caffe2lrp.converters.onnx.registry import emits
from caffe2lrp.ir import Layer
from caffe2lrp.layers.base import canonical_axis
from caffe2lrp.layers.inner_product import InnerProduct


@emits(InnerProduct)
def _inner_product(graph: GraphBuilder, layer: Layer) -> None:
    p = layer.params
    assert isinstance(p, InnerProduct)
    (x,) = graph.inputs(layer)
    shape = graph.shape(layer.inputs[0])
    axis = canonical_axis(p.axis, shape)
    if axis == 1:
        if len(shape) > 2:
            x = graph.node("Flatten", [x], layer=layer, axis=1)
        weights = [graph.weight(layer, key) for key in ("weight", "bias") if key in layer.weights]
        graph.node("Gemm", [x, *weights], graph.outputs(layer), layer=layer, transB=1)
        return
    if len(shape) > axis + 1:
        # 0 copies an axis, so the batch size stays open
        x = graph.node("Reshape", [x, graph.constant([0] * axis + [-1], f"{layer.name}.shape")], layer=layer)
    if axis == 0:
        x = graph.node("Reshape", [x, graph.constant([1, -1], f"{layer.name}.row")], layer=layer)
    turned = np.ascontiguousarray(layer.weights["weight"].T)
    y = graph.constant(turned, f"{layer.name}.weight")
    outputs = graph.outputs(layer)
    product = None if p.bias or axis == 0 else outputs
    y = graph.node("MatMul", [x, y], product, layer=layer)
    if p.bias:
        y = graph.node("Add", [y, graph.weight(layer, "bias")], None if axis == 0 else outputs, layer=layer)
    if axis == 0:
        graph.node("Reshape", [y, graph.constant([-1], f"{layer.name}.vector")], outputs, layer=layer)
