"""Relevance through every layer type and by every rule, against the naive twins."""

from __future__ import annotations

from typing import Any, Literal

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import caffe2lrp
import caffe2lrp.engine.layers
from caffe2lrp import Network
from caffe2lrp.engine.folding import fold_affine_layers
from caffe2lrp.engine.registry import RELEVANCE
from caffe2lrp.errors import ModelError
from caffe2lrp.ir import Layer, with_weights
from caffe2lrp.kernels import convolution as convolution_kernels
from caffe2lrp.layers import (
    REGISTRY,
    activation,
    affine,
    batch_norm,
    crop,
    dropout,
    eltwise,
    join,
    lrn,
    pooling,
    softmax,
)
from caffe2lrp.layers.convolution import Convolution, Deconvolution
from caffe2lrp.layers.detection import PriorBox, ProposalLayer
from caffe2lrp.layers.im2col import Im2col
from caffe2lrp.layers.inner_product import InnerProduct
from caffe2lrp.layers.pad import Pad
from caffe2lrp.rules import RULES
from tests import layer_cases, naive
from tests.layer_cases import (
    CASES,
    CHOSEN,
    WITHOUT_GRADIENT,
    WITHOUT_RELEVANCE,
    Case,
    assert_close,
    build,
    chain,
    network_of,
    random_input,
)
from tests.naive_forks import HEADS

# Each rule with the same parameters for both sides; where a rule has an epsilon that its naive twin lacks, it is 0.
RULE_CASES: list[tuple[str, dict[str, float], dict[str, float]]] = [
    ("epsilon", {"epsilon": 0.0}, {"epsilon": 0.0}),
    ("epsilon", {"epsilon": 0.25}, {"epsilon": 0.25}),
    ("alphabeta", {"beta": 0.0}, {"beta": 0.0}),
    ("alphabeta", {"beta": 1.0}, {"beta": 1.0}),
    ("alphabeta", {"beta": 2.5}, {"beta": 2.5}),
    ("z", {}, {}),
    ("norm", {}, {}),
    ("zplus", {}, {}),
    ("excitation", {}, {}),
    ("generalized_gamma", {"gamma": 0.25, "epsilon": 0.0}, {"gamma": 0.25}),
    ("generalized_gamma", {"gamma": 3.0, "epsilon": 0.0}, {"gamma": 3.0}),
    ("gamma", {"gamma": 0.25, "epsilon": 0.0}, {"gamma": 0.25}),
    ("gamma", {"gamma": 3.0, "epsilon": 0.0}, {"gamma": 3.0}),
    ("wsquare", {}, {}),
    ("flat", {}, {}),
    ("zbox", {"epsilon": 0.0}, {}),
    ("zbox", {"low": -1.5, "high": 2.25, "epsilon": 0.0}, {"low": -1.5, "high": 2.25}),
]
FLAT = ("flat", {}, {})
ALPHABETA = ("alphabeta", {"beta": 1.0}, {"beta": 1.0})
RULE_IDS = [f"{name} {' '.join(f'{k}={v:g}' for k, v in ours.items())}".strip() for name, ours, _ in RULE_CASES]
SUM_EPSILON = 1e-12  # the engine's stabiliser of sums without a rule of their own
SUMS = ("Eltwise", "BatchNorm", "BN", "Scale", "Bias", "MVN", "Reduction", "Embed", "Interp", "Axpy")
TOLERANCE = {np.float64: 1e-9, np.float32: 5e-4}


def some_targets(shape: tuple[int, ...], seed: int) -> tuple[Any, np.ndarray]:
    """For each image about half of the outputs, others for each; and the start relevance of 1 there."""
    rng = np.random.default_rng(seed + 77)
    flat = np.zeros((shape[0] if shape else 1, int(np.prod(shape[1:]))))
    lists = []
    for row in flat:
        count = max(1, row.size // 2)
        chosen = rng.choice(row.size, count, replace=False)
        row[chosen] = 1
        lists.append([int(i) for i in chosen])
    return lists, flat.reshape(shape)


def naive_relevance(
    network: Network, x: np.ndarray, blob: str, start: np.ndarray, *, rule: Any = None, lrn_rule: str = "taylor"
) -> dict[str, np.ndarray]:
    """Relevance by the naive twins; `rule` is (name, parameters) for all linear layers or a function of the layer."""

    def options(layer: Layer) -> dict[str, Any]:
        if layer.type in ("Convolution", "Deconvolution", "InnerProduct"):
            name, parameters = rule(layer) if callable(rule) else rule
            box = {}
            if name == "zbox" and "low" not in parameters:
                assert network.preprocessing is not None
                low, high = network.preprocessing.bounds(x.shape)
                box = {"low": low.astype(np.float64), "high": high.astype(np.float64)}
            return {"rule": name, **parameters, **box}
        if layer.type == "LRN":
            return {"mode": lrn_rule}
        if layer.type in ("RNN", "LSTM"):
            assert rule[0] == "epsilon"
            return dict(rule[1])
        return {"epsilon": SUM_EPSILON} if layer.type in SUMS else {}

    return naive.relevance(network, naive.forward(network, x), {blob: start}, options)


def check(
    network: Network,
    x: np.ndarray,
    *,
    rule: tuple[str, dict[str, float], dict[str, float]] = RULE_CASES[0],
    lrn_rule: Literal["taylor", "identity", "toolbox"] = "taylor",
    blob: str | None = None,
    seed: int = 0,
    dtypes: tuple[Any, ...] = (np.float64,),
) -> None:
    """The input relevance from some outputs of a blob (the last one) equals the naive one."""
    blob = blob or network.outputs[0]
    name, ours, theirs = rule
    targets, start = some_targets(network.shapes[blob], seed)
    expected = naive_relevance(network, x, blob, start, rule=(name, theirs), lrn_rule=lrn_rule)[network.input]
    for dtype in dtypes:
        e = caffe2lrp.explain(
            network, x.astype(dtype), targets, rule=name, **ours, lrn=lrn_rule, layer=blob, start="one"
        )
        assert e.relevance.dtype == dtype
        assert_close(e.relevance, expected, TOLERANCE[dtype])


def test_layer_types_that_pass_relevance() -> None:
    assert set(RELEVANCE) == set(REGISTRY) - WITHOUT_RELEVANCE == set(CASES) - WITHOUT_RELEVANCE


@pytest.mark.parametrize("name", sorted(HEADS))
@pytest.mark.parametrize("composite", ["epsilon", "gradient"])
def test_nothing_passes_through_the_heads_of_detectors(name: str, composite: str) -> None:
    cases: dict[str, Case] = {
        "PriorBox": (PriorBox((4.0,)), [(1, 2, 3, 3), (1, 3, 9, 9)]),
        "DetectionOutput": CHOSEN["DetectionOutput"][0],
        "ProposalLayer": (ProposalLayer(), [(1, 18, 2, 2), (1, 36, 2, 2), (1, 3)]),
    }
    network = network_of(cases[name])
    with pytest.raises(ModelError, match=f"layer 'layer' .*{name}.* passes no relevance; start below it"):
        caffe2lrp.explain(network, random_input(network), 0, composite=composite, layer="top0")


def test_every_rule_has_cases() -> None:
    assert {name for name, _, _ in RULE_CASES} | {"pass"} == set(RULES) <= set(naive.RULES)


# -- layers without a rule ------------------------------------------------------------------------------------

UNRULED = sorted(set(RELEVANCE) - {"Convolution", "Deconvolution", "InnerProduct"} - HEADS)


@pytest.mark.parametrize("name", UNRULED)
@settings(max_examples=25, deadline=None, derandomize=True)
@given(data=st.data())
def test_random_cases(name: str, data: st.DataObject) -> None:
    network = network_of(data.draw(CASES[name]))
    seed, ties = data.draw(st.integers(0, 3)), data.draw(st.booleans())
    ties = ties and name != "Interp"  # sums of thirds that should be 0 are so in one way of adding only
    lrn_rule = data.draw(st.sampled_from(["taylor", "identity"])) if name == "LRN" else "taylor"
    blob = data.draw(st.sampled_from(network.layer("layer").outputs))
    check(network, random_input(network, seed, ties), lrn_rule=lrn_rule, blob=blob, seed=seed)


@pytest.mark.parametrize(
    ("name", "index"),
    [(name, i) for name in CHOSEN if name in UNRULED for i in range(len(CHOSEN[name]))],
)
@pytest.mark.parametrize("ties", [False, True])
def test_chosen_cases(name: str, index: int, ties: bool) -> None:
    params, shapes = CHOSEN[name][index]
    network = network_of((params, shapes))
    check(network, random_input(network, ties=ties))


def test_the_first_of_equal_maxima_takes_all() -> None:
    network = chain((1, 1, 2, 4), pooling.Pooling("MAX", (2, 2), (2, 2)))
    x = np.array([[[[1.0, 5.0, 2.0, 2.0], [5.0, 5.0, 2.0, 2.0]]]])
    e = caffe2lrp.explain(network, x, [0, 1])
    np.testing.assert_array_equal(e.relevance, [[[[0, 5, 2, 0], [0, 0, 0, 0]]]])


def test_overlapping_windows_add_up() -> None:
    network = chain((1, 1, 1, 3), pooling.Pooling("MAX", (1, 2), (1, 1)))
    e = caffe2lrp.explain(network, np.array([[[[1.0, 4.0, 2.0]]]]), [0, 1])
    np.testing.assert_array_equal(e.relevance, [[[[0, 8, 0]]]])


def test_average_windows_of_sum_zero_drop_relevance() -> None:
    network = chain((1, 1, 1, 6), pooling.Pooling("AVE", (1, 2), (1, 2)))
    x = np.array([[[[0.0, 0.0, 3.0, -3.0, 1.0, 3.0]]]])
    e = caffe2lrp.explain(network, x, [0, 1, 2], start="one")
    np.testing.assert_allclose(e.relevance, [[[[0, 0, 0, 0, 0.25, 0.75]]]], rtol=1e-15)


def test_equal_inputs_of_a_maximum_go_to_the_first() -> None:
    network = network_of((eltwise.Eltwise("MAX"), [(1, 3), (1, 3), (1, 3)]))
    x = np.array([[1.0, 2.0, 3.0, 1.0, 4.0, 3.0, 0.0, 4.0, 7.0]])
    e = caffe2lrp.explain(network, x, [0, 1, 2])
    np.testing.assert_array_equal(e.relevance, [[1, 0, 0, 0, 4, 0, 0, 0, 7]])


@pytest.mark.parametrize("size", [1, 3, 5])
@pytest.mark.parametrize("region", ["across", "within"])
def test_lrn_toolbox_is_the_unnormalised_expansion(region: Literal["across", "within"], size: int) -> None:
    params = lrn.LRN(size, 1.5, 0.6, 1.3, region)
    network = chain((2, 6, 4, 5), params)
    x = random_input(network)
    targets, start = some_targets(x.shape, 0)
    k0, a, c = naive.lrn_constants(params)
    expected = np.zeros(x.shape)
    for k, window in naive.lrn_windows(params, x.shape):
        s = k0 + a * sum(x[j] ** 2 for j in window)
        for j in window:
            own = x[k] * (k0 + a * x[k] ** 2) ** -c
            expected[j] += start[k] * (own if j == k else -2 * a * c * x[k] * x[j] ** 2 * s ** (-c - 1))
    e = caffe2lrp.explain(network, x, targets, lrn="toolbox", start="one")
    assert_close(e.relevance, expected, 1e-12)
    if region == "across":
        check(network, x, lrn_rule="toolbox", dtypes=(np.float64, np.float32))


# -- linear layers under every rule -----------------------------------------------------------------------------


class Box:
    """Stands for a preprocessing: bounds of any number of channels, other ones at each pixel."""

    def bounds(self, shape: tuple[int, ...]) -> tuple[np.ndarray, np.ndarray]:
        middle = np.random.default_rng(5).uniform(-0.5, 0.5, shape[1:]).astype(np.float32)
        return middle - 2, middle + 3


def box(network: Network) -> Network:
    """The network with bounds of its input, which z^B needs."""
    return network.describe(preprocessing=Box())  # type: ignore[arg-type]


@pytest.mark.parametrize("rule", RULE_CASES, ids=RULE_IDS)
@pytest.mark.parametrize("rectify", [False, True], ids=["signed", "non-negative"])
@settings(max_examples=12, deadline=None, derandomize=True)
@given(data=st.data())
def test_random_convolutions(rule: Any, rectify: bool, data: st.DataObject) -> None:
    case = data.draw(layer_cases.convolutions(largest=4, batches=2))
    network = network_of(case, rectify=rectify)
    x = random_input(network, data.draw(st.integers(0, 3)))
    check(box(network), x, rule=rule)


@pytest.mark.parametrize("rule", RULE_CASES, ids=RULE_IDS)
@pytest.mark.parametrize("rectify", [False, True], ids=["signed", "non-negative"])
@settings(max_examples=12, deadline=None, derandomize=True)
@given(data=st.data())
def test_random_inner_products(rule: Any, rectify: bool, data: st.DataObject) -> None:
    params, shapes = data.draw(layer_cases.inner_products())
    if rule[0] == "zbox":  # pixels are images, and all of an image belongs to one output
        params, shapes = InnerProduct(params.num_output, params.bias), [(*shapes[0], 1, 1, 1)[:4]]
    network = network_of((params, shapes), rectify=rectify)
    x = random_input(network, data.draw(st.integers(0, 3)))
    check(box(network), x, rule=rule)


@pytest.mark.parametrize("rule", RULE_CASES, ids=RULE_IDS)
@pytest.mark.parametrize(
    "case",
    [
        (Convolution(37, (3, 3), pad=(1, 1)), [(2, 3, 7, 9)]),  # several tiles
        (Convolution(5, (3, 3), stride=(2, 2), pad=(1, 1)), [(2, 41, 6, 5)]),
        (Convolution(6, (5, 3), stride=(4, 4), pad=(2, 1), group=3), [(1, 3, 9, 11)]),
        (Convolution(2, (2, 2), stride=(3, 3)), [(1, 2, 8, 8)]),  # pixels that no window meets
        (Convolution(4, (3, 3), pad=(2, 3), dilation=(2, 3), group=2), [(2, 4, 6, 7)]),
    ],
    ids=lambda case: str(case[0]),
)
def test_chosen_convolutions(rule: Any, case: Case) -> None:
    for rectify in (False, True):
        network = network_of(case, rectify=rectify, seed=3)
        x = random_input(network, 3)
        check(box(network), x, rule=rule)


@pytest.mark.parametrize("rule", RULE_CASES, ids=RULE_IDS)
@pytest.mark.parametrize("rectify", [False, True], ids=["signed", "non-negative"])
@settings(max_examples=10, deadline=None, derandomize=True)
@given(data=st.data())
def test_random_deconvolutions(rule: Any, rectify: bool, data: st.DataObject) -> None:
    network = network_of(data.draw(layer_cases.deconvolutions(largest=3)), rectify=rectify)
    x = random_input(network, data.draw(st.integers(0, 3)))
    check(box(network), x, rule=rule)


@pytest.mark.parametrize("rule", RULE_CASES, ids=RULE_IDS)
@pytest.mark.parametrize("kind", [Convolution, Deconvolution])
@settings(max_examples=10, deadline=None, derandomize=True)
@given(data=st.data())
def test_random_volumes(rule: Any, kind: Any, data: st.DataObject) -> None:
    """Over one axis, three or more, and behind other axes than that of the batch."""
    network = network_of(data.draw(layer_cases.volumes(kind)), rectify=data.draw(st.booleans()))
    x = random_input(network, data.draw(st.integers(0, 3)))
    check(box(network), x, rule=rule)


@pytest.mark.parametrize("rule", RULE_CASES, ids=RULE_IDS)
@pytest.mark.parametrize("case", CHOSEN["Deconvolution"], ids=lambda case: str(case[0]))
def test_chosen_deconvolutions(rule: Any, case: Case) -> None:
    network = network_of(case, rectify=True, seed=3)
    x = random_input(network, 3)
    check(box(network), x, rule=rule)


@pytest.mark.parametrize(
    "params",
    [Deconvolution(6, (3, 2), (2, 3), (1, 0), group=2), Convolution(5, (2, 3, 3), (1, 2, 1), (1, 1, 0))],
    ids=str,
)
def test_single_precision(params: Any) -> None:
    shape = (2, 4, 5, 7) if isinstance(params, Deconvolution) else (2, 3, 3, 5, 7)
    network = network_of((params, [shape]), rectify=True)
    for rule in (RULE_CASES[1], ALPHABETA, FLAT):
        check(network, random_input(network), rule=rule, dtypes=(np.float32,))


@pytest.mark.parametrize("strategy", ["_add_together", "_add_apart"])
@pytest.mark.parametrize("stride", [(1, 1), (1, 2), (2, 1), (2, 2), (3, 2), (4, 4)])
@pytest.mark.parametrize("kernel", [(1, 1), (3, 2), (5, 5)])
def test_both_ways_to_transpose(
    strategy: str, stride: tuple[int, int], kernel: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pixels of a residue modulo the stride one after the other, and all at once, whatever is cheaper."""
    used = []

    def add_transposed(program: Any, sliding: Any, *args: Any) -> None:
        *arrays, mode, label, _, sides = args
        phases = sliding.phases()
        used.append(len(phases))
        if strategy == "_add_together":
            union = sorted({tap for phase in phases for tap in phase.taps})
            convolution_kernels._add_together(program, sliding, *arrays, mode, phases, union, label, {}, sides)
        else:
            convolution_kernels._add_apart(program, sliding, *arrays, mode, phases, label, {}, sides)

    monkeypatch.setattr("caffe2lrp.engine.layers.convolution.add_transposed", add_transposed)
    for size, rule in (((9, 10), RULE_CASES[1]), ((7, 5), ALPHABETA), ((6, 8), FLAT)):
        network = chain((2, 4, *size), Convolution(6, kernel, stride, pad=(kernel[0] // 2, 0), group=2))
        check(network, random_input(network), rule=rule)
    assert used == [stride[0] * stride[1]] * 3


def test_both_ways_to_transpose_are_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    taken = []
    for name in ("_add_together", "_add_phase"):
        original = getattr(convolution_kernels, name)
        monkeypatch.setattr(convolution_kernels, name, lambda *a, o=original, n=name: (taken.append(n), o(*a))[1])
    for channels in (1, 64):  # few channels fill the tiles only together
        network = chain((1, channels, 9, 9), Convolution(3, (3, 3), (2, 2)))
        check(network, random_input(network), rule=RULE_CASES[1])
    assert taken == ["_add_together", *["_add_phase"] * 4]


@pytest.mark.parametrize("rule", [r for r in RULE_CASES if r[0] in ("flat", "wsquare", "zbox")])
def test_the_share_of_the_padding_is_lost(rule: Any) -> None:
    network = chain((1, 3, 4, 5), Convolution(2, (3, 3), pad=(2, 1)))
    x = random_input(network)
    check(box(network), x, rule=rule)
    e = caffe2lrp.explain(network, x, rule=rule[0], target=0, start="one")  # the corner: 2 of 9 cells are pixels
    lost = 1 - e.relevance.sum()
    if rule[0] == "flat":
        assert lost == pytest.approx(7 / 9, rel=1e-12)
    elif rule[0] == "zbox":  # in the padding both bounds are 0, and so is the share
        assert lost == pytest.approx(0, abs=1e-5)
    else:
        assert 0.1 < lost < 1


def test_alphabeta_needs_no_signs_after_a_relu() -> None:
    """Both code paths: with the negative part of the input, and without it where it is known to be zero."""
    from caffe2lrp.engine.signs import nonnegative_blobs

    for params in (Convolution(5, (3, 2)), InnerProduct(4)):
        signed, rectified = chain((2, 3, 5, 4), params), chain((2, 3, 5, 4), activation.ReLU(), params)
        x = random_input(signed)
        weights = signed.layers[0].weights
        rectified = rectified.with_layers([rectified.layers[0], with_weights(rectified.layers[1], weights)])
        assert nonnegative_blobs(rectified) >= {"y0"}
        assert "data" not in nonnegative_blobs(signed)
        a = caffe2lrp.explain(signed, np.maximum(x, 0), [[0], [1]], rule="alphabeta", beta=1.0)
        b = caffe2lrp.explain(rectified, x, [[0], [1]], rule="alphabeta", beta=1.0)
        assert_close(b.relevance, a.relevance, 1e-12)
        check(rectified, x, rule=ALPHABETA, dtypes=(np.float64, np.float32))


@pytest.mark.parametrize(
    ("params", "expected"),
    [
        (activation.Sigmoid(), True),
        (activation.ReLU(0.1), False),
        (activation.ELU(), False),
        (activation.TanH(), False),
        (activation.Power(2.0), False),
        (activation.AbsVal(), True),
        (pooling.Pooling("MAX", (2, 2)), False),
    ],
)
def test_signs_of_blobs(params: Any, expected: bool) -> None:
    from caffe2lrp.engine.signs import nonnegative_blobs

    network = chain((1, 2, 4, 4), params, dropout.Dropout(), pooling.Pooling("AVE", (2, 2)), Convolution(2, (1, 1)))
    assert nonnegative_blobs(network) == ({"y0", "y1", "y2"} if expected else set())


@pytest.mark.parametrize("value", [0.0, 2.0, -1.0])
def test_a_negative_border_makes_signs_unknown(value: float) -> None:
    from caffe2lrp.engine.signs import nonnegative_blobs

    border = Pad((0, 0, 1, 2), (0, 0, 0, 1), value)
    network = chain((1, 2, 4, 4), activation.ReLU(), border, Convolution(2, (3, 3)))
    assert ("y1" in nonnegative_blobs(network)) == (value >= 0)
    check(network, random_input(network), rule=RULE_CASES[3])


def test_a_border_of_zeros_is_padding() -> None:
    """Conv with padding and Pad before a Conv without are the same, values and relevance."""
    apart = chain((2, 3, 6, 5), activation.ReLU(), Pad((0, 0, 1, 2), (0, 0, 1, 2)), Convolution(4, (3, 3)))
    relu, _, conv = apart.layers
    joined = with_weights(Layer("conv", Convolution(4, (3, 3), pad=(1, 2)), ("y0",), ("y2",)), conv.weights)
    together = apart.with_layers([relu, joined])
    x = random_input(apart)
    assert_close(apart.forward(x)["y2"], together.forward(x)["y2"], 1e-12)
    for name, ours, _ in RULE_CASES:
        if name != "zbox":
            a, b = (caffe2lrp.explain(n, x, [[0], [1]], rule=name, **ours) for n in (apart, together))
            assert_close(a.relevance, b.relevance, 1e-12, name)


def test_a_negative_coefficient_makes_signs_unknown() -> None:
    from caffe2lrp.engine.signs import nonnegative_blobs

    for coefficients in ((), (1.0, -1.0)):
        network = build(
            {"data": (1, 2, 3, 3)},
            ("relu", activation.ReLU(), ["data"], ["r"]),
            ("abs", activation.AbsVal(), ["data"], ["a"]),
            ("sum", eltwise.Eltwise("SUM", coefficients), ["r", "a"], ["s"]),
            ("conv", Convolution(3, (2, 2)), ["s"], ["y"]),
        )
        assert ("s" in nonnegative_blobs(network)) == (not coefficients)
        check(network, random_input(network), rule=ALPHABETA)


def test_an_output_without_relevance_or_activation_sends_nothing() -> None:
    network = chain((1, 2, 3, 3), activation.ReLU(), Convolution(3, (2, 2), bias=False))
    for name, ours, _ in RULE_CASES[:8]:
        e = caffe2lrp.explain(network, -np.ones((1, 2, 3, 3)), 0, rule=name, **ours, start="one")
        np.testing.assert_array_equal(e.relevance, 0)


def test_weights_of_zero_have_no_share() -> None:
    network = chain((1, 1, 1, 3), InnerProduct(2, bias=False))
    weights = {"weight": np.array([[0.0, 2.0, 0.0], [0.0, 0.0, 0.0]])}
    network = network.with_layers([with_weights(network.layers[0], weights)])
    e = caffe2lrp.explain(network, np.ones((1, 1, 1, 3)), [0, 1], rule="wsquare", start="one")
    np.testing.assert_array_equal(e.relevance.ravel(), [0, 1, 0])


def test_toolbox_spelling_of_beta() -> None:
    """alpha = 1 + beta: 3 parts along positive products less 2 along negative ones, by hand."""
    network = chain((1, 3), InnerProduct(1))
    weights = {"weight": np.array([[1.0, 3.0, -2.0]]), "bias": np.array([-4.0])}
    network = network.with_layers([with_weights(network.layers[0], weights)])
    e = caffe2lrp.explain(network, np.array([[2.0, 1.0, 1.0]]), 0, rule="alphabeta", beta=2.0, start="one")
    # positive: 2 + 3 = 5; negative: -2 and the bias -4, in all -6
    np.testing.assert_allclose(e.relevance, [[3 * 2 / 5, 3 * 3 / 5, -2 * 2 / 6]], rtol=1e-15)


# -- networks -------------------------------------------------------------------------------------------------


def inception(batch: int = 2) -> Network:
    """Fan-out to three branches and the sum, concatenated; LRN, both poolings, dropout, a fully connected end."""
    return build(
        {"data": (batch, 3, 11, 9)},
        ("conv", Convolution(4, (3, 3), stride=(2, 1), pad=(1, 0)), ["data"], ["c"]),
        ("relu", activation.ReLU(), ["c"], ["r"]),
        ("norm", lrn.LRN(3, 0.5, 0.75), ["r"], ["n"]),
        ("a", Convolution(3, (1, 1)), ["n"], ["a"]),
        ("a relu", activation.ReLU(), ["a"], ["ar"]),
        ("b", Convolution(6, (3, 3), pad=(1, 1), group=2), ["n"], ["b"]),
        ("p", pooling.Pooling("MAX", (3, 3), (1, 1), (1, 1)), ["n"], ["p"]),
        ("join", join.Concat(), ["ar", "b", "p"], ["j"]),
        ("relu2", activation.ReLU(), ["j"], ["jr"]),
        ("pool", pooling.Pooling("AVE", (3, 2), (2, 2)), ["jr"], ["v"]),
        ("drop", dropout.Dropout(), ["v"], ["d"]),
        ("fc", InnerProduct(7), ["d"], ["f"]),
        ("prob", softmax.Softmax(), ["f"], ["y"]),
    )


def residual(batch: int = 2) -> Network:
    """Batch norm and scale behind convolutions, an addition of the input's own branch, a product gate."""
    return build(
        {"data": (batch, 2, 7, 5)},
        ("conv1", Convolution(4, (3, 3), pad=(1, 1), bias=False), ["data"], ["c1"]),
        ("bn1", batch_norm.BatchNorm(), ["c1"], ["n1"]),
        ("scale1", affine.Scale(bias=True), ["n1"], ["s1"]),
        ("relu1", activation.ReLU(), ["s1"], ["r1"]),
        ("conv2", Convolution(4, (3, 3), pad=(1, 1)), ["r1"], ["c2"]),
        ("bn2", batch_norm.BatchNorm(), ["c2"], ["n2"]),
        ("add", eltwise.Eltwise("SUM", (1.0, 0.5)), ["n2", "r1"], ["e"]),
        ("relu2", activation.ReLU(), ["e"], ["r2"]),
        ("bn3", batch_norm.BatchNorm(), ["r2"], ["n3"]),
        ("pool", pooling.Pooling("AVE", None), ["n3"], ["g"]),
        ("fc", InnerProduct(5), ["g"], ["f"]),
        ("bias", affine.Bias(), ["f"], ["y"]),
    )


@pytest.mark.parametrize("make", [inception, residual])
@pytest.mark.parametrize("rule", [r for r in RULE_CASES if r[0] != "zbox"], ids=lambda r: f"{r[0]} {r[2]}")
@pytest.mark.parametrize("lrn_rule", ["taylor", "identity"])
def test_networks(make: Any, rule: Any, lrn_rule: str) -> None:
    network = make()
    x = random_input(network)
    start_blob = {"inception": "f", "residual": "y"}[make.__name__]
    folded = fold_affine_layers(network)
    name, ours, theirs = rule
    targets = [[1, 3], [0]]
    start = np.zeros(network.shapes[start_blob])
    scores = naive.forward(network, x)[start_blob]
    for n, classes in enumerate(targets):
        start[n, classes] = scores[n, classes]
    expected = naive_relevance(folded, x, start_blob, start, rule=(name, theirs), lrn_rule=lrn_rule)["data"]
    for dtype, tolerance in ((np.float64, 1e-9), (np.float32, 5e-3)):
        e = caffe2lrp.explain(network, x.astype(dtype), targets, rule=name, lrn=lrn_rule, **ours)
        assert_close(e.relevance, expected, tolerance)
        assert_close(e.score, start.sum(axis=1), 1e-12 if dtype is np.float64 else 1e-5)


GRADIENTS = ("gradient", "deconvolution", "guided_backprop")


def naive_gradient(network: Network, x: np.ndarray, blob: str, start: np.ndarray, relu: str) -> np.ndarray:
    """Derivative with respect to the input; at ReLUs as `relu` says."""

    def step(layer: Layer, inputs: list[np.ndarray], arriving: list[np.ndarray]) -> list[np.ndarray]:
        if layer.type == "ReLU" and relu != "gradient":
            positive = np.maximum(arriving[0], 0)
            return [positive if relu == "deconvolution" else np.where(inputs[0] > 0, positive, 0)]
        return naive.GRADIENT[layer.type](layer.params, layer.weights, inputs, arriving)

    return naive.walk_back(network, naive.forward(network, x), {blob: start}, step)["data"]


@pytest.mark.parametrize("name", GRADIENTS)
@pytest.mark.parametrize("make", [inception, residual])
def test_gradient_baselines(make: Any, name: str) -> None:
    network = make()
    x = random_input(network)
    blob = "f" if make is inception else "y"
    targets, start = some_targets(network.shapes[blob], 1)
    expected = naive_gradient(network, x, blob, start, name)
    for dtype, tolerance in ((np.float64, 1e-11), (np.float32, 1e-4)):
        e = caffe2lrp.explain(network, x.astype(dtype), targets, composite=name, layer=blob, start="one")
        assert_close(e.relevance, expected, tolerance)


@pytest.mark.parametrize("name", sorted(set(REGISTRY) - WITHOUT_GRADIENT - HEADS))
@settings(max_examples=20, deadline=None, derandomize=True)
@given(data=st.data())
def test_gradient_of_random_cases(name: str, data: st.DataObject) -> None:
    network = network_of(data.draw(CASES[name]))
    seed, ties = data.draw(st.integers(0, 3)), data.draw(st.booleans())
    x = random_input(network, seed, ties and name != "Power")
    blob = data.draw(st.sampled_from(network.layer("layer").outputs))
    targets, start = some_targets(network.shapes[blob], seed)
    expected = naive_gradient(network, x, blob, start, "gradient")
    e = caffe2lrp.explain(network, x, targets, composite="gradient", layer=blob, start="one")
    assert_close(e.relevance, expected, 1e-10)


@pytest.mark.parametrize("make", [inception, residual])
def test_folding_keeps_the_values(make: Any) -> None:
    network = make()
    folded = fold_affine_layers(network)
    x = random_input(network)
    merged = {"inception": set(), "residual": {"bn1", "scale1", "bn2", "bias"}}[make.__name__]
    assert {layer.name for layer in network.layers} - {layer.name for layer in folded.layers} == merged
    before, after = naive.forward(network, x), naive.forward(folded, x)
    for blob in after:
        assert_close(after[blob], before[blob], 1e-12, blob)


def test_folding_leaves_what_others_read() -> None:
    network = build(
        {"data": (1, 2, 4, 4)},
        ("conv", Convolution(2, (1, 1)), ["data"], ["c"]),
        ("bn", batch_norm.BatchNorm(), ["c"], ["n"]),
        ("add", eltwise.Eltwise(), ["c", "n"], ["e"]),
        ("scale", affine.Scale(), ["e"], ["s"]),
        ("rows", affine.Scale(axis=2), ["s"], ["y"]),
    )
    assert fold_affine_layers(network).layers == network.layers
    check(network, random_input(network), rule=RULE_CASES[0])


@pytest.mark.parametrize(
    ("linear", "shape"),
    [
        (Deconvolution(6, (3, 2), (2, 1), group=3), (2, 6, 3, 4)),
        (Deconvolution(4, (2, 2), bias=False), (2, 3, 3, 4)),
        (Convolution(4, (2, 2, 3)), (2, 3, 3, 4, 5)),
        (Deconvolution(4, (3,), (2,)), (2, 3, 5)),
    ],
    ids=str,
)
def test_affine_layers_behind_other_linear_layers_are_folded(linear: Any, shape: tuple[int, ...]) -> None:
    network = chain(shape, linear, batch_norm.BatchNorm(), affine.Scale(bias=True), activation.ReLU(), InnerProduct(3))
    folded = fold_affine_layers(network)
    assert [layer.type for layer in folded.layers] == [linear.type, "ReLU", "InnerProduct"]
    x = random_input(network)
    assert_close(naive.forward(folded, x)["y2"], naive.forward(network, x)["y2"], 1e-12)
    check(folded, x, rule=ALPHABETA)


@pytest.mark.parametrize("linear", [InnerProduct(3, axis=2), Convolution(3, (1, 1), axis=2)], ids=str)
def test_channels_behind_another_axis_are_not_folded(linear: Any) -> None:
    """The affine layer's factors belong to axis 1, which here is part of the batch."""
    network = chain((2, 3, 3, 5, 4), linear, affine.Scale(bias=True))
    assert fold_affine_layers(network).layers == network.layers
    check(network, random_input(network))


def test_an_input_that_gives_only_its_size_gets_nothing() -> None:
    """As in the FCN nets, which cut the scores to the size of the image; also where no relevance can pass."""
    network = build(
        {"data": (2, 3, 6, 5)},
        ("conv", Convolution(4, (3, 3), (2, 2), (1, 1)), ["data"], ["c"]),
        ("up", Deconvolution(4, (4, 4), (2, 2), group=4, bias=False), ["c"], ["u"]),
        ("prob", softmax.Softmax(), ["data"], ["p"]),
        ("cut", crop.Crop(2, (1,)), ["u", "p"], ["s"]),
        ("twice", crop.Crop(2), ["s", "data"], ["y"]),
    )
    x = random_input(network)
    check(network, x, rule=ALPHABETA)
    e = caffe2lrp.explain(network, x, [0, 1], layer="y", account=True)
    assert e.account is not None
    assert "prob" not in [entry.layer for entry in e.account.entries]


def test_signs_of_picked_and_pooled_blobs() -> None:
    from caffe2lrp.engine.signs import nonnegative_blobs

    network = build(
        {"data": (1, 2, 6, 6)},
        ("by chance", pooling.Pooling("STOCHASTIC", (2, 2)), ["data"], ["p"]),
        ("columns", Im2col((2, 2)), ["p"], ["i"]),
        ("small", pooling.Pooling("MAX", (4, 4)), ["data"], ["m"]),
        ("cut", crop.Crop(), ["i", "m"], ["y"]),
        ("pyramid", pooling.SPP(1), ["y"], ["s"]),
    )
    assert nonnegative_blobs(network) == {"p", "i", "y", "s"}


def test_stochastic_pooling_by_hand() -> None:
    """(1 + 9 + 36) / (1 + 3 + 6), of which the parts are 1, 9 and 36; a sum that is not positive gives nothing."""
    network = chain((1, 1, 1, 6), pooling.Pooling("STOCHASTIC", (1, 3), (1, 3)))
    x = np.array([[[[1.0, 3.0, 6.0, 2.0, -5.0, 1.0]]]])
    np.testing.assert_allclose(network.forward(x)["y0"].ravel(), [4.6, 0])
    e = caffe2lrp.explain(network, x, [0, 1], start="one")
    np.testing.assert_allclose(e.relevance.ravel(), [1 / 46, 9 / 46, 36 / 46, 0, 0, 0])


def test_fan_out_to_one_layer_twice() -> None:
    network = build(
        {"data": (2, 3, 4, 4)},
        ("conv", Convolution(3, (3, 3)), ["data"], ["c"]),
        ("sum", eltwise.Eltwise("SUM", (2.0, -0.5, 1.0)), ["c", "c", "c"], ["y"]),
    )
    check(network, random_input(network))


def test_the_input_read_by_several_layers() -> None:
    network = build(
        {"data": (2, 3, 4, 4)},
        ("relu", activation.ReLU(), ["data"], ["r"]),
        ("abs", activation.AbsVal(), ["data"], ["a"]),
        ("max", eltwise.Eltwise("MAX"), ["r", "a", "data"], ["m"]),
        ("fc", InnerProduct(4), ["m"], ["f"]),
    )
    check(network, random_input(network), rule=ALPHABETA)


def test_a_part_that_does_not_lead_to_the_start() -> None:
    network = build(
        {"data": (2, 4, 3, 3)},
        ("cut", join.Slice(2), ["data"], ["front", "back"]),
        ("conv", Convolution(3, (2, 2)), ["front"], ["y"]),
        ("other", Convolution(3, (2, 2)), ["back"], ["z"]),
    )
    x = random_input(network)
    check(network, x, blob="y")
    e = caffe2lrp.explain(network, x, [0, 0], layer="y")
    np.testing.assert_array_equal(e.relevance[:, 2:], 0)
    assert (e.relevance[:, :2] != 0).any()


def test_start_in_the_middle() -> None:
    network = inception()
    x = random_input(network)
    for blob in ("jr", "p", "r", "data"):
        check(network, x, rule=ALPHABETA, blob=blob)


@pytest.mark.parametrize(
    ("params", "shape"),
    [
        (Deconvolution(3, (2, 2)), (1, 2, 4, 4)),
        (Convolution(3, (2, 2, 2)), (1, 2, 3, 4, 4)),
        (Convolution(3, (1, 1), axis=2), (1, 3, 2, 4, 4)),
        (pooling.Pooling("STOCHASTIC", (2, 2)), (1, 2, 4, 4)),
        (pooling.Pooling("MAX", None), (1, 2, 3, 4, 4)),
    ],
    ids=str,
)
def test_the_toolbox_knows_images_only(params: Any, shape: tuple[int, ...]) -> None:
    network = chain(shape, activation.ReLU(), params, InnerProduct(3))
    with pytest.raises(ModelError, match="the Toolbox has no relevance for it"):
        caffe2lrp.toolbox.explain(network, random_input(network), 0)
