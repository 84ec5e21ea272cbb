"""The same network for onnxruntime, from the IR: just the layers of the nets that are measured."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from caffe2lrp.ir import Layer, Network


def onnxruntime_forward(network: Network, threads: int) -> Callable[[np.ndarray], np.ndarray]:
    """A function that runs the network in onnxruntime and returns its first output."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    session = onnxruntime.InferenceSession(_model(network), options, providers=["CPUExecutionProvider"])
    return lambda x: session.run(None, {network.input: x})[0]


def _model(network: Network) -> bytes:
    from onnx import TensorProto, helper, numpy_helper

    nodes: list[Any] = []
    weights = []
    for layer in network.layers:
        names = []
        for key, value in layer.weights.items():
            names.append(f"{layer.name}.{key}")
            weights.append(numpy_helper.from_array(np.ascontiguousarray(value), names[-1]))
        nodes += _nodes(helper, network, layer, names)
    inputs = [helper.make_tensor_value_info(network.input, TensorProto.FLOAT, network.input_shape)]
    out = network.outputs[0]
    outputs = [helper.make_tensor_value_info(out, TensorProto.FLOAT, network.shapes[out])]
    graph = helper.make_graph(nodes, network.name, inputs, outputs, weights)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8)
    return bytes(model.SerializeToString())


def _nodes(helper: Any, network: Network, layer: Layer, weights: list[str]) -> list[Any]:
    p: Any = layer.params
    source, target = [*layer.inputs], [*layer.outputs]
    if layer.type == "Convolution":
        attributes = {"kernel_shape": p.kernel, "strides": p.stride, "pads": p.pad * 2, "group": p.group}
        return [helper.make_node("Conv", source + weights, target, **attributes)]
    if layer.type == "Pooling":
        window = p.window(network.shapes[source[0]])
        kind = "MaxPool" if p.method == "MAX" else "AveragePool"
        attributes = {"kernel_shape": window, "strides": p.stride, "pads": p.pad * 2, "ceil_mode": 1}
        return [helper.make_node(kind, source, target, **attributes)]
    if layer.type == "LRN":
        return [helper.make_node("LRN", source, target, size=p.size, alpha=p.alpha, beta=p.beta, bias=p.k)]
    if layer.type == "InnerProduct":
        flat = f"{layer.name}.flat"
        return [
            helper.make_node("Flatten", source, [flat], axis=1),
            helper.make_node("Gemm", [flat, *weights], target, transB=1),
        ]
    plain = {"ReLU": "Relu", "Dropout": "Identity", "Softmax": "Softmax", "Concat": "Concat"}
    attributes = {"axis": p.axis} if layer.type in ("Softmax", "Concat") else {}
    return [helper.make_node(plain[layer.type], source, target, **attributes)]
