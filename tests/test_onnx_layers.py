"""Every layer type as ONNX in onnxruntime against the forward pass of the kernels."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import caffe2lrp.converters.onnx.layers  # noqa: F401  (fills the table of emitters)
from caffe2lrp.converters.onnx import build_model
from caffe2lrp.converters.onnx.export import closed_batch
from caffe2lrp.converters.onnx.registry import EMITTERS
from caffe2lrp.ir import Network
from caffe2lrp.layers import REGISTRY, LayerParams, activation, affine, batch_norm, join, lrn, pooling
from caffe2lrp.layers import reshape as reshaping
from caffe2lrp.layers.convolution import Convolution, Deconvolution
from caffe2lrp.layers.im2col import Im2col
from caffe2lrp.layers.inner_product import InnerProduct
from tests import naive
from tests.layer_cases import CASES, CHOSEN, assert_close, chain, network_of, poolings, random_input

TYPES = sorted(set(REGISTRY) - {"DetectionOutput"})  # which needs boxes: test_onnx_forks.py
CHOSEN_CASES = [(name, i) for name in TYPES for i in range(len(CHOSEN.get(name, ())))]


def run(model: bytes, x: np.ndarray, input_name: str = "data") -> dict[str, np.ndarray]:
    """Outputs in onnxruntime, without its optimisations: what is written is what is run."""
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.intra_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(names, {input_name: x}), strict=True))


def check(network: Network, tolerance: float = 2e-5, **options: Any) -> None:
    """The checked model gives in onnxruntime what the kernels give in single precision; open batches may be any."""
    model = build_model(network, **options).to_bytes()
    onnx.checker.check_model(onnx.load_from_string(model), full_check=True)
    sizes = [network.input_shape[0]]
    if closed_batch(network) is None:
        sizes.append(sizes[0] + 2)
    for n in sizes:
        batch = network.with_batch(n)
        x = random_input(batch).astype(np.float32)
        expected, found = batch.forward(x), run(model, x)
        assert set(found) == set(network.outputs)
        for blob, value in found.items():
            assert value.dtype == np.float32
            assert value.shape == batch.shapes[blob]
            assert_close(value, expected[blob], tolerance, blob)


def test_every_layer_type_has_an_emitter() -> None:
    assert set(REGISTRY) == set(EMITTERS)


@pytest.mark.parametrize("name", TYPES)
@settings(max_examples=25, deadline=None, derandomize=True)
@given(data=st.data())
def test_random_cases(name: str, data: st.DataObject) -> None:
    newest = 21 if name == "ROIPooling" else onnx.defs.onnx_opset_version()  # onnxruntime has no newer MaxRoiPool
    opset = data.draw(st.sampled_from([20, EMITTERS[name].opset, newest]))
    check(network_of(data.draw(CASES[name]), seed=data.draw(st.integers(0, 5))), opset=opset)


@pytest.mark.parametrize(("name", "index"), CHOSEN_CASES)
def test_chosen_cases(name: str, index: int) -> None:
    check(network_of(CHOSEN[name][index], seed=index))


@pytest.mark.parametrize(
    ("params", "shape"),
    [
        (Deconvolution(6, (3, 2), (2, 1), (1, 0), group=2), (2, 4, 3, 5)),
        (Convolution(5, (2, 3), axis=2), (2, 3, 4, 5, 7)),
        (Convolution(5, ()), (2, 3)),
        (Convolution(5, (2, 2, 3), (1, 2, 1)), (2, 3, 4, 5, 7)),
        (Im2col((3, 2), (2, 1), (1, 0)), (2, 3, 5, 7)),
        (Im2col((2,), axis=2), (2, 3, 4, 5)),
        (pooling.SPP(3, "AVE"), (2, 3, 7, 8)),
        (pooling.Pooling("STOCHASTIC", (3, 2), (2, 2)), (2, 3, 6, 7)),
        (pooling.Pooling("AVE", (2, 2, 3), (2, 1, 2), (0, 1, 1)), (2, 3, 5, 4, 7)),
    ],
    ids=str,
)
def test_an_open_batch(params: LayerParams, shape: tuple[int, ...]) -> None:
    network = network_of((params, [shape]))
    model = build_model(network).to_bytes()
    other = network.with_batch(5)
    x = random_input(other).astype(np.float32)
    found = run(model, x)
    for blob, expected in other.forward(x).items():
        assert found[blob].shape == expected.shape
        assert_close(found[blob], expected, 2e-5, blob)


@settings(max_examples=150, deadline=None, derandomize=True)
@given(case=poolings())
def test_pooling_is_the_plain_formula(case: Any) -> None:
    """Sizes, divisors and empty windows, by the naive twin (onnx's reference refuses or shifts some windows)."""
    network = network_of(case)
    x = random_input(network).astype(np.float32)
    expected = naive.forward(network, x)["top0"]
    model = build_model(network)
    assert_close(run(model.to_bytes(), x)["top0"], expected, 2e-6)
    assert not any(a.name == "ceil_mode" for node in model.structure.graph.node for a in node.attribute)


@pytest.mark.parametrize(
    ("params", "shape", "operators"),
    [
        (pooling.Pooling("MAX", (3, 3), (2, 2)), (1, 2, 6, 9), ["MaxPool"]),
        (pooling.Pooling("MAX", (1, 2), (4, 5)), (1, 1, 6, 8), ["Pad", "MaxPool"]),  # a window without pixels
        (pooling.Pooling("AVE", (3, 3), (2, 2), (1, 1)), (1, 2, 5, 7), ["AveragePool"]),
        (pooling.Pooling("AVE", (3, 3), (2, 2)), (1, 2, 6, 9), ["AveragePool"]),
        (pooling.Pooling("AVE", (3, 3), (2, 2), (1, 1)), (1, 2, 6, 8), ["AveragePool", "Mul"]),  # beyond the padding
        (pooling.Pooling("AVE", None), (1, 2, 5, 4), ["GlobalAveragePool"]),
    ],
    ids=str,
)
def test_pooling_is_written_as(params: pooling.Pooling, shape: tuple[int, ...], operators: list[str]) -> None:
    network = chain(shape, params)
    check(network)
    assert [node.op_type for node in build_model(network).structure.graph.node] == operators


def test_a_window_without_pixels_is_the_lowest_number() -> None:
    network = chain((1, 1, 6, 8), pooling.Pooling("MAX", (1, 2), (4, 5)))
    x = np.full((1, 1, 6, 8), -7, np.float32)
    found = run(build_model(network).to_bytes(), x)["y0"]
    assert (found == np.finfo(np.float32).min).any()
    np.testing.assert_array_equal(found, network.forward(x)["y0"])


# -- what a batch is ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("layer", "shape", "reason"),
    [
        (reshaping.Reshape((-1, 6)), (2, 3, 4), "mixes"),
        (reshaping.Flatten(axis=0), (2, 3, 4), "mixes"),
        (InnerProduct(4, axis=0), (2, 3), "needs"),  # weights that fit one batch size
        (affine.Scale(axis=0), (2, 3), "needs"),
    ],
    ids=str,
)
def test_layers_that_close_the_batch(layer: Any, shape: tuple[int, ...], reason: str) -> None:
    network = chain(shape, layer)
    closed = closed_batch(network)
    assert closed is not None
    assert "layer 'layer0'" in closed
    assert reason in closed
    model = build_model(network)
    assert model.structure.graph.input[0].type.tensor_type.shape.dim[0].dim_value == 2
    check(network)


def test_a_batch_that_is_cut_is_closed() -> None:
    network = network_of((join.Slice(2, axis=0), [(2, 3)]))
    assert "cannot cut" in str(closed_batch(network))
    check(network)


def test_a_fixed_batch() -> None:
    network = chain((1, 2, 5, 5), Convolution(3, (3, 3)), activation.ReLU())
    model = build_model(network, batch=3)
    assert model.structure.graph.input[0].type.tensor_type.shape.dim[0].dim_value == 3
    x = random_input(network.with_batch(3)).astype(np.float32)
    assert_close(run(model.to_bytes(), x)["y1"], network.forward(x)["y1"], 2e-6)


# -- half precision, simplified --------------------------------------------------------------------------------


PICKING = {"DetectionOutput", "ProposalLayer", "ROIPooling", "Upsample"}  # by places and ranks, which rounding changes


@pytest.mark.parametrize("name", sorted(set(REGISTRY) - PICKING))
@settings(max_examples=8, deadline=None, derandomize=True)
@given(data=st.data())
def test_half_precision(name: str, data: st.DataObject) -> None:
    network = network_of(data.draw(CASES[name]), seed=1)
    model = build_model(network, fp16=True)
    onnx.checker.check_model(onnx.load_from_string(model.to_bytes()), full_check=True)
    x = random_input(network).astype(np.float32)
    expected, found = network.forward(x), run(model.to_bytes(), x)
    for blob, value in found.items():
        assert value.dtype == np.float32
        ordinary = np.abs(expected[blob]) < 1e4  # half precision ends at 65504
        assert_close(value[ordinary], expected[blob][ordinary], 2e-2, blob)


def test_squares_stay_in_single_precision() -> None:
    network = chain((1, 5, 2, 2), lrn.LRN(3, 1.0, 0.75), lrn.LRN(3, 1.0, 0.75, 1.0, "within"), activation.Power(3.0))
    x = np.full((1, 5, 2, 2), 600, np.float32)
    model = build_model(network, fp16=True)
    assert_close(run(model.to_bytes(), x)["y2"], network.forward(x)["y2"], 1e-2)


@settings(max_examples=25, deadline=None, derandomize=True)
@given(data=st.data())
def test_simplified(data: st.DataObject) -> None:
    """Any few layers behind a linear one: the outputs stay, and never more nodes are written."""
    shape, linear = data.draw(
        st.sampled_from([((2, 3, 5, 4), Convolution(4, (2, 3), bias=False)), ((2, 6), InnerProduct(4))])
    )
    layers = st.sampled_from(
        [batch_norm.BatchNorm(), affine.Scale(bias=True), affine.Bias(), activation.Power(), activation.ReLU(),
         join.Concat(), reshaping.Flatten(), reshaping.Reshape((0, -1)), REGISTRY["Dropout"]()]
    )  # fmt: skip
    network = chain(shape, linear, *data.draw(st.lists(layers, min_size=1, max_size=5)))
    check(network, simplify=True, tolerance=5e-5)
    before, after = (len(build_model(network, simplify=s).structure.graph.node) for s in (False, True))
    assert after <= before
