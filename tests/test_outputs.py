"""What linear layers write: with their ReLU, for a concat, and several of them as one product."""

from __future__ import annotations

import numpy as np
import pytest

from caffe2lrp.engine.outputs import Written, spaced, together, written
from caffe2lrp.engine.plan import ForwardPlan
from caffe2lrp.ir import Network
from caffe2lrp.layers import activation, join
from caffe2lrp.layers.convolution import Convolution
from caffe2lrp.layers.inner_product import InnerProduct
from tests import naive
from tests.layer_cases import assert_close, build, random_input


def module(batch: int) -> Network:
    """An inception module, with 1 x 1 convolutions that have a ReLU or not, a group, a stride, or no bias."""
    return build(
        {"data": (batch, 6, 9, 13)},
        ("a", Convolution(5, (1, 1)), ["data"], ["a"]),
        ("a+", activation.ReLU(), ["a"], ["a+"]),
        ("b", Convolution(14, (1, 1), bias=False), ["data"], ["b"]),
        ("b+", activation.ReLU(), ["b"], ["b+"]),
        ("b3", Convolution(7, (3, 3), pad=(1, 1)), ["b+"], ["b3"]),
        ("c", Convolution(3, (1, 1)), ["data"], ["c"]),
        ("c+", activation.ReLU(), ["c"], ["c+"]),
        ("c5", Convolution(4, (5, 5), pad=(2, 2)), ["c+"], ["c5"]),
        ("grouped", Convolution(4, (1, 1), group=2), ["data"], ["grouped"]),
        ("halved", Convolution(4, (1, 1), (2, 2)), ["data"], ["halved"]),
        ("d", Convolution(2, (1, 1)), ["data"], ["d"]),
        ("e", Convolution(9, (1, 1)), ["data"], ["e"]),
        ("all", join.Concat(1), ["a+", "b3", "c5", "grouped", "d", "e"], ["all"]),
        ("f", Convolution(3, (1, 1)), ["all"], ["f"]),
        ("g", InnerProduct(2), ["halved"], ["g"]),
    )


def test_a_relu_is_done_with_the_layer_before() -> None:
    some, everything = written(module(2), frozenset({"f", "b"})), written(module(2), None)
    assert some["a"] == Written(None, "a+")
    assert some["b"] == everything["b"] == Written("b", "b+")
    assert some["f"] == everything["f"] == Written("f", None)
    assert (some["a"].only, some["b"].only, some["f"].only) == ("a+", None, "f")


def test_convolutions_can_write_to_images_that_lie_apart() -> None:
    network = module(2)
    found = spaced(network, written(network, frozenset({"f"})))
    assert {"a+", "b3", "c5", "grouped", "d", "e", "halved"} <= found
    assert not found & {"all", "g", "a"}


def test_convolutions_of_single_pixels_are_one_product() -> None:
    network = module(2)
    found = together(network, written(network, frozenset({"f"})))
    assert {name: [layer.name for layer in layers] for name, layers in found.items()} == {
        "a": ["a", "b", "c"],
        "d": ["d", "e"],
    }
    kept = together(network, written(network, frozenset({"f", "b"})))
    assert [layer.name for layer in kept["a"]] == ["a", "c"]


@pytest.mark.parametrize("batch", [1, 3])
@pytest.mark.parametrize("dtype", ["float32", "float64"])
@pytest.mark.parametrize("keep", ["f g", "f b g", "all c5 a+ g"])
def test_they_compute_the_same(keep: str, dtype: str, batch: int) -> None:
    network = module(batch)
    x = random_input(network)
    expected = naive.forward(network, x)
    plan = ForwardPlan(network, np.dtype(dtype), frozenset(keep.split()))
    for _ in range(2):
        for blob, values in plan.run({"data": x}, keep.split()).items():
            assert_close(values, expected[blob], 1e-12 if dtype == "float64" else 1e-5)
    for blob in ("a+", "b3", "c5", "d", "e"):
        assert np.shares_memory(plan.values[blob], plan.values["all"])
    calls = [
        label
        for label, call in zip(plan.program.labels, plan.program._calls, strict=True)
        if call[0].name == "copy_slice"
    ]
    assert not calls
