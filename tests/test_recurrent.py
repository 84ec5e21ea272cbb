"""RNN and LSTM beyond single cases: Caffe's unrolled nets, networks around them, accounts, steps, errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import onnxruntime
import pytest

import caffe2lrp
from caffe2lrp import Network, composites
from caffe2lrp.converters.onnx import build_model
from caffe2lrp.errors import ModelError, OptionError
from caffe2lrp.ir import Layer, with_weights
from caffe2lrp.layers import activation, affine, eltwise, join, reshape, source
from caffe2lrp.layers.base import LayerParams, ShapeError
from caffe2lrp.layers.convolution import Convolution
from caffe2lrp.layers.inner_product import InnerProduct
from caffe2lrp.layers.recurrent import LSTM, RNN, Recurrent
from tests import naive
from tests.layer_cases import Shape, Spec, assert_close, build, check_forward, single

T, N, D, K, S = 5, 3, 4, 7, 2


def given(kind: type[Recurrent], static: bool, exposed: bool) -> dict[str, Shape]:
    """Input blobs of a recurrent layer."""
    shapes: dict[str, Shape] = {"x": (T, N, K), "cont": (T, N)}
    if static:
        shapes["static"] = (N, S)
    if exposed:
        shapes |= {f"{state}_0": (1, N, D) for state in ("h", "c")[: kind.states]}
    return shapes


def one_layer(kind: type[Recurrent], static: bool = False, exposed: bool = False) -> Network:
    """A network of one layer."""
    inputs = given(kind, static, exposed)
    tops = ["y", *([f"{state}_T" for state in ("h", "c")[: kind.states]] if exposed else [])]
    return build(inputs, ("layer", kind(D, exposed), list(inputs), tops))


def some_inputs(network: Network, seed: int = 0) -> dict[str, np.ndarray]:
    """Normal values, and indicators of 0 and 1, of which the first are 1."""
    rng = np.random.default_rng(seed)
    arrays = {blob: single(rng.normal(0, 1, shape)) for blob, shape in network.inputs.items()}
    arrays["cont"] = rng.integers(0, 2, network.inputs["cont"]).astype(np.float64)
    arrays["cont"][:2] = 1
    return arrays


def unrolled(kind: type[Recurrent], static: bool, exposed: bool) -> Network:
    """What Caffe makes of the layer: a net of slices, fully connected layers, sums and gates for each step.

    The weights are those of `one_layer`.
    """
    inputs = given(kind, static, exposed)
    w = one_layer(kind, static, exposed).layers[0].weights
    layers: list[Layer] = []

    def add(name: str, params: LayerParams, bottoms: list[str], *tops: str, **weights: np.ndarray) -> None:
        layers.append(with_weights(Layer(name, params, tuple(bottoms), tops or (name,)), weights))

    rows = kind.gates * D
    steps = range(1, T + 1)
    add("cut cont", join.Slice(T, 0), ["cont"], *[f"cont_{t}" for t in steps])
    add("Wx", InnerProduct(rows, axis=2), ["x"], weight=w["weight"], bias=w["bias"])
    add("cut x", join.Slice(T, 0), ["Wx"], *[f"Wx_{t}" for t in steps])
    if static:
        add("Ws flat", InnerProduct(rows, bias=False), ["static"], weight=w["static_weight"])
        add("Ws", reshape.Reshape((1, -1, rows)), ["Ws flat"])
    if not exposed:
        for state in ("h", "c")[: kind.states]:
            add(f"{state}_0", source.DummyData((1, N, D)), [])
    for t in steps:
        add(f"conted_{t}", affine.Scale(axis=0), [f"h_{t - 1}", f"cont_{t}"])
        add(f"Wh_{t}", InnerProduct(rows, False, 2), [f"conted_{t}"], weight=w["hidden_weight"])
        add(f"z_{t}", eltwise.Eltwise(), [f"Wh_{t}", f"Wx_{t}", *(["Ws"] if static else [])])
        if kind is RNN:
            add(f"h_{t}", activation.TanH(), [f"z_{t}"])
            add(f"v_{t}", InnerProduct(D, axis=2), [f"h_{t}"], weight=w["output_weight"], bias=w["output_bias"])
            add(f"o_{t}", activation.TanH(), [f"v_{t}"])
            continue
        add(f"cut z_{t}", join.Slice(4, 2), [f"z_{t}"], *[f"{gate}'_{t}" for gate in "ifog"])
        for gate in "ifog":
            add(f"{gate}_{t}", activation.TanH() if gate == "g" else activation.Sigmoid(), [f"{gate}'_{t}"])
        add(f"f conted_{t}", affine.Scale(axis=0), [f"f_{t}", f"cont_{t}"])
        add(f"kept_{t}", eltwise.Eltwise("PROD"), [f"f conted_{t}", f"c_{t - 1}"])
        add(f"new_{t}", eltwise.Eltwise("PROD"), [f"i_{t}", f"g_{t}"])
        add(f"c_{t}", eltwise.Eltwise(), [f"kept_{t}", f"new_{t}"])
        add(f"tanh c_{t}", activation.TanH(), [f"c_{t}"])
        add(f"h_{t}", eltwise.Eltwise("PROD"), [f"o_{t}", f"tanh c_{t}"])
    output = "o" if kind is RNN else "h"
    add("y", join.Concat(0), [f"{output}_{t}" for t in steps])
    return Network("unrolled", inputs, layers)


KINDS = pytest.mark.parametrize("kind", [RNN, LSTM], ids=["RNN", "LSTM"])
EXPOSED = pytest.mark.parametrize("exposed", [False, True], ids=["", "exposed"])
STATIC = pytest.mark.parametrize("static", [False, True], ids=["", "static"])


@KINDS
@EXPOSED
@STATIC
def test_it_computes_what_caffes_unrolled_net_does(kind: type[Recurrent], exposed: bool, static: bool) -> None:
    layer, net = one_layer(kind, static, exposed), unrolled(kind, static, exposed)
    x = some_inputs(layer)
    found, expected = layer.forward(x), net.forward(x, keep="all")
    assert_close(found["y"], expected["y"], 1e-13)
    if exposed:
        for state in ("h", "c")[: kind.states]:
            assert_close(found[f"{state}_T"], expected[f"{state}_{T}"], 1e-13)
    check_forward(layer, x)


@KINDS
@EXPOSED
@STATIC
def test_its_derivative_is_that_of_the_unrolled_net(kind: type[Recurrent], exposed: bool, static: bool) -> None:
    layer, net = one_layer(kind, static, exposed), unrolled(kind, static, exposed)
    x = some_inputs(layer)
    targets = [[1], [0, 5], [], [2], [11, 3]]
    found, expected = (
        caffe2lrp.explain(n, x, targets, composite="gradient", layer="y", start="one") for n in (layer, net)
    )
    for blob in layer.inputs:
        assert_close(found.relevances[blob], expected.relevances[blob], 1e-12, blob)
        assert expected.relevances[blob].any()


@KINDS
@EXPOSED
@STATIC
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_relevance_of_every_input(kind: type[Recurrent], exposed: bool, static: bool, dtype: Any) -> None:
    network = one_layer(kind, static, exposed)
    x = some_inputs(network)
    targets = [[1], [0, 5], [], [2], [11, 3]]
    start = np.zeros((T, N * D))
    for t, chosen in enumerate(targets):
        start[t, chosen] = 1
    options = {"epsilon": 0.01}
    blobs = naive.forward(network, x)
    expected = naive.relevance(network, blobs, {"y": start.reshape(T, N, D)}, lambda layer: options)
    e = caffe2lrp.explain(
        network, {k: v.astype(dtype) for k, v in x.items()}, targets, rule="epsilon", **options, layer="y", start="one"
    )
    for blob in network.inputs:
        assert e.relevances[blob].dtype == dtype
        assert_close(e.relevances[blob], expected[blob], 1e-11 if dtype is np.float64 else 1e-4, blob)
    assert not e.relevances["cont"].any()
    assert all(e.relevances[blob].any() for blob in network.inputs if blob != "cont")


@KINDS
def test_relevance_from_the_state_behind_the_last_step(kind: type[Recurrent]) -> None:
    network = one_layer(kind, exposed=True)
    x = some_inputs(network)
    for blob in network.outputs[1:]:
        start = np.zeros((1, N, D))
        start[0, 1, 2] = 1
        blobs = naive.forward(network, x)
        expected = naive.relevance(network, blobs, {blob: start}, lambda layer: {"epsilon": 1e-6})
        e = caffe2lrp.explain(network, x, D + 2, layer=blob, start="one")
        for name in network.inputs:
            assert_close(e.relevances[name], expected[name], 1e-10, f"{blob} {name}")


# -- networks around them ---------------------------------------------------------------------------------------


def captions(kind: type[Recurrent], bias: float = 1.0) -> Network:
    """Words read by a recurrent layer that sees a picture: pictures (N, ...), words (T, N, K), classes at each step."""
    specs: list[Spec] = [
        ("conv", Convolution(4, (3, 3)), ["picture"], ["c"]),
        ("relu", activation.ReLU(), ["c"], ["r"]),
        ("fc", InnerProduct(S), ["r"], ["f"]),
        ("embed", InnerProduct(6, axis=2), ["words"], ["e"]),
        ("first", kind(D), ["e", "cont", "f"], ["h1"]),
        ("second", kind(3), ["h1", "cont"], ["h2"]),
        ("predict", InnerProduct(5, axis=2), ["h2"], ["y"]),
    ]
    inputs = {"picture": (N, 2, 6, 5), "words": (T, N, K), "cont": (T, N)}
    network = build(inputs, *specs, bias=bias)
    if bias == 0:
        network = network.with_layers(
            with_weights(layer, {k: 0 * w if k.endswith("bias") else w for k, w in layer.weights.items()})
            for layer in network.layers
        )
    return network


def test_the_numbers_of_steps_and_streams_may_differ_from_the_file() -> None:
    network = captions(LSTM)
    x = some_inputs(network)
    whole = network.forward(x)["y"]
    shorter = {"picture": x["picture"][1:], "words": x["words"][:3, 1:], "cont": x["cont"][:3, 1:]}
    assert_close(network.forward(shorter)["y"], whole[:3, 1:], 1e-12)
    with pytest.raises(OptionError, match=r"the input 'picture' takes 2 channels"):
        network.forward({**x, "picture": x["picture"][:, :1]})
    with pytest.raises(ModelError, match=r"layer 'first' .*one continuation indicator .*\(5, 3\), but has \(5, 2\)"):
        network.forward({**x, "cont": x["cont"][:, :2]})


@KINDS
def test_a_new_sequence_does_not_know_the_old_one(kind: type[Recurrent]) -> None:
    network = captions(kind)
    x = some_inputs(network)
    x["cont"][2] = 0
    late = {**x, "words": x["words"][2:], "cont": x["cont"][2:]}
    assert_close(network.forward(late)["y"], network.forward(x)["y"][2:], 1e-12)
    e = caffe2lrp.explain(network, x, [[], [], [], [], [3]])
    assert not e.relevances["words"][:2].any()
    assert e.relevances["words"][2:, 0].any()
    assert e.relevance.shape == (N, 2, 6, 5)
    assert e.relevance[0].any()
    assert not e.relevance[1:].any()


@KINDS
def test_the_account_of_a_recurrent_network(kind: type[Recurrent]) -> None:
    x = some_inputs(captions(kind))
    targets = [[0], [1], [2], [3], [4]]
    e = caffe2lrp.explain(captions(kind, bias=0.0), x, targets, rule="epsilon", epsilon=0.0, account=True)
    assert e.account is not None
    arrived = sum(float(r.sum()) for r in e.relevances.values())
    moved = max(abs(e.account.start), *(abs(r).sum() for r in e.relevances.values()))
    assert arrived == pytest.approx(e.account.start, abs=1e-9 * moved)
    e = caffe2lrp.explain(captions(kind), x, targets, rule="epsilon", epsilon=0.1, account=True)
    assert e.account is not None
    assert abs(e.account.start - e.account.arrived) > 0.01 * abs(e.account.start)
    for entry in e.account.entries:
        size = abs(entry.above) + abs(entry.below) + abs(entry.bias) + abs(entry.epsilon)
        assert entry.other == pytest.approx(0, abs=1e-11 * size), entry.layer
        assert entry.dropped == 0
    assert all(entry.bias and entry.epsilon for entry in e.account.entries if entry.type == kind.type)


def test_what_is_dropped_at_a_cell_of_zero() -> None:
    network = one_layer(LSTM)
    x = {"x": np.zeros((T, N, K)), "cont": np.ones((T, N))}
    layer = with_weights(network.layers[0], {k: 0 * w for k, w in network.layers[0].weights.items()})
    e = caffe2lrp.explain(
        network.with_layers([layer]), x, [0, 1, 2, 3, 4], rule="epsilon", epsilon=0.0, start="one", account=True
    )
    assert e.account is not None
    assert e.account.total("dropped") == 5
    assert e.account.total("other") == 0


def test_constants_keep_relevance_like_a_bias() -> None:
    network = build(
        {"data": (1, 4)},
        ("one", source.DummyData((1, 4), 0.5), [], ["half"]),
        ("learned", source.Parameter((4,)), [], ["p"]),
        ("row", reshape.Reshape((1, 4)), ["p"], ["r"]),
        ("sum", eltwise.Eltwise(), ["data", "half", "r"], ["y"]),
    )
    x = np.array([[1.0, 2.0, 3.0, 4.0]])
    e = caffe2lrp.explain(network, x, [0, 1, 2, 3], account=True)
    assert_close(e.relevance, x, 1e-9)
    assert e.account is not None
    (entry,) = e.account.entries
    learned = float(network.layers[1].weights["value"].sum())
    assert entry.below == pytest.approx(10)
    assert entry.bias == pytest.approx(2 + learned)
    assert entry.other == pytest.approx(0, abs=1e-9)


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("bias", [False, True])
def test_constant_factors_get_nothing(first: bool, bias: bool) -> None:
    blobs = ["p", "data"] if first else ["data", "p"]
    scaled = build(
        {"data": (3, 4)},
        ("learned", source.Parameter((3, 4)), [], ["p"]),
        ("product", affine.Scale(axis=0, bias=bias), blobs, ["y"]),
    )
    multiplied = build(
        {"data": (3, 4)},
        ("learned", source.Parameter((3, 4)), [], ["p"]),
        ("product", eltwise.Eltwise("PROD"), [*blobs, "data"], ["y"]),
    )
    x = single(np.random.default_rng(0).normal(0, 1, (3, 4)))
    targets = [[0], [1, 2], []]
    start = np.array([[1, 0, 0, 0], [0, 1, 1, 0], [0, 0, 0, 0]], np.float64)
    product = x * scaled.layer("learned").weights["value"]
    total = product + scaled.layer("product").weights["bias"] if bias else product
    e = caffe2lrp.explain(scaled, x, targets, start="one")
    assert_close(e.relevance, start * product / total, 1e-10)
    assert_close(caffe2lrp.explain(multiplied, x, targets, start="one").relevance, start, 1e-12)


# -- ONNX -------------------------------------------------------------------------------------------------------


def in_onnxruntime(model: bytes, x: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    names = [output.name for output in session.get_outputs()]
    single = {blob: value.astype(np.float32) for blob, value in x.items()}
    return dict(zip(names, session.run(names, single), strict=True))


@KINDS
@EXPOSED
@STATIC
def test_as_onnx_for_any_number_of_steps(kind: type[Recurrent], exposed: bool, static: bool) -> None:
    network = one_layer(kind, static, exposed)
    model = build_model(network).to_bytes()
    for steps in (1, T, T + 3):
        x = some_inputs(network.with_input_shapes({"x": (steps, N, K), "cont": (steps, N)}))
        found, expected = in_onnxruntime(model, x), network.forward(x)
        assert set(found) == set(expected)
        for blob, value in found.items():
            assert_close(value, expected[blob], 2e-5, blob)


@KINDS
def test_a_network_as_onnx(kind: type[Recurrent]) -> None:
    network = captions(kind)
    x = some_inputs(network)
    for half, tolerance in ((False, 2e-5), (True, 5e-3)):
        found = in_onnxruntime(build_model(network, fp16=half).to_bytes(), x)
        assert_close(found["y"], network.forward(x)["y"], tolerance)


# -- rules and errors -------------------------------------------------------------------------------------------


def test_recurrent_layers_have_the_rule_of_dense_layers_and_are_never_first() -> None:
    network = one_layer(LSTM)
    assert composites.find("epsilon_plus_flat").assign(network)["layer"].name == "epsilon 1e-06"
    behind = build(
        {"x": (T, N, K), "cont": (T, N)},
        ("layer", LSTM(D), ["x", "cont"], ["h"]),
        ("fc", InnerProduct(5, axis=2), ["h"], ["y"]),
    )
    rules = composites.find("epsilon_plus_flat").assign(behind)
    assert {name: rule.name for name, rule in rules.items()} == dict.fromkeys(("layer", "fc"), "epsilon 1e-06")


@KINDS
def test_other_rules_are_refused(kind: type[Recurrent]) -> None:
    network = captions(kind)
    for options in ({"rule": "alphabeta"}, {"composite": "alphabeta"}, {"rule": "gamma"}):
        with pytest.raises(ModelError, match=rf"layer 'second' \({kind.type}.*epsilon rule only, not by (alpha|gamma)"):
            caffe2lrp.explain(network, some_inputs(network), **options)
    with pytest.raises(ModelError, match="no relevance for it"):
        caffe2lrp.toolbox.explain(network, some_inputs(network), 1, formula=0)


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ([(2, 3, 4)], "2 or 3 blobs, but it has 1"),
        ([(2, 3, 4), (2, 3), (3, 1), (1, 3, 5)], "2 or 3 blobs, but it has 4"),
        ([(2, 3), (2, 3)], r"reads sequences \(T, N, \.\.\.\), but its input has the shape \(2, 3\)"),
        ([(2, 3, 4), (3, 2)], r"each step and stream, \(2, 3\), but has \(3, 2\)"),
        ([(2, 3, 4), (2, 3), (2, 4)], r"must have the shape \(3, \.\.\.\), but it has \(2, 4\)"),
        ([(2, 3, 4), (2, 3), (3,)], r"must have the shape \(3, \.\.\.\), but it has \(3,\)"),
    ],
)
def test_inputs_that_do_not_fit(shapes: list[Shape], message: str) -> None:
    blobs = {f"in{i}": shape for i, shape in enumerate(shapes)}
    with pytest.raises(ModelError, match=rf"layer 'rec' .*{message}"):
        Network("n", blobs, [Layer("rec", RNN(5), tuple(blobs), ("y",))])


def test_states_that_do_not_fit() -> None:
    x: list[Shape] = [(2, 3, 4), (2, 3)]
    with pytest.raises(ShapeError, match=r"and 2 state\(s\): 4 or 5 blobs, but it has 3"):
        LSTM(5, True).check_inputs([*x, (1, 3, 5)])
    with pytest.raises(ShapeError, match=r"states must have the shape \(1, 3, 5\), but one has \(1, 3, 4\)"):
        LSTM(5, True).output_shapes([*x, (1, 3, 5), (1, 3, 4)])


def test_costs() -> None:
    shapes: list[Shape] = [(T, N, K), (T, N), (N, S)]
    lstm, rnn = LSTM(D), RNN(D)
    assert lstm.multiply_adds(shapes, lstm.output_shapes(shapes)) == 4 * D * (T * N * (K + D) + N * S)
    assert rnn.multiply_adds(shapes, rnn.output_shapes(shapes)) == D * (T * N * (K + D + D) + N * S)
