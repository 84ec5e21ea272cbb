"""ONNX models for tests: small ones made here, and the published ones of the package onnx with random weights."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
from onnx import TensorProto, helper, numpy_helper

onnxruntime.set_default_logger_severity(4)  # it would print its own errors

LIGHT = Path(os.path.dirname(onnx.__file__)) / "backend" / "test" / "data" / "light"
"""Published architectures whose weights are left out: each is a constant of some shape."""

Node = tuple[str, Sequence[str], Sequence[str], dict[str, Any]]  # operator, inputs, outputs, attributes


def make_model(
    nodes: Sequence[Node],
    inputs: Mapping[str, Sequence[int | str]],
    outputs: Sequence[str],
    constants: Mapping[str, np.ndarray] | None = None,
    *,
    opset: int = 17,
    elem_type: int = TensorProto.FLOAT,
) -> onnx.ModelProto:
    """A model; nodes are called after their place: node0, node1, ..."""
    protos = [
        helper.make_node(op, list(sources), list(targets), name=f"node{i}", **attributes)
        for i, (op, sources, targets, attributes) in enumerate(nodes)
    ]
    graph = helper.make_graph(
        protos,
        "small",
        [helper.make_tensor_value_info(name, elem_type, list(shape)) for name, shape in inputs.items()],
        [helper.make_tensor_value_info(name, elem_type, None) for name in outputs],
        [numpy_helper.from_array(np.asarray(value), name) for name, value in (constants or {}).items()],
    )
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)], ir_version=8)


def save(model: onnx.ModelProto, folder: Path, name: str = "model.onnx") -> Path:
    """Write a model into a file."""
    path = folder / name
    path.write_bytes(model.SerializeToString())
    return path


def run(model: onnx.ModelProto, x: np.ndarray, outputs: Sequence[str] | None = None) -> list[np.ndarray]:
    """Outputs of a model, or any of its tensors, by onnxruntime."""
    if outputs is not None:
        model = with_outputs(model, outputs)
    session = onnxruntime.InferenceSession(model.SerializeToString(), providers=["CPUExecutionProvider"])
    values: list[np.ndarray] = session.run(None, {session.get_inputs()[0].name: x})
    return values


def with_outputs(model: onnx.ModelProto, names: Sequence[str]) -> onnx.ModelProto:
    """The model with these tensors as its outputs."""
    changed = onnx.ModelProto()
    changed.CopyFrom(model)
    del changed.graph.output[:]
    changed.graph.output.extend(helper.make_tensor_value_info(name, TensorProto.FLOAT, None) for name in names)
    return changed


def light_model(name: str, seed: int = 0) -> onnx.ModelProto:
    """A published architecture with random weights that keep values at a moderate size."""
    model = onnx.load(LIGHT / f"light_{name}.onnx")
    rng = np.random.default_rng(seed)
    readers: dict[str, tuple[str, int]] = {}
    for node in model.graph.node:
        for index, tensor in enumerate(node.input):
            readers.setdefault(tensor, (node.op_type, index))
    shapes = {tensor.name: numpy_helper.to_array(tensor) for tensor in model.graph.initializer}
    fillers = [node for node in model.graph.node if node.op_type == "ConstantOfShape"]
    for node in fillers:
        shape = tuple(int(size) for size in shapes[node.input[0]])
        weights = random_weights(readers[node.output[0]], shape, rng)
        model.graph.initializer.append(numpy_helper.from_array(weights, node.output[0]))
    rest = [node for node in model.graph.node if node.op_type != "ConstantOfShape"]
    del model.graph.node[:]
    model.graph.node.extend(rest)
    used = {tensor for node in rest for tensor in node.input}
    kept = [tensor for tensor in model.graph.initializer if tensor.name in used]
    del model.graph.initializer[:]
    model.graph.initializer.extend(kept)
    inputs = [value for value in model.graph.input if value.name not in shapes]  # which lists the weights, too
    del model.graph.input[:]
    model.graph.input.extend(inputs)
    return model


def random_weights(reader: tuple[str, int], shape: tuple[int, ...], rng: np.random.Generator) -> np.ndarray:
    """Weights for an operator's input: `reader` is the operator and the index of the input."""
    if reader == ("BatchNormalization", 4):
        values = rng.uniform(0.5, 1.5, shape)
    elif reader in (("BatchNormalization", 1), ("Unsqueeze", 0)):
        values = rng.uniform(0.5, 1.2, shape)
    elif len(shape) > 1:
        values = rng.normal(0, np.sqrt(2 / np.prod(shape[1:])), shape)
    else:
        values = rng.normal(0, 0.1, shape)
    return values.astype(np.float32)
