"""Each ONNX operator that is read, against onnxruntime."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from caffe2lrp.converters import from_onnx
from caffe2lrp.converters.from_onnx.registry import READERS
from caffe2lrp.ir import Network
from caffe2lrp.layers.activation import Power
from caffe2lrp.layers.affine import Bias, Scale
from caffe2lrp.layers.base import LayerParams
from caffe2lrp.layers.batch_norm import BatchNorm
from caffe2lrp.layers.convolution import Convolution
from caffe2lrp.layers.inner_product import InnerProduct
from caffe2lrp.layers.join import Slice
from caffe2lrp.layers.pad import Pad
from caffe2lrp.layers.pooling import Pooling
from caffe2lrp.layers.reshape import Flatten, Reshape
from caffe2lrp.layers.softmax import Softmax
from tests.layer_cases import assert_close
from tests.onnx_models import Node, make_model, run, save

RNG = np.random.default_rng(0)
IMAGE = (3, 5, 7)  # without the batch


def weights(*shape: int, low: float | None = None) -> np.ndarray:
    """Random weights; with `low` they are positive and at least that."""
    values = RNG.normal(0, 1, shape) if low is None else RNG.uniform(low, low + 2, shape)
    return values.astype(np.float32)


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int64)


@dataclass(frozen=True)
class Case:
    """A model: nodes from x to y, and the layers that it is to become."""

    nodes: Sequence[Node]
    types: str
    constants: Mapping[str, np.ndarray] = field(default_factory=dict)
    shape: tuple[int, ...] = IMAGE
    opset: int = 17
    positive: bool = False
    outputs: tuple[str, ...] = ("y",)
    batches: tuple[int, ...] = (1, 3)


def one(op: str, types: str, constants: Mapping[str, np.ndarray] | None = None, **options: Any) -> Case:
    """A single node of x and constants."""
    case = {name: options.pop(name) for name in ("shape", "opset", "positive", "batches") if name in options}
    given = constants or {}
    order = options.pop("inputs", ("x", *given))
    return Case([(op, order, ["y"], options)], types, given, **case)


BN = {"s": weights(3), "b": weights(3), "m": weights(3), "v": weights(3, low=0.5)}
CASES: dict[str, Case] = {
    # convolutions
    "Conv": one("Conv", "Convolution", {"w": weights(4, 3, 3, 2)}),
    "Conv, bias": one("Conv", "Convolution", {"w": weights(4, 3, 3, 2), "b": weights(4)}, kernel_shape=[3, 2]),
    "Conv, everything": one(
        "Conv",
        "Convolution",
        {"w": weights(6, 2, 3, 2)},
        shape=(6, 9, 8),
        group=3,
        strides=[2, 1],
        pads=[1, 2, 1, 2],
        dilations=[2, 3],
    ),
    "Conv, depthwise": one("Conv", "Convolution", {"w": weights(3, 1, 3, 3)}, group=3, pads=[1, 1, 1, 1]),
    "Conv, uneven padding": one("Conv", "Pad Convolution", {"w": weights(4, 3, 3, 2)}, pads=[0, 2, 1, 0]),
    "Conv, SAME_UPPER": one(
        "Conv", "Pad Convolution", {"w": weights(4, 3, 2, 3)}, auto_pad="SAME_UPPER", strides=[1, 2]
    ),
    "Conv, SAME_LOWER": one(
        "Conv", "Pad Convolution", {"w": weights(4, 3, 2, 4)}, auto_pad="SAME_LOWER", strides=[2, 1]
    ),
    "Conv, SAME, even": one("Conv", "Convolution", {"w": weights(4, 3, 3, 3)}, auto_pad="SAME_UPPER"),
    "Conv, VALID": one("Conv", "Convolution", {"w": weights(4, 3, 3, 3)}, auto_pad="VALID"),
    # fully connected
    "Gemm": one("Gemm", "InnerProduct", {"w": weights(5, 4)}, shape=(5,)),
    "Gemm, transB": one("Gemm", "InnerProduct", {"w": weights(4, 5), "b": weights(4)}, shape=(5,), transB=1),
    "Gemm, factors": one(
        "Gemm", "InnerProduct", {"w": weights(5, 4), "b": weights(1, 4)}, shape=(5,), alpha=0.5, beta=-2.0
    ),
    "Gemm, one bias": one("Gemm", "InnerProduct", {"w": weights(5, 4), "b": weights(1)}, shape=(5,)),
    "Gemm, scalar bias": one("Gemm", "InnerProduct", {"w": weights(5, 4), "b": weights()}, shape=(5,)),
    "MatMul": one("MatMul", "InnerProduct", {"w": weights(5, 4)}, shape=(5,)),
    "MatMul, 3-D": one("MatMul", "InnerProduct", {"w": weights(7, 4)}, shape=(3, 5, 7)),
    "MatMul, Add": Case(
        [("MatMul", ["x", "w"], ["z"], {}), ("Add", ["b", "z"], ["y"], {})],
        "InnerProduct Bias",
        {"w": weights(5, 4), "b": weights(4)},
        (5,),
    ),
    # pooling; windows of all kinds are in a test of their own
    "GlobalAveragePool": one("GlobalAveragePool", "Pooling"),
    "GlobalMaxPool": one("GlobalMaxPool", "Pooling"),
    "MaxPool": one("MaxPool", "Pooling", kernel_shape=[3, 2], strides=[2, 2]),
    "MaxPool, Caffe's rounding": one("MaxPool", "Pooling", kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1),
    "MaxPool, rounding by padding": one("MaxPool", "Pooling", kernel_shape=[2, 2], strides=[2, 2], pads=[0, 0, 1, 1]),
    "AveragePool": one("AveragePool", "Pooling", kernel_shape=[3, 2]),
    "AveragePool, whole image by padding": one("AveragePool", "Pooling", kernel_shape=[6, 8], pads=[0, 0, 1, 1]),
    "AveragePool, padding counts": one(
        "AveragePool", "Pooling", kernel_shape=[3, 3], pads=[1, 1, 1, 1], count_include_pad=1
    ),
    "AveragePool, padding does not count": one("AveragePool", "Pooling Scale", kernel_shape=[3, 3], pads=[1, 1, 1, 1]),
    "ReduceMean": one("ReduceMean", "Pooling", axes=[2, 3]),
    "ReduceMean, no dims": one("ReduceMean", "Pooling Reshape", axes=[-1, -2], keepdims=0),
    "ReduceMean, input": one("ReduceMean", "Pooling", {"a": ints(2, 3)}, opset=18),
    "ReduceMean, one axis": one("ReduceMean", "Reduction Reshape", axes=[3]),
    "ReduceMean, channels": one("ReduceMean", "Reduction", axes=[1, 2, 3], keepdims=0),
    "ReduceSum": one("ReduceSum", "Reduction Reshape", {"a": ints(2, 3)}),
    "ReduceL1": one("ReduceL1", "Reduction", axes=[2], keepdims=0, shape=(3, 5)),
    "ReduceSumSquare": one("ReduceSumSquare", "Reduction Reshape", axes=[-1]),
    "ReduceMax": one("ReduceMax", "Pooling", axes=[2, 3]),
    # element-wise functions
    "Relu": one("Relu", "ReLU"),
    "LeakyRelu": one("LeakyRelu", "ReLU"),
    "LeakyRelu, alpha": one("LeakyRelu", "ReLU", alpha=0.25),
    "Elu": one("Elu", "ELU", alpha=0.5),
    "PRelu": one("PRelu", "PReLU", {"s": weights(3, 1, 1)}),
    "PRelu, 2-D": one("PRelu", "PReLU", {"s": weights(5)}, shape=(5,)),
    "PRelu, shared": one("PRelu", "PReLU", {"s": weights(1)}),
    "Sigmoid": one("Sigmoid", "Sigmoid"),
    "Tanh": one("Tanh", "TanH"),
    "Abs": one("Abs", "AbsVal"),
    "Neg": one("Neg", "Power"),
    "Sqrt": one("Sqrt", "Power", positive=True),
    "Reciprocal": one("Reciprocal", "Power", positive=True),
    "Exp": one("Exp", "Exp"),
    "Log": one("Log", "Log", positive=True),
    "Softplus": one("Softplus", "BNLL"),
    "HardSigmoid": one("HardSigmoid", "HardSigmoid", alpha=0.25, beta=0.4),
    "HardSwish": one("HardSwish", "HardSwish"),
    "Clip": one("Clip", "ReLU", {"low": np.float32(0)}),
    "Clip, ReLU6": one("Clip", "Clip", {"low": np.float32(0), "high": np.float32(0.5)}),
    "Clip, upper": one("Clip", "Clip", {"high": np.float32(-0.5)}, inputs=("x", "", "high")),
    "Clip, contradictory": one("Clip", "Clip", {"low": np.float32(1), "high": np.float32(0.5)}, opset=12),
    "Clip, attributes": one("Clip", "ReLU", min=0.0, opset=9),
    # arithmetic
    "Add, number": one("Add", "Power", {"c": np.float32(1.5)}),
    "Add, channels": one("Add", "Bias", {"c": weights(3, 1, 1)}),
    "Add, image": one("Add", "Bias", {"c": weights(1, 3, 5, 7)}),
    "Add, columns": one("Add", "Bias", {"c": weights(7)}),
    "Add, two axes that are not neighbours": one("Add", "Bias", {"c": weights(3, 1, 7)}),
    "Sub, number": one("Sub", "Power", {"c": weights(1)}),
    "Sub, from number": one("Sub", "Power Power", {"c": weights(1)}, inputs=("c", "x")),
    "Sub, from channels": one("Sub", "Power Bias", {"c": weights(3, 1, 1)}, inputs=("c", "x")),
    "Mul, number": one("Mul", "Power", {"c": np.float32(1.5)}, inputs=("c", "x")),
    "Mul, channels": one("Mul", "Scale", {"c": weights(1, 3, 1, 1)}),
    "Div, number": one("Div", "Power", {"c": weights(1, low=0.5)}),
    "Div, rows": one("Div", "Scale", {"c": weights(5, 1, low=0.5)}),
    "Div, number by": one("Div", "Power Power", {"c": weights(1)}, inputs=("c", "x"), positive=True),
    "Pow": one("Pow", "Power", {"c": np.float32(3)}),
    "Add, blobs": Case([("Relu", ["x"], ["a"], {}), ("Add", ["a", "x"], ["y"], {})], "ReLU Eltwise"),
    "Sub, blobs": Case([("Relu", ["x"], ["a"], {}), ("Sub", ["x", "a"], ["y"], {})], "ReLU Power Eltwise"),
    "Mul, blobs": Case([("Sigmoid", ["x"], ["a"], {}), ("Mul", ["x", "a"], ["y"], {})], "Sigmoid Eltwise"),
    "Div, blobs": Case([("Sigmoid", ["x"], ["a"], {}), ("Div", ["x", "a"], ["y"], {})], "Sigmoid Power Eltwise"),
    "Mul, squeeze and excite": Case(
        [("GlobalAveragePool", ["x"], ["a"], {}), ("Mul", ["a", "x"], ["y"], {})], "Pooling Reshape Scale"
    ),
    "Sub, mean of the pixels": Case(
        [("GlobalAveragePool", ["x"], ["a"], {}), ("Sub", ["x", "a"], ["y"], {})], "Pooling Power Reshape Bias"
    ),
    "Mul, one map for all channels": Case(
        [("Split", ["x", "s"], ["a", "b"], {"axis": 1}), ("Mul", ["x", "a"], ["y"], {})],
        "Pad Tile Eltwise",
        {"s": ints(1, 2)},
    ),
    "Tile": one("Tile", "Tile Tile", {"r": ints(1, 2, 1, 3)}),
    "Sum": Case([("Relu", ["x"], ["a"], {}), ("Sum", ["a", "x", "x"], ["y"], {})], "ReLU Eltwise"),
    "Sum of one": Case([("Relu", ["x"], ["a"], {}), ("Sum", ["a"], ["y"], {})], "ReLU"),
    "Mean": Case([("Relu", ["x"], ["a"], {}), ("Mean", ["a", "x", "x"], ["y"], {})], "ReLU Eltwise"),
    "Max": Case([("Tanh", ["x"], ["a"], {}), ("Max", ["a", "x"], ["y"], {})], "TanH Eltwise"),
    # normalisation
    "BatchNormalization": one("BatchNormalization", "BatchNorm Scale", BN, epsilon=0.01),
    "BatchNormalization, statistics alone": one(
        "BatchNormalization", "BatchNorm", {**BN, "s": np.ones(3, np.float32), "b": np.zeros(3, np.float32)}
    ),
    "BatchNormalization, 2-D": one("BatchNormalization", "BatchNorm Scale", BN, shape=(3,)),
    "LRN": one("LRN", "LRN", size=3, alpha=0.5, beta=0.6, bias=1.5),
    "LRN, defaults": one("LRN", "LRN", size=5),
    "Softmax": one("Softmax", "Softmax", shape=(5,)),
    "Softmax, last axis": one("Softmax", "Softmax"),
    "Softmax, axis": one("Softmax", "Softmax", axis=-3),
    "LogSoftmax": one("LogSoftmax", "LogSoftmax", shape=(5,)),
    "LogSoftmax, old, several axes": one("LogSoftmax", "Flatten LogSoftmax Reshape", axis=2, opset=11),
    "Softmax, old": one("Softmax", "Softmax", shape=(5, 1, 1), opset=11),
    "Softmax, old, several axes": one("Softmax", "Flatten Softmax Reshape", opset=11),
    "Softmax, old, last axis": one("Softmax", "Softmax", axis=3, opset=11),
    # shapes
    "Reshape": one("Reshape", "Flatten", {"s": ints(0, -1)}),
    "Reshape, all": one("Reshape", "Reshape", {"s": ints(-1, 5, 21)}),
    "Reshape, some axes": one("Reshape", "Reshape", {"s": ints(0, 2, 3, 4, 7)}, shape=(6, 4, 7)),
    "Flatten": one("Flatten", "Flatten"),
    "Flatten, axis": one("Flatten", "Reshape", axis=2),
    "Squeeze": one("Squeeze", "Reshape", {"a": ints(2, -1)}, shape=(5, 1, 1)),
    "Squeeze, attribute": one("Squeeze", "Reshape", axes=[2], shape=(5, 1, 1), opset=11),
    "Unsqueeze": one("Unsqueeze", "Reshape", {"a": ints(1, -1)}),
    "Unsqueeze, attribute": one("Unsqueeze", "Reshape", axes=[2, 3], shape=(5,), opset=11),
    "Transpose, nothing moves": one("Transpose", "Reshape", perm=[0, 2, 3, 1], shape=(5, 1, 1)),
    "Transpose": one("Transpose", "Permute", perm=[0, 2, 3, 1]),
    "Transpose, all": one("Transpose", "Permute", shape=(3, 5), batches=(1,)),
    "shuffled channels": Case(
        [
            ("Reshape", ["x", "a"], ["r"], {}),
            ("Transpose", ["r"], ["t"], {"perm": [0, 2, 1, 3, 4]}),
            ("Reshape", ["t", "b"], ["y"], {}),
        ],
        "Reshape Permute Reshape",
        {"a": ints(1, 2, 3, 5, 7), "b": ints(1, 6, 5, 7)},
        (6, 5, 7),
        batches=(1,),  # onnxruntime would not reshape others
    ),
    "Reshape by Shape": Case(
        [
            ("Shape", ["x"], ["shape"], {}),
            ("Gather", ["shape", "zero"], ["n"], {}),
            ("Unsqueeze", ["n", "first"], ["n1"], {}),
            ("Concat", ["n1", "rest"], ["dims"], {"axis": 0}),
            ("Reshape", ["x", "dims"], ["y"], {}),
        ],
        "Flatten",
        {"zero": np.int64(0), "first": ints(0), "rest": ints(-1)},
    ),
    # joining and cutting
    "Concat": Case([("Relu", ["x"], ["a"], {}), ("Concat", ["a", "x"], ["y"], {"axis": 1})], "ReLU Concat"),
    "Sum, constant": one("Sum", "Parameter Eltwise", {"c": weights(1, *IMAGE)}, batches=(1,)),
    "Concat, constant": one(
        "Concat", "Parameter Concat", {"c": weights(1, 2, 5, 7)}, inputs=("c", "x"), axis=1, batches=(1,)
    ),
    "Concat, last axis": Case([("Relu", ["x"], ["a"], {}), ("Concat", ["a", "x"], ["y"], {"axis": -1})], "ReLU Concat"),
    "Split": Case([("Split", ["x", "s"], ["y", "z"], {"axis": 1})], "Slice", {"s": ints(2, 1)}, outputs=("y", "z")),
    "Split, equal": Case([("Split", ["x"], ["y", "z"], {"axis": 1})], "Slice", shape=(4, 5, 2), outputs=("y", "z")),
    "Split, uneven": Case(
        [("Split", ["x"], ["y", "z"], {"axis": 3, "num_outputs": 2})], "Slice", opset=18, outputs=("y", "z")
    ),
    "Split, attribute": Case(
        [("Split", ["x"], ["y", "z"], {"axis": 2, "split": [1, 4]})], "Slice", opset=11, outputs=("y", "z")
    ),
    "Split, one part used": Case([("Split", ["x", "s"], ["y", "z"], {"axis": 1})], "Pad", {"s": ints(2, 1)}),
    "Slice": one("Slice", "Pad", {"s": ints(1, -3), "e": ints(2, 2**40), "a": ints(1, 3)}),
    "Slice, attributes": one("Slice", "Pad", starts=[1], ends=[-1], axes=[2], opset=9),
    "Slice, nothing cut off": Case(
        [("Slice", ["x", "s", "e"], ["a"], {}), ("Relu", ["a"], ["y"], {})], "ReLU", {"s": ints(0), "e": ints(2**62)}
    ),
    "Pad": one("Pad", "Pad", {"p": ints(0, 0, 1, 2, 0, 0, 0, -1), "v": np.float32(0.5)}),
    "Pad, attributes": one("Pad", "Pad", pads=[0, 0, 1, 2, 0, 0, 0, 1], value=2.0, opset=9),
    "Pad, axes": one("Pad", "Pad", {"p": ints(1, 2), "v": np.float32(0), "a": ints(-1)}, opset=18),
    # what changes nothing
    "Dropout": one("Dropout", "Dropout"),
    "Dropout, input": one("Dropout", "Dropout", {"r": np.float32(0.3)}),
    "Identity": Case([("Identity", ["x"], ["a"], {}), ("Relu", ["a"], ["y"], {})], "ReLU"),
    "Identity at the end": Case([("Relu", ["x"], ["a"], {}), ("Identity", ["a"], ["y"], {})], "ReLU"),
    "Cast": Case(
        [("Cast", ["x"], ["d"], {"to": 11}), ("Cast", ["d"], ["a"], {"to": 1}), ("Relu", ["a"], ["y"], {})], "ReLU"
    ),
    # constants that are computed
    "Constant": Case(
        [("Constant", [], ["c"], {"value_floats": [2.0]}), ("Mul", ["x", "c"], ["y"], {})],
        "Power",
    ),
    "weights from others": Case(
        [
            ("Transpose", ["w"], ["t"], {"perm": [1, 0]}),
            ("Mul", ["t", "half"], ["u"], {}),
            ("Gemm", ["x", "u"], ["y"], {}),
        ],
        "InnerProduct",
        {"w": weights(4, 5), "half": np.float32(0.5)},
        (5,),
    ),
}


def load(case: Case, folder: Path, batch: int | str = "N") -> Network:
    model = make_model(case.nodes, {"x": (batch, *case.shape)}, case.outputs, case.constants, opset=case.opset)
    return from_onnx.load(save(model, folder))


@pytest.mark.parametrize("name", CASES)
def test_operators(name: str, tmp_path: Path) -> None:
    """The layers are those expected, and all outputs are onnxruntime's, for one image and for three."""
    case = CASES[name]
    model = make_model(case.nodes, {"x": ("N", *case.shape)}, case.outputs, case.constants, opset=case.opset)
    network = load(case, tmp_path)
    assert " ".join(layer.type for layer in network.layers) == case.types
    assert network.input_shape == (1, *case.shape)
    assert network.outputs == case.outputs
    for batch in case.batches:
        x = RNG.normal(0, 1, (batch, *case.shape)).astype(np.float32)
        x = np.abs(x) + np.float32(0.1) if case.positive else x
        got = network.forward(x)
        for output, expected in zip(case.outputs, run(model, x), strict=True):
            assert got[output].shape == expected.shape
            assert_close(got[output], expected, 1e-5, output)


def test_every_operator_has_a_case() -> None:
    import caffe2lrp.converters.from_onnx.layers  # noqa: F401

    assert {op for case in CASES.values() for op, *_ in case.nodes} >= set(READERS)


PARAMETERS: dict[str, list[LayerParams]] = {
    "Conv, everything": [Convolution(6, (3, 2), (2, 1), (1, 2), (2, 3), 3, bias=False)],
    "Conv, uneven padding": [Pad((0, 0, 0, 2), (0, 0, 1, 0)), Convolution(4, (3, 2), bias=False)],
    "MatMul, 3-D": [InnerProduct(4, bias=False, axis=3)],
    "GlobalAveragePool": [Pooling("AVE", None)],
    "MaxPool": [Pooling("MAX", (3, 2), (2, 2), ceil=False)],
    "MaxPool, rounding by padding": [Pooling("MAX", (2, 2), (2, 2), ceil=True)],
    "Add, number": [Power(shift=1.5)],
    "Add, image": [Bias(axis=1, num_axes=3)],
    "Mul, channels": [Scale(axis=1)],
    "BatchNormalization": [BatchNorm(float(np.float32(0.01))), Scale(bias=True)],
    "Mul, squeeze and excite": [Pooling("AVE", None), Reshape((), 2, 2), Scale(axis=0)],
    "Softmax, old": [Softmax(1)],
    "Reshape by Shape": [Flatten()],
    "Reshape, some axes": [Reshape((2, 3), 1, 1)],
    "Split": [Slice(2, 1, (2,))],
    "Split, equal": [Slice(2, 1)],
    "Pad": [Pad((0, 0, 1, 2), (0, 0, 0, -1), 0.5)],
}


@pytest.mark.parametrize("name", PARAMETERS)
def test_parameters(name: str, tmp_path: Path) -> None:
    assert [layer.params for layer in load(CASES[name], tmp_path).layers] == PARAMETERS[name]


@st.composite
def windows(draw: st.DrawFn) -> tuple[dict[str, Any], tuple[int, int]]:
    kernel = draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))
    attributes: dict[str, Any] = {
        "kernel_shape": kernel,
        "strides": draw(st.tuples(st.integers(1, 3), st.integers(1, 3))),
        "ceil_mode": draw(st.integers(0, 1)),
    }
    if draw(st.integers(0, 3)):
        attributes["pads"] = [draw(st.integers(0, k - 1)) for k in (*kernel, *kernel)]
    else:
        # onnxruntime takes negative padding where the stride is larger than the window
        attributes["strides"] = [min(s, k) for s, k in zip(attributes["strides"], kernel, strict=True)]
        attributes["auto_pad"] = draw(st.sampled_from(["SAME_UPPER", "SAME_LOWER", "VALID"]))
    return attributes, draw(st.tuples(st.integers(4, 9), st.integers(4, 9)))


@pytest.mark.parametrize("op", ["MaxPool", "AveragePool", "AveragePool, padding counts"])
@settings(max_examples=60, deadline=None, derandomize=True)
@given(case=windows(), opset=st.sampled_from([11, 17, 21]))
def test_pooling_windows(
    op: str, case: tuple[dict[str, Any], tuple[int, int]], opset: int, tmp_path_factory: pytest.TempPathFactory
) -> None:
    attributes, size = case
    name, _, counts = op.partition(",")
    attributes = {**attributes, "count_include_pad": 1} if counts else attributes
    model = make_model([(name, ["x"], ["y"], attributes)], {"x": (2, 3, *size)}, ["y"], opset=opset)
    x = np.random.default_rng(sum(size)).normal(0, 1, (2, 3, *size)).astype(np.float32)
    network = from_onnx.load(save(model, tmp_path_factory.getbasetemp()))
    (expected,) = run(model, x)
    assume(expected.size)
    assert_close(network.forward(x)["y"], expected, 1e-5, str(attributes))


# -- operators of before opset 7, which onnxruntime does not know --------------------------------------------------


def old(nodes: Sequence[Node], constants: Mapping[str, np.ndarray], folder: Path, opset: int) -> Network:
    return from_onnx.load(save(make_model(nodes, {"x": (2, *IMAGE)}, ["y"], constants, opset=opset), folder))


def test_old_broadcasting(tmp_path: Path) -> None:
    """A second operand is broadcast only if asked for, and from an axis on."""
    x, c = weights(2, *IMAGE), weights(3, low=0.5)
    for op, function in (("Add", np.add), ("Sub", np.subtract), ("Mul", np.multiply), ("Div", np.divide)):
        network = old([(op, ["x", "c"], ["y"], {"broadcast": 1, "axis": 1})], {"c": c}, tmp_path, 6)
        assert_close(network.forward(x)["y"], function(x, c[:, None, None]), 1e-6, op)
    network = old([("Mul", ["x", "c"], ["y"], {"broadcast": 1})], {"c": weights(7)}, tmp_path, 6)
    assert network.layers[0].params == Scale(axis=3)


def test_old_prelu_slopes_belong_to_channels(tmp_path: Path) -> None:
    x, slope = weights(2, *IMAGE), weights(3)
    network = old([("PRelu", ["x", "s"], ["y"], {})], {"s": slope}, tmp_path, 6)
    assert_close(network.forward(x)["y"], np.where(x > 0, x, slope[:, None, None] * x), 1e-6)


def test_old_reshape_and_pad(tmp_path: Path) -> None:
    x = weights(2, *IMAGE)
    network = old([("Reshape", ["x"], ["y"], {"shape": [0, -1], "consumed_inputs": [0]})], {}, tmp_path, 1)
    assert_close(network.forward(x)["y"], x.reshape(2, -1), 0)
    network = old([("Pad", ["x"], ["y"], {"paddings": [0, 0, 0, 1, 0, 0, 2, 0]})], {}, tmp_path, 1)
    assert_close(network.forward(x)["y"], np.pad(x, [(0, 0), (0, 0), (0, 2), (1, 0)]), 0)


def test_attributes_without_a_type(tmp_path: Path) -> None:
    """Files from before IR version 2 do not say of which type an attribute is."""
    model = make_model([("LeakyRelu", ["x"], ["y"], {"alpha": 0.5})], {"x": (1, 3)}, ["y"], opset=6)
    model.graph.node[0].attribute[0].ClearField("type")
    network = from_onnx.load(save(model, tmp_path))
    np.testing.assert_array_equal(network.forward(np.array([[-2.0, 0.0, 2.0]]))["y"], [[-1, 0, 2]])
