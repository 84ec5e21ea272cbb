"""Relevance is conserved, and where it is not, the account says where it went."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

import caffe2lrp
from caffe2lrp import Network
from caffe2lrp.ir import with_weights
from caffe2lrp.layers import activation, dropout, eltwise, join, lrn, pooling, softmax
from caffe2lrp.layers.convolution import Convolution, Deconvolution
from caffe2lrp.layers.inner_product import InnerProduct
from tests.layer_cases import Spec, build, chain, random_input

# -- random networks ---------------------------------------------------------------------------------------


class _Builder:
    """Layers that are drawn one after the other, each on the last blob."""

    def __init__(self, draw: st.DrawFn, shape: tuple[int, ...]) -> None:
        self.draw, self.specs, self.blob, self.shape = draw, [], "data", shape

    specs: list[Spec]

    def add(self, params: Any, *bottoms: str) -> str:
        name = f"{params.type}{len(self.specs)}"
        self.specs.append((name, params, list(bottoms or (self.blob,)), [name]))
        if not bottoms:
            self.blob = name
        return name

    def size(self, least: int, most: int) -> tuple[int, int]:
        return self.draw(st.integers(least, most)), self.draw(st.integers(least, most))

    def convolution(self) -> None:
        group = self.draw(st.sampled_from([1, 1, self.shape[1]]))
        params = Convolution(
            group * self.draw(st.integers(1, 4)), self.size(1, 3), self.size(1, 2), self.size(0, 2), group=group
        )
        self._fit(params)
        if self.draw(st.booleans()):
            self.add(activation.ReLU())

    def deconvolution(self) -> None:
        group = self.draw(st.sampled_from([1, self.shape[1]]))
        params = Deconvolution(group * self.draw(st.integers(1, 3)), self.size(1, 3), self.size(1, 2), group=group)
        self._fit(params)
        if self.draw(st.booleans()):
            self.add(activation.ReLU())

    def pooling(self) -> None:
        kernel = self.size(2, 3)
        params = pooling.Pooling(self.draw(st.sampled_from(["MAX", "AVE"])), kernel, self.size(1, 2), self.size(0, 1))
        self._fit(params)

    def lrn(self) -> None:
        region = self.draw(st.sampled_from(["across", "within"]))
        self.add(
            lrn.LRN(self.draw(st.sampled_from([3, 5])), self.draw(st.sampled_from([0.05, 0.3])), 0.75, 1.0, region)
        )

    def branches(self) -> None:
        source = self.blob
        a = self.add(Convolution(3, (1, 1)), source)
        if self.draw(st.booleans()):
            a = self.add(activation.ReLU(), a)
        b = self.add(pooling.Pooling("MAX", (3, 3), (1, 1), (1, 1)), source)
        self.blob = self.add(join.Concat(), a, b, source)
        self.shape = (self.shape[0], 3 + 2 * self.shape[1], *self.shape[2:])

    def addition(self) -> None:
        branch = self.add(Convolution(self.shape[1], (3, 3), pad=(1, 1)), self.blob)
        self.blob = self.add(eltwise.Eltwise("SUM", self.draw(st.sampled_from([(), (0.5, 2.0)]))), branch, self.blob)

    def dropout(self) -> None:
        self.add(dropout.Dropout())

    def _fit(self, params: Any) -> None:
        """Append a layer if its output has any pixels."""
        (shape,) = params.output_shapes([self.shape])
        if min(shape) > 0:
            self.add(params)
            self.shape = shape


@st.composite
def networks(draw: st.DrawFn, bias: float) -> Network:
    """Two to five blocks and one or two fully connected layers."""
    shape = (draw(st.integers(1, 2)), draw(st.integers(1, 3)), draw(st.integers(4, 9)), draw(st.integers(4, 9)))
    made = _Builder(draw, shape)
    blocks = [
        made.convolution, made.deconvolution, made.pooling, made.lrn, made.branches, made.addition, made.dropout
    ]  # fmt: skip
    for block in draw(st.lists(st.sampled_from(blocks), min_size=2, max_size=5)):
        block()
    if draw(st.booleans()):
        made.add(InnerProduct(7))
        made.add(activation.ReLU())
    made.add(InnerProduct(5))
    return build({"data": shape}, *made.specs, seed=draw(st.integers(0, 20)), bias=bias)


def sum_of_sizes(account: Any) -> float:
    """How much relevance moved: what rounding errors are measured by."""
    return max(1e-300, abs(account.start), *(max(abs(e.above), abs(e.below)) for e in account.entries))


@settings(max_examples=120, deadline=None, derandomize=True)
@given(
    network=networks(bias=0.0),
    rule=st.sampled_from([("epsilon", {"epsilon": 0.0}), ("epsilon", {"epsilon": 1e-13}), ("gamma", {"epsilon": 0.0})]),
    lrn_rule=st.sampled_from(["taylor", "identity"]),
    seed=st.integers(0, 3),
)
def test_without_biases_all_relevance_arrives(network: Network, rule: Any, lrn_rule: Any, seed: int) -> None:
    x = random_input(network, seed)
    e = caffe2lrp.explain(network, x, rule=rule[0], **rule[1], lrn=lrn_rule, account=True)
    # A denominator near 0 makes huge shares of both signs, whose rounding is not the rule's.
    moved = max(float(np.abs(e.relevance).sum()), sum_of_sizes(e.account))
    assume(moved < 1e4 * float(np.abs(e.score).min()))
    arrived = e.relevance.reshape(len(x), -1).sum(axis=1)
    np.testing.assert_allclose(arrived, e.score, rtol=0, atol=1e-10 * moved)
    # Where an activation is 0, so is its relevance: nothing is dropped.
    assert e.account.total("dropped") == 0


@settings(max_examples=60, deadline=None, derandomize=True)
@given(network=networks(bias=0.0), beta=st.sampled_from([0.0, 1.0, 2.0]), seed=st.integers(0, 3))
def test_alphabeta_account_without_biases(network: Network, beta: float, seed: int) -> None:
    x = random_input(network, seed)
    e = caffe2lrp.explain(network, x, rule="alphabeta", beta=beta, lrn="identity", start="one", account=True)
    assert e.account.total("bias") == 0
    assert e.account.total("epsilon") == 0
    check_account(e)


def check_account(e: caffe2lrp.Explanation) -> None:
    """start = arrived + what the columns say; the columns are those of the layers' own sums."""
    account = e.account
    assert account is not None
    assert account.start == pytest.approx(float(e.score.sum(dtype=np.float64)), rel=1e-12)
    assert account.arrived == pytest.approx(float(e.relevance.sum(dtype=np.float64)), rel=1e-9, abs=1e-12)
    kept = sum(account.total(column) for column in ("bias", "epsilon", "dropped", "other"))
    assert account.arrived + kept == pytest.approx(account.start, rel=1e-9, abs=1e-9 * sum_of_sizes(account))


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    network=networks(bias=1.0),
    rule=st.sampled_from(
        [("alphabeta", {"beta": 0.0}), ("alphabeta", {"beta": 1.0}), ("epsilon", {"epsilon": 0.5}), ("zplus", {})]
    ),
    seed=st.integers(0, 3),
)
def test_the_account_closes_with_biases(network: Network, rule: Any, seed: int) -> None:
    x = random_input(network, seed)
    e = caffe2lrp.explain(network, x, rule=rule[0], **rule[1], lrn="identity", start="one", account=True)
    check_account(e)
    for entry in e.account.entries:
        if entry.type in ("Convolution", "InnerProduct", "ReLU", "Concat", "Dropout", "LRN"):
            size = max(1.0, abs(entry.above), abs(entry.below), abs(entry.bias))
            # relevance of both signs may be large where its sum is not
            assert abs(entry.other) <= 1e-7 * size, entry


# -- by hand --------------------------------------------------------------------------------------------------


def one_layer(weight: list[list[float]], bias: list[float]) -> Network:
    network = chain((1, len(weight[0])), InnerProduct(len(weight)))
    weights = {"weight": np.array(weight), "bias": np.array(bias)}
    return network.with_layers([with_weights(network.layers[0], weights)])


def test_account_of_the_epsilon_rule_by_hand() -> None:
    network = one_layer([[1.0, 2.0], [1.0, -2.0], [2.0, 1.0]], [1.0, -1.0, -4.0])
    x = np.array([[1.0, 1.0]])  # z = 4, -2, -1
    e = caffe2lrp.explain(network, x, [0, 1], rule="epsilon", epsilon=1.0, account=True)
    # s = 4 / 5 and -2 / -3; inputs 3 and -1, biases 1 and -1, stabilisers 1 and -1
    (entry,) = e.account.entries
    assert (entry.layer, entry.type, entry.rule) == ("layer0", "InnerProduct", "epsilon 1")
    assert entry.above == e.account.start == 4 - 2
    assert entry.below == e.account.arrived == pytest.approx(3 * 4 / 5 - 1 * 2 / 3)
    assert entry.bias == pytest.approx(1 * 4 / 5 - 1 * 2 / 3)
    assert entry.epsilon == pytest.approx(1 * 4 / 5 - 1 * 2 / 3)
    assert entry.dropped == 0
    assert entry.other == pytest.approx(0, abs=1e-15)


def test_account_of_alphabeta_by_hand() -> None:
    network = one_layer([[1.0, -2.0], [3.0, 1.0]], [2.0, -1.0])
    x = np.array([[2.0, 1.0]])
    e = caffe2lrp.explain(network, x, [0, 1], rule="alphabeta", beta=1.0, start="one", account=True)
    # output 0: z+ = 2 + 2 (bias), z- = -2; output 1: z+ = 6 + 1, z- = -1 (bias only)
    np.testing.assert_allclose(e.relevance, [[2 * 2 / 4 + 2 * 6 / 7, -1 + 2 * 1 / 7]])
    (entry,) = e.account.entries
    assert entry.bias == pytest.approx(2 * 2 / 4 - 1)
    assert entry.dropped == 0
    assert entry.other == pytest.approx(0, abs=1e-15)


def test_account_of_dropped_terms_by_hand() -> None:
    network = one_layer([[1.0, 2.0], [0.0, 0.0]], [0.0, 0.0])
    e = caffe2lrp.explain(
        network, np.array([[1.0, 1.0]]), [0, 1], rule="alphabeta", beta=1.0, start="one", account=True
    )
    # output 0 has no negative products (-1 is dropped), output 1 none at all (2 - 1 are dropped)
    (entry,) = e.account.entries
    np.testing.assert_allclose(e.relevance, [[2 / 3, 4 / 3]])
    assert entry.dropped == pytest.approx(-1 + 2 - 1)
    assert entry.above == 2
    assert entry.other == pytest.approx(0, abs=1e-15)


def test_account_of_padding() -> None:
    network = chain((1, 1, 2, 2), Convolution(1, (3, 3), pad=(1, 1)))
    e = caffe2lrp.explain(network, np.ones((1, 1, 2, 2)), 0, rule="flat", start="one", account=True)
    (entry,) = e.account.entries  # each window has 4 pixels and 5 cells of padding
    assert entry.other == pytest.approx(5 / 9)
    assert (entry.bias, entry.epsilon, entry.dropped) == (0, 0, 0)


def test_account_of_fan_out() -> None:
    """What a layer gives its input does not contain what the input's other readers give it."""
    network = build(
        {"data": (1, 2, 3, 3)},
        ("abs", activation.AbsVal(), ["data"], ["a"]),
        ("left", Convolution(2, (1, 1), bias=False), ["a"], ["l"]),
        ("right", Convolution(3, (1, 1), bias=False), ["a"], ["r"]),
        ("join", join.Concat(), ["l", "r"], ["j"]),
        ("fc", InnerProduct(2, bias=False), ["j"], ["f"]),
        ("prob", softmax.Softmax(), ["f"], ["p"]),
    )
    e = caffe2lrp.explain(network, random_input(network), 1, rule="epsilon", epsilon=0.0, account=True)
    entries = {entry.layer: entry for entry in e.account.entries}
    assert list(entries) == ["fc", "join", "right", "left", "abs"]
    for name in ("left", "right"):
        assert entries[name].below == pytest.approx(entries[name].above, rel=1e-9)
    assert entries["left"].above + entries["right"].above == pytest.approx(entries["join"].above, rel=1e-12)
    assert entries["abs"].above == pytest.approx(entries["left"].below + entries["right"].below, rel=1e-12)
    check_account(e)


def test_account_of_a_layer_that_passes_beside_others() -> None:
    """Relevance that is passed on unchanged shares no memory with a sum of several readers."""
    network = build(
        {"data": (1, 2, 3, 3)},
        ("abs", activation.AbsVal(), ["data"], ["a"]),
        ("conv", Convolution(2, (1, 1), bias=False), ["a"], ["c"]),
        ("relu", activation.ReLU(), ["a"], ["r"]),
        ("join", join.Concat(), ["c", "r"], ["j"]),
        ("fc", InnerProduct(2, bias=False), ["j"], ["f"]),
    )
    e = caffe2lrp.explain(network, random_input(network), 1, rule="epsilon", epsilon=0.0, account=True)
    entries = {entry.layer: entry for entry in e.account.entries}
    assert entries["relu"].above == pytest.approx(entries["relu"].below, rel=1e-12)
    assert entries["conv"].above + entries["relu"].above == pytest.approx(entries["join"].above, rel=1e-12)
    assert entries["join"].below == pytest.approx(entries["join"].above, rel=1e-12)
    check_account(e)


def test_account_of_a_batch_is_the_sum() -> None:
    network = chain((2, 3, 5, 4), Convolution(4, (3, 2), group=1), activation.ReLU(), InnerProduct(3))
    x = random_input(network)
    options: dict[str, Any] = {"rule": "alphabeta", "beta": 1.0, "account": True}
    both = caffe2lrp.explain(network, x, [0, 2], **options).account
    single = [caffe2lrp.explain(network, x[i : i + 1], t, **options).account for i, t in ((0, 0), (1, 2))]
    for column in ("bias", "dropped"):
        assert both.total(column) == pytest.approx(sum(a.total(column) for a in single), rel=1e-11)
    assert both.start == pytest.approx(sum(a.start for a in single), rel=1e-12)


def test_account_as_plain_data() -> None:
    network = chain((1, 2, 4, 4), Convolution(3, (2, 2)), activation.ReLU(), InnerProduct(2))
    e = caffe2lrp.explain(network, random_input(network).astype(np.float32), 0, rule="epsilon", account=True)
    data = json.loads(json.dumps(e.account.to_dict()))
    assert [row["layer"] for row in data["layers"]] == ["layer2", "layer1", "layer0"]
    assert data["start"] == e.account.start
    for row, entry in zip(data["layers"], e.account.entries, strict=True):
        assert row["other"] == entry.other
        assert row["rule"] == entry.rule
    assert caffe2lrp.explain(network, random_input(network), 0, rule="epsilon").account is None
