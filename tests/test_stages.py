"""Large batches: the first layers take a few images at a time, with the same results to the last bit."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import pytest

from caffe2lrp.engine import stages
from caffe2lrp.engine.plan import ForwardPlan
from caffe2lrp.ir import Network
from caffe2lrp.kernels import team
from caffe2lrp.layers import activation, eltwise, join, reshape
from caffe2lrp.layers.convolution import Convolution
from caffe2lrp.layers.lrn import LRN
from caffe2lrp.layers.pooling import Pooling
from tests.layer_cases import build, random_input

FLOAT32 = np.dtype("float32")


@pytest.fixture(params=[1, 2, 3])
def threads(request: pytest.FixtureRequest) -> Iterator[int]:
    before = team.threads()
    team.set_threads(request.param)
    yield request.param
    team.set_threads(before)


def narrowing(batch: int) -> Network:
    """Large blobs and few weights first, then small blobs and many weights; branches before and behind the cut."""
    return build(
        {"data": (batch, 3, 40, 37)},
        ("a", Convolution(16, (3, 3), pad=(1, 1)), ["data"], ["a"]),
        ("a+", activation.ReLU(), ["a"], ["a+"]),
        ("norm", LRN(5, 0.1, 0.75, 1.0), ["a+"], ["norm"]),
        ("b", Convolution(8, (1, 1)), ["norm"], ["b"]),
        ("c", Convolution(8, (3, 3), pad=(1, 1)), ["norm"], ["c"]),
        ("bc", join.Concat(1), ["b", "c"], ["bc"]),
        ("pool", Pooling("MAX", (3, 3), (4, 4)), ["bc"], ["pool"]),
        ("d", Convolution(128, (3, 3)), ["pool"], ["d"]),
        ("e", Convolution(128, (3, 3), pad=(1, 1)), ["d"], ["e"]),
        ("sum", eltwise.Eltwise(), ["d", "e"], ["sum"]),
    )


def cut(network: Network, *keep: str) -> str | None:
    return stages.best_cut(network, FLOAT32, frozenset(keep or network.outputs))


@pytest.fixture
def small_cache(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stages, "_CACHE", 2**15)
    monkeypatch.setattr(stages, "_LEAST", 0)


@pytest.mark.usefixtures("small_cache")
def test_the_cut_is_where_blobs_are_small_and_weights_many() -> None:
    assert cut(narrowing(5)) == "pool"
    assert cut(narrowing(5), "sum", "pool") == "pool"
    assert cut(narrowing(5), "sum", "a+") is None  # that would have to be there for all images
    assert cut(narrowing(5), "data", "sum") is None


def test_small_batches_of_small_images_are_not_cut() -> None:
    assert cut(narrowing(5)) is None


@pytest.mark.usefixtures("small_cache")
@pytest.mark.parametrize("mixing", [join.Concat(0), reshape.Reshape((1, 80, 40, 37))])
def test_only_layers_that_take_each_image_by_itself_are_run_by_few(mixing: join.Concat | reshape.Reshape) -> None:
    network = build(
        {"data": (5, 3, 40, 37)},
        ("a", Convolution(16, (3, 3), pad=(1, 1)), ["data"], ["a"]),
        ("mixed", mixing, ["a"], ["mixed"]),
        ("pool", Pooling("MAX", (3, 3), (4, 4)), ["mixed"], ["pool"]),
    )
    assert cut(network) is None
    joined = build(
        {"data": (5, 3, 40, 37), "more": (5, 3, 40, 37)},
        ("sum", join.Concat(1), ["data", "more"], ["sum"]),
        ("pool", Pooling("MAX", (3, 3), (4, 4)), ["sum"], ["pool"]),
    )
    assert cut(joined) is None


@pytest.mark.usefixtures("small_cache")
@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_stages_change_no_bit(dtype: str, threads: int) -> None:
    """Also where the last images are fewer than the others."""
    network = narrowing(5)
    x = random_input(network).astype(dtype)
    plain = ForwardPlan(network, x.dtype, frozenset({"sum"})).run({"data": x}, ["sum"])["sum"]
    plan = stages.batch_plan(network, {"data": x.shape}, x.dtype, frozenset({"sum"}))
    assert isinstance(plan, stages.StagedPlan)
    for _ in range(2):
        np.testing.assert_array_equal(plan.run({"data": x}, ["sum"])["sum"], plain)
    np.testing.assert_array_equal(network.forward(x)["sum"], plain)
    few = x[:threads]
    assert isinstance(stages.batch_plan(network, {"data": few.shape}, x.dtype, frozenset({"sum"})), ForwardPlan)


@pytest.mark.usefixtures("small_cache")
def test_a_network_may_end_with_its_first_stage() -> None:
    network = build(
        {"data": (5, 3, 40, 37)},
        ("a", Convolution(16, (3, 3), pad=(1, 1)), ["data"], ["a"]),
        ("pool", Pooling("MAX", (3, 3), (4, 4)), ["a"], ["pool"]),
    )
    x = random_input(network)
    assert cut(network) == "pool"
    plain = ForwardPlan(network, x.dtype, frozenset({"pool"})).run({"data": x}, ["pool"])["pool"]
    np.testing.assert_array_equal(network.forward(x)["pool"], plain)
