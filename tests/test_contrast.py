"""Classes in contrast, relevance of inner blobs, and relevance that passes through some channels."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

import caffe2lrp
from caffe2lrp.errors import OptionError
from caffe2lrp.ir import Network, with_weights
from caffe2lrp.layers import activation, lrn, pooling, softmax
from caffe2lrp.layers.convolution import Convolution
from caffe2lrp.layers.inner_product import InnerProduct
from caffe2lrp.layers.join import Concat
from tests.layer_cases import build

X = np.array([[[[1.0, 2.0]]]])
"""One channel, two pixels; hidden (1, 2), (3, 6); scores 12, 7, 1."""


@pytest.fixture
def hand() -> Network:
    network = build(
        {"data": (1, 1, 1, 2)},
        ("conv", Convolution(2, (1, 1), bias=False), ["data"], ["hidden"]),
        ("fc", InnerProduct(3, bias=False), ["hidden"], ["scores"]),
    )
    conv, fc = network.layers
    weights = np.array([[1.0, 1, 1, 1], [0, 2, 1, 0], [1, 0, 0, 0]])
    return network.with_layers(
        [
            with_weights(conv, {"weight": np.array([1.0, 3]).reshape(2, 1, 1, 1)}),
            with_weights(fc, {"weight": weights}),
        ]
    )


def branches(batch: int = 1) -> Network:
    """Convolutions side by side behind one another, pooling and LRN."""
    return build(
        {"data": (batch, 3, 9, 7)},
        ("conv", Convolution(5, (3, 3), pad=(1, 1)), ["data"], ["c"]),
        ("relu", activation.ReLU(), ["c"], ["r"]),
        ("norm", lrn.LRN(3, 0.1), ["r"], ["n"]),
        ("left", Convolution(4, (1, 1)), ["n"], ["a"]),
        ("right", Convolution(3, (3, 3), pad=(1, 1)), ["n"], ["b"]),
        ("join", Concat(1), ["a", "b"], ["j"]),
        ("rectified", activation.ReLU(), ["j"], ["k"]),
        ("pool", pooling.Pooling("MAX", (3, 3), (2, 2)), ["k"], ["m"]),
        ("fc", InnerProduct(6), ["m"], ["f"]),
        ("prob", softmax.Softmax(), ["f"], ["y"]),
    )


@pytest.fixture(scope="module")
def network() -> Network:
    return branches()


def images(count: int = 1) -> np.ndarray:
    return np.random.default_rng(3).normal(size=(count, 3, 9, 7))


ALL: list[dict[str, Any]] = [
    {"rule": "epsilon", "epsilon": 0.01},
    {"rule": "alphabeta", "beta": 1.0},
    {"rule": "gamma"},
    {"rule": "generalized_gamma"},
    {"rule": "wsquare"},
    {"rule": "flat"},
    {"rule": "excitation"},
    {"composite": "epsilon_plus_flat"},
    {"composite": "epsilon_alpha2_beta1", "lrn": "identity"},
    {"composite": "epsilon_alpha2_beta1", "lrn": "toolbox"},
    {"composite": "gradient"},
    {"composite": "gradient_x_input"},
    {"composite": "smoothgrad", "samples": 3},
    {"composite": "integrated_gradients", "steps": 3},
]


# -- contrast -------------------------------------------------------------------------------------------------


def test_a_contrast_by_hand(hand: Network) -> None:
    e = caffe2lrp.explain(hand, X, 0, against=1, rule="z", keep="hidden", account=True)
    np.testing.assert_allclose(e.blobs["hidden"].reshape(-1), [1 - 0, 2 - 4, 3 - 3, 6 - 0])
    np.testing.assert_allclose(e.relevance.reshape(-1), [1, 4])
    assert (e.score.tolist(), e.target, e.against) == ([12 - 7], [[0]], [[1]])
    assert e.account is not None
    assert e.account.start == e.account.arrived == pytest.approx(5)


def test_the_mean_of_several_by_hand(hand: Network) -> None:
    e = caffe2lrp.explain(hand, X, 0, against=[1, 2], rule="z", keep="hidden")
    np.testing.assert_allclose(e.blobs["hidden"].reshape(-1), [0.5, 0, 1.5, 6])
    assert e.score.tolist() == [12 - (7 + 1) / 2]
    pair = caffe2lrp.explain(hand, X, [0, 1], against=2, rule="z")
    assert pair.score.tolist() == [12 + 7 - 2 * 1], "each of the two is explained against the third"
    one = caffe2lrp.explain(hand, X, 0, against=[1, 2], rule="z", start="one")
    assert one.score.tolist() == [0]
    np.testing.assert_allclose(one.relevance.sum(), 0, atol=1e-12)


@pytest.mark.parametrize("options", ALL, ids=str)
def test_a_contrast_is_the_difference_of_two_maps(network: Network, options: dict[str, Any]) -> None:
    session = caffe2lrp.Session(network, images())
    a, b = session.explain(2, **options), session.explain(4, **options)
    both = session.explain(2, against=4, **options)
    size = max(np.abs(a.relevance).max(), np.abs(b.relevance).max())
    np.testing.assert_allclose(both.relevance, a.relevance - b.relevance, atol=1e-10 * size)
    np.testing.assert_allclose(both.score, a.score - b.score, rtol=1e-12)


def test_contrasts_of_a_batch() -> None:
    x = images(3)
    batch = caffe2lrp.explain(branches(3), x, [1, 2, 3], against=[[4], [1, 5], [0]])
    for n, (target, against) in enumerate([(1, 4), (2, [1, 5]), (3, 0)]):
        single = caffe2lrp.explain(branches(), x[n : n + 1], target, against=against)
        np.testing.assert_allclose(batch.relevance[n], single.relevance[0], atol=1e-12)
        np.testing.assert_allclose(batch.score[n], single.score[0])


# -- inner blobs ----------------------------------------------------------------------------------------------


def test_relevance_through_a_channel_by_hand(hand: Network) -> None:
    e = caffe2lrp.explain(hand, X, 0, rule="z", through="hidden", channel=1, account=True)
    np.testing.assert_allclose(e.relevance.reshape(-1), [3, 6])
    assert e.score.tolist() == [9]
    assert e.account is not None
    assert e.account.start == e.account.arrived == 9
    contrast = caffe2lrp.explain(hand, X, 0, against=1, rule="z", through="conv", channel=[1])
    np.testing.assert_allclose(contrast.relevance.reshape(-1), [0, 6])
    seen = caffe2lrp.explain(hand, X, layer="hidden", channel=0, rule="z")
    np.testing.assert_allclose(seen.relevance.reshape(-1), [1, 2])
    assert (seen.score.tolist(), seen.target) == ([3], [[0, 1]])


def test_the_channels_of_a_blob_that_all_relevance_passes_add_up(network: Network) -> None:
    session = caffe2lrp.Session(network, images())
    e = session.explain(2, keep=["k", "left"])
    maps = [session.explain(2, through="k", channel=c) for c in range(7)]
    np.testing.assert_allclose(sum(m.relevance for m in maps), e.relevance, atol=1e-12)
    np.testing.assert_allclose([m.score[0] for m in maps], e.blobs["k"][0].sum(axis=(1, 2)), atol=1e-12)
    np.testing.assert_array_equal(session.explain(2, through="k").relevance, e.relevance)
    np.testing.assert_array_equal(e.blobs["left"], e.blobs["k"][:, :4])
    left = session.explain(2, through="left").relevance
    right = session.explain(2, through="b").relevance
    np.testing.assert_allclose(left + right, e.relevance, atol=1e-12)
    assert np.abs(left - e.relevance).max() > 1e-3 * np.abs(e.relevance).max()


def test_channels_of_a_batch() -> None:
    x = images(2)
    batch = caffe2lrp.explain(branches(), x, layer="k", channel=[1, 6], keep="n")
    for n in range(2):
        single = caffe2lrp.explain(branches(), x[n : n + 1], layer="k", channel=[1, 6], keep="n")
        np.testing.assert_allclose(batch.relevance[n], single.relevance[0], atol=1e-12)
        np.testing.assert_allclose(batch.blobs["n"][n], single.blobs["n"][0], atol=1e-12)
    assert batch.blobs["n"].shape == (2, 5, 9, 7)


def test_what_is_kept_is_a_copy(network: Network) -> None:
    session = caffe2lrp.Session(network, images())
    first = session.explain(2, keep="k").blobs["k"]
    before = first.copy()
    session.explain(3, keep="k")
    np.testing.assert_array_equal(first, before)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"target": 2, "against": 2}, "class 2 cannot be explained against itself"),
        ({"target": 2, "against": 6}, "target 6 does not exist"),
        ({"target": 2, "channel": 1}, "channel=.* goes with through"),
        ({"target": 2, "layer": "k", "channel": 1}, "channel=.* goes with through"),
        ({"layer": "k", "channel": 7}, "'k' has 7 channels"),
        ({"target": 2, "through": "k", "channel": -1}, "channel -1 does not exist"),
        ({"target": 2, "through": "k", "channel": []}, "no channel"),
        ({"target": 2, "through": "k", "channel": 1.5}, "an index or a list"),
        ({"target": 2, "through": "nonsense"}, "no blob or layer 'nonsense'"),
        ({"target": 2, "keep": "y"}, "no relevance passes through blob 'y'"),
        ({"target": 2, "through": "a", "keep": "b"}, "not on the way from 'a'"),
        ({"target": 2, "keep": "k", "composite": "smoothgrad"}, "average over inputs"),
    ],
)
def test_options_that_do_not_fit(network: Network, options: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        caffe2lrp.explain(network, images(), **options)


def test_a_merged_layer_has_no_relevance() -> None:
    from caffe2lrp.layers.affine import Scale

    merged = build(
        {"data": (1, 3, 5, 7)},
        ("conv", Convolution(2, (1, 1)), ["data"], ["c"]),
        ("scale", Scale(), ["c"], ["s"]),
        ("fc", InnerProduct(3), ["s"], ["f"]),
    )
    for options in ({"keep": "c"}, {"through": "c"}):
        with pytest.raises(OptionError, match="merged"):
            caffe2lrp.explain(merged, np.ones((1, 3, 5, 7)), 0, **options)  # type: ignore[arg-type]


# -- a real model ---------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_googlenet(shared: Path) -> None:
    model = shared / "models" / "bvlc_googlenet"
    network = caffe2lrp.load(model / "deploy.prototxt", model / "bvlc_googlenet.caffemodel")
    preprocessing = caffe2lrp.Preprocessing("BGR", (104, 117, 123), 1.0, ("short", 256))
    session = caffe2lrp.Session(network, preprocessing(shared / "photos" / "cat.jpg", network.input_shape))
    e = session.explain(282, against=281, account=True, keep="inception_4a/output")
    assert e.account is not None
    assert e.score[0] == pytest.approx(e.outputs[0, 282] - e.outputs[0, 281])
    assert e.account.start == pytest.approx(float(e.score[0]), rel=1e-5)
    inner = e.blobs["inception_4a/output"]
    assert inner.shape == (1, 512, 14, 14)
    sums = inner[0].sum(axis=(1, 2), dtype=np.float64)
    best = int(np.abs(sums).argmax())
    through = session.explain(282, against=281, through="inception_4a/output", channel=best, account=True)
    assert through.account is not None
    assert through.account.start == pytest.approx(sums[best], rel=1e-4)
    assert through.account.arrived == pytest.approx(float(through.relevance.sum()), rel=1e-3)
    difference = session.explain(282).relevance - session.explain(281).relevance
    np.testing.assert_allclose(e.relevance, difference, atol=1e-5 * np.abs(difference).max())
