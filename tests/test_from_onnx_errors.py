"""ONNX files that cannot be used: one clear error each, with file, node and what is wrong."""

from __future__ import annotations

import contextlib
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

from caffe2lrp.converters import from_onnx
from caffe2lrp.errors import Caffe2LrpError, FileFormatError, ModelError
from tests.onnx_models import Node, make_model, save

IMAGE = {"x": (1, 3, 5, 7)}
W = np.ones((4, 3, 3, 3), np.float32)


def refused(model: onnx.ModelProto, folder: Path, words: str, kind: type[Exception] = ModelError) -> str:
    path = save(model, folder)
    with pytest.raises(kind, match=words) as caught:
        from_onnx.load(path)
    assert str(caught.value).startswith(str(path))
    return str(caught.value)


def relu() -> onnx.ModelProto:
    return make_model([("Relu", ["x"], ["y"], {})], IMAGE, ["y"])


# -- files ---------------------------------------------------------------------------------------------------------


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match=r"none\.onnx: cannot read the file: No such file"):
        from_onnx.load(tmp_path / "none.onnx")
    with pytest.raises(FileFormatError, match="cannot read the file"):
        from_onnx.load(tmp_path)


@pytest.mark.parametrize(
    "content", [b"", b"hello", b"\x08\x07", b"\xff" * 50, b"name: 'net' layer { }", b"\x0a\x03net"]
)
def test_other_files(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(content)
    with pytest.raises(FileFormatError, match=r"model\.onnx is not an ONNX model"):
        from_onnx.load(path)


def test_truncated_files(tmp_path: Path) -> None:
    """Wherever it is cut off."""
    model = make_model([("Conv", ["x", "w"], ["c"], {}), ("Relu", ["c"], ["y"], {})], IMAGE, ["y"], {"w": W})
    whole = model.SerializeToString()
    path = tmp_path / "model.onnx"
    for size in [*range(0, 60), *range(60, len(whole), 7)]:
        path.write_bytes(whole[:size])
        with pytest.raises(Caffe2LrpError, match=r"model\.onnx"):
            from_onnx.load(path)


@settings(max_examples=400, deadline=None, derandomize=True)
@given(place=st.floats(0, 1, exclude_max=True), value=st.integers(0, 255))
def test_damaged_files(place: float, value: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    """A byte that is another one: the file is read all the same, or an error says what is wrong."""
    nodes: list[Node] = [
        ("Conv", ["x", "w"], ["c"], {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}),
        ("MaxPool", ["c"], ["p"], {"kernel_shape": [2, 2], "strides": [2, 2]}),
        ("Reshape", ["p", "s"], ["f"], {}),
        ("Softmax", ["f"], ["y"], {"axis": 1}),
    ]
    constants = {"w": W, "s": np.array([0, -1], np.int64)}
    data = bytearray(make_model(nodes, IMAGE, ["y"], constants).SerializeToString())
    inside = data.index(W.tobytes())  # the values of the weights are of no interest
    index = int(place * (len(data) - W.nbytes))
    data[index if index < inside else index + W.nbytes] = value
    path = tmp_path_factory.getbasetemp() / "damaged.onnx"
    path.write_bytes(bytes(data))
    with contextlib.suppress(Caffe2LrpError):
        from_onnx.load(path)


def test_external_data_outside_of_the_folder(tmp_path: Path) -> None:
    (tmp_path / "secret").write_bytes(bytes(W.nbytes))
    (tmp_path / "inside").mkdir()
    model = make_model([("Conv", ["x", "w"], ["y"], {})], IMAGE, ["y"], {"w": W})
    for location in ("../secret", str(tmp_path / "secret"), "missing"):
        tensor = model.graph.initializer[0]
        tensor.ClearField("raw_data")
        tensor.ClearField("external_data")
        tensor.data_location = TensorProto.EXTERNAL
        tensor.external_data.add(key="location", value=location)
        refused(model, tmp_path / "inside", r"'node0' \(Conv\): the stored tensor 'w'")


def test_weights_that_do_not_fit_their_shape(tmp_path: Path) -> None:
    for dims in ([4, 3, 3, 4], [1 << 40], [-4, 3, 3, 3], [0], [1 << 62, 1 << 62]):
        model = make_model([("Conv", ["x", "w"], ["y"], {})], IMAGE, ["y"], {"w": W})
        del model.graph.initializer[0].dims[:]
        model.graph.initializer[0].dims.extend(dims)
        refused(model, tmp_path, r"node 'node0' \(Conv\): the stored tensor 'w'")


def test_newer_and_impossible_opsets(tmp_path: Path) -> None:
    for version in (10**6, -1):
        model = relu()
        model.opset_import[0].version = version
        refused(model, tmp_path, f"in opset {version}, but the installed package onnx knows", FileFormatError)


# -- graphs --------------------------------------------------------------------------------------------------------


def test_cycles(tmp_path: Path) -> None:
    model = make_model([("Add", ["x", "b"], ["a"], {}), ("Relu", ["a"], ["b"], {})], IMAGE, ["b"])
    refused(model, tmp_path, "its nodes form a cycle, through the tensors .*'a'")


def test_a_tensor_written_twice(tmp_path: Path) -> None:
    model = make_model([("Abs", ["x"], ["y"], {}), ("Relu", ["x"], ["y"], {})], IMAGE, ["y"])
    refused(model, tmp_path, "two nodes write the tensor 'y'", FileFormatError)


def test_missing_tensors(tmp_path: Path) -> None:
    refused(make_model([("Relu", ["z"], ["y"], {})], IMAGE, ["y"]), tmp_path, "outputs do not depend on any input")
    nodes: list[Node] = [("Add", ["x", "z"], ["y"], {})]
    refused(make_model(nodes, IMAGE, ["y"]), tmp_path, r"'node0' \(Add\): reads the tensor 'z', which nothing")


def test_outputs_that_are_not_computed(tmp_path: Path) -> None:
    nodes: list[Node] = [("Relu", ["x"], ["y"], {}), ("Neg", ["c"], ["d"], {})]
    model = make_model(nodes, IMAGE, ["y", "d"], {"c": np.ones(2, np.float32)})
    refused(model, tmp_path, "output 'd' is not computed from the input")
    refused(make_model(nodes[:1], IMAGE, ["y", "x"]), tmp_path, "output 'x' is not computed from the input")
    refused(make_model(nodes[:1], IMAGE, ["y", "none"]), tmp_path, "output 'none' is not computed from the input")


def test_names_that_are_no_text(tmp_path: Path) -> None:
    data = make_model([("Relu", ["x"], ["why"], {})], IMAGE, ["why"]).SerializeToString()
    path = tmp_path / "model.onnx"
    path.write_bytes(data.replace(b"why", b"w\xffy"))
    with pytest.raises(FileFormatError, match=r"model\.onnx: the name b'w\\xffy' is no text"):
        from_onnx.load(path)


def test_graphs_without_nodes_or_outputs(tmp_path: Path) -> None:
    refused(make_model([], IMAGE, ["x"]), tmp_path, "its graph has no nodes", FileFormatError)
    refused(make_model([("Relu", ["x"], ["y"], {})], IMAGE, []), tmp_path, "its graph has no outputs", FileFormatError)


@pytest.mark.parametrize("shape", [(), None, (1, 3, "H", 7), (1, 0, 5, 7), (1, -1, 5, 7)])
def test_inputs_without_a_shape(tmp_path: Path, shape: Sequence[int | str] | None) -> None:
    model = relu()
    model.graph.input[0].CopyFrom(helper.make_tensor_value_info("x", TensorProto.FLOAT, shape))
    refused(model, tmp_path, "the shape of the input 'x' is open.*: give it with input_shape")
    assert from_onnx.load(tmp_path / "model.onnx", input_shape=(2, 3, 5, 7)).input_shape == (2, 3, 5, 7)


def test_inputs_that_are_no_numbers(tmp_path: Path) -> None:
    refused(make_model([("Relu", ["x"], ["y"], {})], IMAGE, ["y"], elem_type=8), tmp_path, "'x' is no array of numbers")
    model = relu()
    model.graph.input[0].type.CopyFrom(helper.make_sequence_type_proto(model.graph.input[0].type))
    refused(model, tmp_path, "'x' is no array of numbers")


def test_sparse_weights(tmp_path: Path) -> None:
    model = relu()
    values = numpy_helper.from_array(np.ones(1, np.float32), "w")
    indices = numpy_helper.from_array(np.zeros(1, np.int64), "i")
    model.graph.sparse_initializer.append(helper.make_sparse_tensor(values, indices, [5]))
    refused(model, tmp_path, "sparse weights", FileFormatError)


# -- nodes ---------------------------------------------------------------------------------------------------------


def test_all_unsupported_nodes_are_named(tmp_path: Path) -> None:
    """Also those behind others that cannot be read, and with them what goes wrong elsewhere."""
    nodes: list[Node] = [
        ("Conv", ["x", "w"], ["a"], {"auto_pad": "SOMEHOW"}),
        ("Relu", ["a"], ["b"], {}),
        ("Einsum", ["b"], ["c"], {"equation": "nchw->nhwc"}),
        ("NonZero", ["x"], ["d"], {}),
        ("Add", ["c", "d"], ["e"], {}),
        ("FusedConv", ["x", "w"], ["f"], {}),
        ("Add", ["e", "f"], ["y"], {}),
    ]
    model = make_model(nodes, IMAGE, ["y"], {"w": W})
    model.graph.node[5].domain = "com.microsoft"
    message = refused(model, tmp_path, r"4 node\(s\) cannot be read")
    lines = message.splitlines()
    assert lines[1] == "  node 'node0' (Conv): auto_pad is SOMEHOW, which ONNX does not have"
    assert lines[2] == "  node 'node2' (Einsum): this operator is not supported"
    assert lines[3] == "  node 'node3' (NonZero): this operator is not supported"
    assert lines[4] == "  node 'node5' (FusedConv): operators of the domain com.microsoft are not supported"
    assert lines[5].startswith("Supported operators: Abs, Add, AveragePool, ")


FLAT = {"x": (1, 6)}
BAD_NODES: dict[str, tuple[tuple[str, dict[str, Any], dict[str, np.ndarray], dict[str, tuple[int, ...]]], str]] = {
    "group": (("Conv", {"group": 0}, {"w": W}, IMAGE), "group is 0"),
    "groups of channels": (("Conv", {"group": 2}, {"w": W}, IMAGE), "do not divide by group 2"),
    "stride": (("Conv", {"strides": [0, 1]}, {"w": W}, IMAGE), r"strides is \(0, 1\)"),
    "kernel": (("Conv", {"kernel_shape": [2, 2]}, {"w": W}, IMAGE), "its weights are for"),
    "negative padding": (("Conv", {"pads": [0, -1, 0, 0]}, {"w": W}, IMAGE), "numbers of at least 0"),
    "padding of one axis": (("Conv", {"pads": [0, 1]}, {"w": W}, IMAGE), "needs 4 numbers"),
    "huge padding": (("Conv", {"pads": [0, 0, 2**61, 2**61]}, {"w": W}, IMAGE), "no computer can hold"),
    "huge kernel": (("MaxPool", {"kernel_shape": [2**61, 2**61]}, {}, IMAGE), "larger than its input"),
    "no kernel": (("MaxPool", {}, {}, IMAGE), "kernel_shape is missing"),
    "kernel of another rank": (("MaxPool", {"kernel_shape": [2]}, {}, IMAGE), "needs 2 number"),
    "type of an attribute": (("MaxPool", {"kernel_shape": "2x2"}, {}, IMAGE), "kernel_shape is of type STRING"),
    "gaps": (("MaxPool", {"kernel_shape": [2, 2], "dilations": [2, 2]}, {}, IMAGE), "windows with gaps"),
    "padding like the window": (
        ("AveragePool", {"kernel_shape": [2, 2], "pads": [2, 0, 0, 0]}, {}, IMAGE),
        "must be smaller than the window",
    ),
    "no image": (("MaxPool", {"kernel_shape": [2, 2]}, {}, FLAT), "which is no image"),
    "no matrices": (("Gemm", {}, {"w": W}, FLAT), "not two matrices"),
    "transA": (("Gemm", {"transA": 1}, {"w": np.ones((6, 2), np.float32)}, FLAT), "transA"),
    "bias of another size": (
        ("Gemm", {}, {"w": np.ones((6, 2), np.float32), "b": np.ones(3, np.float32)}, FLAT),
        r"adds a constant of shape \(3,\)",
    ),
    "statistics of another size": (
        ("BatchNormalization", {}, dict.fromkeys("sbmv", np.ones(4, np.float32)), IMAGE),
        "for 3 channels",
    ),
    "training": (
        ("BatchNormalization", {"training_mode": 1}, dict.fromkeys("sbmv", np.ones(3, np.float32)), IMAGE),
        "export the model for inference",
    ),
    "missing input": (("BatchNormalization", {}, {"s": np.ones(3, np.float32)}, IMAGE), "input 2 is missing"),
    "whole numbers as weights": (("Mul", {}, {"c": np.ones(3, np.int64)}, IMAGE), "must be floating-point"),
    "broadcast to more": (("Add", {}, {"c": np.ones((4, 3, 5, 7), np.float32)}, IMAGE), "must fit into the other"),
    "does not broadcast": (("Add", {}, {"c": np.ones(4, np.float32)}, IMAGE), "must fit into the other"),
    "slopes": (("PRelu", {}, {"s": np.ones(3, np.float32)}, IMAGE), "not one of each channel"),
    "limits": (("Clip", {}, {"low": np.ones(3, np.float32)}, IMAGE), "must be one number"),
    "even size": (("LRN", {"size": 4}, {}, IMAGE), "odd size"),
    "no size": (("LRN", {}, {}, IMAGE), "odd size"),
    "axis": (("Softmax", {"axis": 4}, {}, IMAGE), "axis 4 does not exist"),
    "other number of values": (("Reshape", {}, {"s": np.array([1, 104])}, IMAGE), "the number of values differs"),
    "two open sizes": (("Reshape", {}, {"s": np.array([-1, -1])}, IMAGE), "cannot reshape"),
    "nothing to copy": (("Reshape", {}, {"s": np.array([1, 105, 1, 1, 0])}, IMAGE), "does not have"),
    "empty": (("Reshape", {"allowzero": 1}, {"s": np.array([0, 3])}, IMAGE), "empty blob"),
    "shape of another type": (("Reshape", {}, {"s": np.array([1.0])}, IMAGE), "must be whole numbers"),
    "squeeze": (("Squeeze", {}, {"a": np.array([1])}, IMAGE), "not all of size 1"),
    "unsqueeze": (("Unsqueeze", {}, {"a": np.array([1, 1])}, IMAGE), "twice"),
    "perm": (("Transpose", {"perm": [0, 1, 1, 2]}, {}, IMAGE), "no order of the axes"),
    "parts": (("Split", {"axis": 1}, {"s": np.array([1, 1])}, IMAGE), "cannot cut a size of 3"),
    "steps": (
        ("Slice", {}, {k: np.array([v]) for k, v in {"s": 0, "e": 9, "a": 3, "t": 2}.items()}, IMAGE),
        "takes steps",
    ),
    "nothing taken": (("Slice", {}, {k: np.array([v]) for k, v in {"s": 9, "e": 9, "a": 3}.items()}, IMAGE), "nothing"),
    "reflection": (("Pad", {"mode": "reflect"}, {"p": np.ones(8, np.int64)}, IMAGE), "mode reflect"),
    "pads of another rank": (("Pad", {}, {"p": np.ones(6, np.int64)}, IMAGE), "for 4 axes"),
    "all cut off": (("Pad", {}, {"p": np.array([0, -3, 0, 0, 0, 0, 0, 0])}, IMAGE), "nothing is left"),
    "reduction": (("ReduceMean", {"axes": [1]}, {}, IMAGE), r"reduces the axes \[1\]"),
    "cast": (("Cast", {"to": 7}, {}, IMAGE), "turns values into INT64"),
    "repeats": (("Tile", {}, {"r": np.array([1, 0, 1, 1])}, IMAGE), "repeats an input"),
    "exponents": (("Pow", {}, {"e": np.ones(7, np.float32)}, IMAGE), "must be one number"),
    "concat with whole numbers": (("Concat", {"axis": 1}, {"c": np.ones((1, 1, 5, 7), np.int64)}, IMAGE), "int64"),
    "concat of other sizes": (("Concat", {"axis": 1}, {"c": W}, IMAGE), "differ outside axis 1"),
    "first factor constant": (("MatMul", {}, {}, FLAT), "input 1 is missing"),
}


@pytest.mark.parametrize("name", BAD_NODES)
def test_nodes_that_cannot_be_read(name: str, tmp_path: Path) -> None:
    (op, attributes, constants, inputs), words = BAD_NODES[name]
    outputs = ["y", "z"] if op == "Split" else ["y"]
    model = make_model([(op, ["x", *constants], outputs, attributes)], inputs, outputs, constants)
    refused(model, tmp_path, rf"1 node\(s\) cannot be read:\n  node 'node0' \({op}\): .*{words}")


def test_weights_that_depend_on_the_input(tmp_path: Path) -> None:
    nodes: list[Node] = [("Relu", ["x"], ["w"], {}), ("Gemm", ["x", "w"], ["y"], {})]
    refused(make_model(nodes, {"x": (3, 3)}, ["y"]), tmp_path, "'w', depends on the network's input")


def test_places_of_maxima(tmp_path: Path) -> None:
    nodes: list[Node] = [("MaxPool", ["x"], ["y", "i"], {"kernel_shape": [2, 2]})]
    refused(make_model(nodes, IMAGE, ["y", "i"]), tmp_path, "places of the maxima")


def test_an_output_that_no_reader_makes(tmp_path: Path) -> None:
    nodes: list[Node] = [("Dropout", ["x"], ["a", "mask"], {}), ("Cast", ["mask"], ["y"], {"to": 1})]
    refused(make_model(nodes, IMAGE, ["y"]), tmp_path, "reads the tensor 'mask', which nothing that is supp")


# -- constants -----------------------------------------------------------------------------------------------------

HUGE: list[tuple[str, dict[str, np.ndarray]]] = [
    ("ConstantOfShape", {"n": np.array([1 << 20, 1 << 20])}),
    ("ConstantOfShape", {"n": np.array([-1, 4])}),
    ("Expand", {"a": np.ones(1, np.float32), "n": np.array([1 << 20, 1 << 20])}),
    ("Tile", {"a": np.ones(4, np.float32), "n": np.array([1 << 40])}),
    ("Range", {"a": np.float32(0), "b": np.float32(1e12), "s": np.float32(1)}),
    ("Mul", {"a": np.ones((1 << 16, 1), np.float32), "b": np.ones((1, 1 << 16), np.float32)}),
]


@pytest.mark.parametrize(("op", "constants"), HUGE, ids=[op for op, _ in HUGE])
def test_huge_constants(op: str, constants: dict[str, np.ndarray], tmp_path: Path) -> None:
    nodes: list[Node] = [(op, list(constants), ["c"], {}), ("Mul", ["x", "c"], ["y"], {})]
    refused(make_model(nodes, {"x": (1, 3)}, ["y"], constants), tmp_path, rf"node 'node0' \({op}\): ")


def test_constants_that_cannot_be_computed(tmp_path: Path) -> None:
    nodes: list[Node] = [("Reshape", ["c", "s"], ["d"], {}), ("Mul", ["x", "d"], ["y"], {})]
    constants = {"c": np.ones(6, np.float32), "s": np.array([4])}
    refused(make_model(nodes, {"x": (1, 3)}, ["y"], constants), tmp_path, r"\(Reshape\): cannot be computed")
    nodes = [("NonZero", ["c"], ["d"], {}), ("Mul", ["x", "d"], ["y"], {})]
    refused(make_model(nodes, {"x": (1, 3)}, ["y"], constants), tmp_path, "NonZero of constants is not supported")
    nodes = [("Constant", [], ["d"], {}), ("Mul", ["x", "d"], ["y"], {})]
    refused(make_model(nodes, {"x": (1, 3)}, ["y"]), tmp_path, "must have one of the attributes value")


def test_random_constants_are_not_computed(tmp_path: Path) -> None:
    nodes: list[Node] = [("RandomNormal", [], ["c"], {"shape": [3]}), ("Mul", ["x", "c"], ["y"], {})]
    refused(make_model(nodes, {"x": (1, 3)}, ["y"]), tmp_path, "RandomNormal of constants is not supported")


# -- the command line ----------------------------------------------------------------------------------------------


def test_command_line_prints_no_traceback(tmp_path: Path) -> None:
    path = save(make_model([("Einsum", ["x"], ["y"], {"equation": "ij->ij"})], {"x": (1, 3)}, ["y"]), tmp_path)
    done = subprocess.run(
        [sys.executable, "-m", "caffe2lrp", "inspect", path], capture_output=True, text=True, check=False
    )
    assert done.returncode == 2
    assert "node 'node0' (Einsum): this operator is not supported" in done.stderr
    assert "Traceback" not in done.stderr
