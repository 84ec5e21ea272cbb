"""The forward pass of every layer type against its naive twin, in both precisions."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from caffe2lrp.engine import registry
from caffe2lrp.layers import REGISTRY, activation, batch_norm, join, pooling, softmax
from caffe2lrp.layers.affine import Scale
from caffe2lrp.layers.convolution import Convolution
from caffe2lrp.layers.inner_product import InnerProduct
from tests import layer_cases
from tests.layer_cases import CASES, CHOSEN, Case, build, chain, check_forward, network_of, random_input

CHOSEN_CASES = [(name, i) for name, cases in CHOSEN.items() for i in range(len(cases))]


def test_every_layer_type_has_cases_and_runs() -> None:
    assert set(REGISTRY) == set(CASES), "add cases of the new layer type to layer_cases.py"
    import caffe2lrp.engine.layers  # noqa: F401

    assert set(REGISTRY) == set(registry.FORWARD)


@pytest.mark.parametrize("name", sorted(REGISTRY))
@settings(max_examples=30, deadline=None, derandomize=True)
@given(data=st.data())
def test_random_cases(name: str, data: st.DataObject) -> None:
    network = network_of(data.draw(CASES[name]), seed=data.draw(st.integers(0, 5)))
    check_forward(network, random_input(network))


@settings(max_examples=80, deadline=None, derandomize=True)
@given(case=layer_cases.convolutions(largest=14))
def test_random_convolutions(case: Case) -> None:
    network = network_of(case)
    check_forward(network, random_input(network))


@pytest.mark.parametrize(("name", "index"), CHOSEN_CASES)
def test_chosen_cases(name: str, index: int) -> None:
    network = network_of(CHOSEN[name][index], seed=index)
    check_forward(network, random_input(network))


@pytest.mark.parametrize("rows", [1, 7, 8, 9, 11, 12, 13, 24, 25])
def test_rows_around_the_tile(rows: int) -> None:
    network = chain((1, 3, 5, 7), Convolution(rows, (3, 3), pad=(1, 0)))
    check_forward(network, random_input(network))


@pytest.mark.parametrize(
    "linear",
    [Convolution(13, (3, 3)), Convolution(6, (2, 3), bias=False, group=3, stride=(2, 1)), InnerProduct(9)],
    ids=str,
)
def test_relu_fused_and_not(linear: Convolution | InnerProduct) -> None:
    network = chain((2, 3, 7, 8), linear, activation.ReLU())
    x = random_input(network)
    check_forward(network, x)  # keep="all" runs the two layers apart, the outputs alone fuse them
    apart, fused = network.forward(x, keep="all"), network.forward(x)
    np.testing.assert_array_equal(fused["y1"], apart["y1"])
    assert (apart["y0"] < 0).any()
    np.testing.assert_array_equal(apart["y1"], np.maximum(apart["y0"], 0))


def test_relu_is_not_fused_where_its_input_is_needed() -> None:
    conv, relu = Convolution(4, (1, 1)), activation.ReLU()
    network = build(
        {"data": (1, 2, 3, 3)},
        ("conv", conv, ["data"], ["c"]),
        ("relu", relu, ["c"], ["r"]),
        ("both", join.Concat(), ["c", "r"], ["y"]),
    )
    check_forward(network, random_input(network))
    assert set(network.forward(random_input(network), keep=["r", "c"])) == {"r", "c"}


def test_a_leaky_relu_is_not_fused_into_a_plain_one() -> None:
    network = chain((2, 3, 4, 5), Convolution(4, (3, 3)), activation.ReLU(0.2), InnerProduct(5), activation.ReLU(-0.1))
    check_forward(network, random_input(network))


def test_batch_norm_without_statistics() -> None:
    network = chain((2, 3, 4), batch_norm.BatchNorm())
    weights = dict(network.layers[0].weights, weight=np.zeros(1))
    from caffe2lrp.ir import with_weights

    network = network.with_layers([with_weights(network.layers[0], weights)])
    x = random_input(network)
    np.testing.assert_allclose(network.forward(x)["y0"], x / np.sqrt(1e-5), rtol=1e-12)


def test_softmax_of_large_scores() -> None:
    network = chain((2, 3), softmax.Softmax())
    x = np.array([[1e4, 0, -1e4], [-5e3, -5e3, -6e3]])
    np.testing.assert_allclose(network.forward(x)["y0"], [[1, 0, 0], [0.5, 0.5, 0]], atol=1e-15)


def test_log_softmax_of_large_scores() -> None:
    network = chain((2, 3), softmax.LogSoftmax())
    x = np.array([[1e4, 0, -1e4], [-5e3, -5e3, -6e3]])
    expected = [[0, -1e4, -2e4], [-np.log(2), -np.log(2), -1e3 - np.log(2)]]
    np.testing.assert_allclose(network.forward(x)["y0"], expected, atol=1e-15, rtol=1e-15)


def test_sigmoid_and_elu_of_large_values() -> None:
    x = np.array([[-1e4, -800.0, 0.0, 800.0, 1e4]])
    np.testing.assert_array_equal(chain((1, 5), activation.Sigmoid()).forward(x)["y0"], [[0, 0, 0.5, 1, 1]])
    np.testing.assert_array_equal(chain((1, 5), activation.ELU(2.0)).forward(x)["y0"], [[-2, -2, 0, 800, 1e4]])


def test_nan_reaches_the_output() -> None:
    network = chain((2, 3, 6, 6), Convolution(4, (3, 3)), activation.ReLU(), InnerProduct(5))
    x = random_input(network)
    x[1, 2, 3, 3] = np.nan
    for given_x in (x, x.astype(np.float32)):
        y = network.forward(given_x)["y2"]
        assert np.isfinite(y[0]).all()
        assert np.isnan(y[1]).all()


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_maximum_passes_over_nan(stride: int) -> None:
    network = chain((1, 2, 9, 37), pooling.Pooling("MAX", (3, 3), (stride, stride)))
    x = random_input(network)
    x[0, :, ::2, 1::5] = np.nan
    x[0, 1, 2:6, 11:16] = np.nan
    y = network.forward(x)["y0"]
    windows = np.lib.stride_tricks.sliding_window_view(x, (3, 3), axis=(2, 3))[:, :, ::stride, ::stride]
    expected = np.fmax.reduce(windows, axis=(4, 5))
    np.testing.assert_array_equal(
        y[..., : expected.shape[3]], np.where(np.isnan(expected), np.finfo("f").min, expected)
    )
    assert np.isnan(expected).any()


def test_average_of_a_padded_window_counts_the_padding() -> None:
    # 4 wide, window 3, stride 3, padding 1: windows at -1 and 2; both reach one cell of padding or none beyond
    network = chain((1, 1, 1, 4), pooling.Pooling("AVE", (1, 3), (1, 3), (0, 1)))
    y = network.forward(np.array([[[[3.0, 6.0, 9.0, 12.0]]]]))["y0"]
    np.testing.assert_allclose(y.ravel(), [9 / 3, 21 / 3])


def test_a_whole_network() -> None:
    network = build(
        {"data": (2, 3, 13, 11)},
        ("conv", Convolution(5, (3, 3), stride=(2, 1)), ["data"], ["c"]),
        ("norm", batch_norm.BatchNorm(), ["c"], ["n"]),
        ("scale", Scale(bias=True), ["n"], ["s"]),
        ("relu", activation.ReLU(), ["s"], ["r"]),
        ("a", Convolution(4, (1, 1)), ["r"], ["a"]),
        ("a relu", activation.ReLU(), ["a"], ["ar"]),
        ("b", pooling.Pooling("MAX", (3, 3), (1, 1), (1, 1)), ["r"], ["b"]),
        ("join", join.Concat(), ["ar", "b"], ["j"]),
        ("pool", pooling.Pooling("AVE", None), ["j"], ["p"]),
        ("fc", InnerProduct(7), ["p"], ["f"]),
        ("prob", softmax.Softmax(), ["f"], ["y"]),
    )
    check_forward(network, random_input(network))
