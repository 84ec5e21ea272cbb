"""Where blobs lie in memory: joined ones side by side, and one in the place of another that is no longer read."""

from __future__ import annotations

import numpy as np
import pytest

from caffe2lrp.engine import memory
from caffe2lrp.engine.plan import ForwardPlan
from caffe2lrp.ir import Network
from caffe2lrp.layers import activation, eltwise, join, reshape, source
from caffe2lrp.layers.convolution import Convolution
from tests import naive
from tests.layer_cases import assert_close, build, random_input


def branches(batch: int = 1) -> Network:
    """Concats of concats, of a blob that is joined twice, of the input, of a constant and of views of other blobs."""
    return build(
        {"data": (batch, 3, 9, 7)},
        ("a", Convolution(4, (3, 3), pad=(1, 1)), ["data"], ["a"]),
        ("b", Convolution(6, (1, 1)), ["data"], ["b"]),
        ("relu", activation.ReLU(), ["b"], ["b+"]),
        ("ab", join.Concat(1), ["a", "b+"], ["ab"]),
        ("c", Convolution(5, (1, 1)), ["ab"], ["c"]),
        ("constant", source.DummyData((batch, 2, 9, 7), 0.5), [], ["constant"]),
        ("flat", reshape.Reshape((0, 5, 9, 7)), ["c"], ["same"]),
        ("cd", join.Concat(1), ["c", "constant", "c", "data", "same"], ["cd"]),
        ("all", join.Concat(1), ["cd", "ab"], ["all"]),
        ("d", Convolution(30, (1, 1)), ["all"], ["d"]),
        ("sum", eltwise.Eltwise(), ["d", "all"], ["sum"]),
        ("e", Convolution(2, (1, 1)), ["sum"], ["e"]),
        ("f", Convolution(23, (1, 1)), ["e"], ["f"]),
    )


@pytest.mark.parametrize("batch", [1, 2])
@pytest.mark.parametrize("keep", [None, "f", "f a c", "b cd"])
@pytest.mark.parametrize("rest", [0, memory.REST])
def test_whatever_is_kept_is_right(keep: str | None, batch: int, rest: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "REST", rest)
    network = branches(batch)
    x = random_input(network)
    expected = naive.forward(network, x)
    kept = None if keep is None else frozenset(keep.split())
    plan = ForwardPlan(network, x.dtype, kept)
    for _ in range(2):  # the second run finds the memory as the first left it
        found = plan.run({"data": x}, sorted(kept or network.shapes))
        for blob, values in found.items():
            assert_close(values, expected[blob], 1e-12)


def test_joined_blobs_lie_side_by_side() -> None:
    plan = ForwardPlan(branches(), np.dtype("float32"), None)
    for blob, whole in (("a", "ab"), ("b+", "ab"), ("ab", "all"), ("c", "cd"), ("cd", "all")):
        assert np.shares_memory(plan.values[blob], plan.values[whole])
    for blob in ("data", "constant"):
        assert not np.shares_memory(plan.values[blob], plan.values["all"])


def test_memory_is_taken_over_where_not_all_is_kept(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "REST", 0)
    network, others = branches(), ("all", "d", "sum", "e")
    plan = ForwardPlan(network, np.dtype("float32"), frozenset({"f"}))
    assert any(np.shares_memory(plan.values["f"], plan.values[blob]) for blob in others)
    everything = ForwardPlan(network, np.dtype("float32"), None)
    assert not any(np.shares_memory(everything.values["f"], everything.values[blob]) for blob in others)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_memory_rests_before_it_is_taken_over(dtype: str) -> None:
    half = memory.REST // np.dtype(dtype).itemsize // 2
    pool = memory.Memory(np.dtype(dtype))
    first, kept = pool.take((3, 5)), pool.take((2, 4))
    pool.give(first)
    for _ in range(2):
        assert not any(np.shares_memory(pool.take((half,)), array) for array in (first, kept))
    assert np.shares_memory(pool.take((15,)), first)
    assert not any(np.shares_memory(pool.take((8,)), array) for array in (first, kept))


def test_large_memory_is_taken_over_at_once() -> None:
    pool = memory.Memory(np.dtype("float32"))
    size = memory.LARGE // 4
    large = pool.take((size,))
    pool.give(large)
    assert not np.shares_memory(pool.take((size - 1,)), large)
    assert np.shares_memory(pool.take((size,)), large)
