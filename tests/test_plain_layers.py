"""The plain layers of BVLC Caffe (MVN, Reduction, ArgMax, Tile, ...): numbers by hand, odd values, whole nets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest

import caffe2lrp
from caffe2lrp.converters.onnx import export_onnx, verify
from caffe2lrp.engine.signs import nonnegative_blobs
from caffe2lrp.errors import ModelError
from caffe2lrp.ir import Layer, Network, with_weights
from caffe2lrp.layers import REGISTRY
from caffe2lrp.layers.activation import BNLL, AbsVal, Activation, Exp, Log, ReLU, Threshold
from caffe2lrp.layers.argmax import ArgMax
from caffe2lrp.layers.base import ShapeError
from caffe2lrp.layers.batch import BatchReindex, Filter
from caffe2lrp.layers.convolution import Convolution
from caffe2lrp.layers.embed import Embed
from caffe2lrp.layers.inner_product import InnerProduct
from caffe2lrp.layers.join import Slice
from caffe2lrp.layers.mvn import MVN
from caffe2lrp.layers.reduction import Reduction
from caffe2lrp.layers.reshape import Reshape
from caffe2lrp.layers.source import Parameter
from caffe2lrp.layers.tile import Tile
from tests.layer_cases import CHOSEN, WITHOUT_RELEVANCE, build, chain, check_forward, network_of, random_input
from tests.test_relevance import RULE_CASES, check, naive_gradient, some_targets

NEW = (
    *("ArgMax", "BNLL", "BatchReindex", "Embed", "Exp", "Filter", "Log"),
    *("MVN", "Reduction", "Threshold", "Tile"),
)


def output(x: Any, params: Any, dtype: Any = np.float64) -> np.ndarray:
    """What one layer makes of an array."""
    x = np.asarray(x, dtype)
    return chain(x.shape, params).forward(x)["y0"]


# -- numbers by hand --------------------------------------------------------------------------------


def test_mvn_by_hand() -> None:
    x = np.array([1.0, 2.0, 3.0, 4.0, 7.0, 7.0, 7.0, 7.0]).reshape(1, 2, 2, 2)
    centred = np.array([-1.5, -0.5, 0.5, 1.5])
    y = output(x, MVN(epsilon=0.5)).reshape(2, 4)
    np.testing.assert_allclose(y, [centred / (np.sqrt(1.25) + 0.5), np.zeros(4)], rtol=1e-15)
    np.testing.assert_allclose(output(x, MVN(False)).reshape(2, 4), [centred, np.zeros(4)], rtol=1e-15)
    whole = x.ravel() - 4.75
    y = output(x, MVN(across_channels=True, epsilon=0.5)).ravel()
    np.testing.assert_allclose(y, whole / (np.sqrt((whole**2).mean()) + 0.5), rtol=1e-14)


def test_equal_values_have_no_deviation_in_single_precision() -> None:
    """The epsilon of 1e-9 is far below what rounding does: a mean that is off by one unit would give 1."""
    for value in (0.1, 1 / 3, 123.456, 1e-20):
        assert not output(np.full((2, 3, 7, 11), value), MVN(), np.float32).any()


def test_mvn_of_fewer_axes_has_four() -> None:
    assert chain((2, 3), MVN()).shapes["y0"] == (2, 3, 1, 1)
    assert chain((2,), MVN()).shapes["y0"] == (2, 1, 1, 1)
    with pytest.raises(ShapeError, match="takes up to four axes"):
        MVN().output_shapes([(1, 2, 3, 4, 5)])


@pytest.mark.parametrize(("operation", "expected"), [("SUM", -1), ("ASUM", 6.5), ("SUMSQ", 13.625), ("MEAN", -0.25)])
def test_reduction_by_hand(operation: Any, expected: float) -> None:
    x = np.array([[1.0, -3.0, 1.75, -0.75], [2.0, 0.0, 0.0, 0.0]])
    assert output(x, Reduction(operation, 1, 2.0))[0] == 2 * expected
    assert output(x[:1], Reduction(operation)) == expected
    assert output(x, Reduction(operation)).shape == ()


def test_reduction_to_a_number_can_be_explained() -> None:
    x = np.array([[1.0, -3.0], [2.0, 4.0]])
    e = caffe2lrp.explain(chain((2, 2), Reduction()), x, 0, account=True)
    np.testing.assert_allclose(e.relevance, x, rtol=1e-11)
    np.testing.assert_array_equal(e.score, [4.0])
    e = caffe2lrp.explain(chain((2, 2), Reduction("SUMSQ", 1, 0.5)), x, [0, 0], start="one")
    np.testing.assert_allclose(e.relevance, [[1 / 10, 9 / 10], [4 / 20, 16 / 20]], rtol=1e-11)
    e = caffe2lrp.explain(chain((2, 2), Reduction("ASUM", 1)), x, [0, 0], start="one")
    np.testing.assert_allclose(e.relevance, [[1 / 4, 3 / 4], [2 / 6, 4 / 6]], rtol=1e-11)


def test_of_equal_values_argmax_takes_the_last() -> None:
    x = [[3.0, 5.0, 5.0, -1.0], [2.0, 2.0, 2.0, 2.0]]
    np.testing.assert_array_equal(output(x, ArgMax()), [[[2]], [[3]]])
    y = output(x, ArgMax(out_max_val=True, top_k=3))
    np.testing.assert_array_equal(y, [[[2, 1, 0], [5, 5, 3]], [[3, 2, 1], [2, 2, 2]]])
    np.testing.assert_array_equal(output(x, ArgMax(axis=0)), [[0, 0, 0, 1]])
    np.testing.assert_array_equal(output(x, ArgMax(axis=1, top_k=2, out_max_val=True)), [[5, 5], [2, 2]])


def test_argmax_passes_over_nan() -> None:
    nan = np.nan
    y = output([[1.0, nan, 3.0, nan], [nan, nan, nan, nan]], ArgMax(True, 3))
    np.testing.assert_array_equal(y, [[[2, 0, nan], [3, 1, nan]], [[nan] * 3, [nan] * 3]])


def test_steps() -> None:
    x = [-2.0, 0.5, np.nextafter(0.5, 1), 3.0]
    np.testing.assert_array_equal(output(x, Threshold(0.5)), [0, 0, 1, 1])


def test_exponential_and_logarithm_are_inverse() -> None:
    x = np.linspace(-3, 3, 7)
    np.testing.assert_allclose(output([1.0, 3.0], Exp(2.0, 1.0, 1.0)), [4, 16], rtol=1e-15)
    np.testing.assert_allclose(output([0.0], Exp(shift=1.0)), [np.e], rtol=1e-15)
    np.testing.assert_allclose(output([7.0, 99.0, 999.0], Log(10.0, 1.0, 1.0))[1:], [2, 3], rtol=1e-15)
    for base in (-1.0, 0.5, 10.0):
        np.testing.assert_allclose(output(output(x, Exp(base)), Log(base)), x, rtol=1e-14, atol=1e-14)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_large_values_do_not_overflow(dtype: Any) -> None:
    x = [-1e4, -200.0, 0.0, 200.0, 1e4]
    np.testing.assert_allclose(output(x, BNLL(), dtype), [0, 0, np.log(2), 200, 1e4], rtol=1e-6, atol=1e-30)
    e = caffe2lrp.explain(
        chain((1, 5), BNLL()), np.array([x], dtype), [[0, 1, 2, 3, 4]], composite="gradient", start="one"
    )
    np.testing.assert_allclose(e.relevance, [[0, 0, 0.5, 1, 1]], atol=1e-6)


def test_tiles_repeat_runs() -> None:
    x = np.arange(6.0).reshape(1, 2, 3)
    np.testing.assert_array_equal(output(x, Tile(2))[0], [*x[0], *x[0]])
    np.testing.assert_array_equal(output(x, Tile(2, -1))[0], [[0, 1, 2, 0, 1, 2], [3, 4, 5, 3, 4, 5]])


# -- indices and selectors -------------------------------------------------------------------------


def embedding(bias: bool = True) -> Network:
    network = chain((2, 2), Embed(3, 4, bias))
    weights = {"weight": np.arange(12.0).reshape(4, 3), "bias": np.array([0.5, 0.0, -2.0])}
    return network.with_layers([with_weights(network.layers[0], weights if bias else {"weight": weights["weight"]})])


def test_an_index_gets_the_relevance_of_its_vector() -> None:
    x = np.array([[3.0, 0.0], [1.0, 1.0]])
    y = embedding().forward(x)["y0"]
    np.testing.assert_array_equal(y[0], [[9.5, 10, 9], [0.5, 1, 0]])
    e = caffe2lrp.explain(embedding(), x, [[0, 2], [4]], start="one")
    np.testing.assert_allclose(e.relevance, [[9 / 9.5 + 11 / 9, 0], [0, 4 / 4]], rtol=1e-11)
    e = caffe2lrp.explain(embedding(bias=False), x, [[0, 1], [3]])
    np.testing.assert_allclose(e.relevance, [[19, 0], [0, 3]], rtol=1e-11)


@pytest.mark.parametrize("value", [4.0, -1.0, 0.5, 1e30, -1e30, np.nan, np.inf])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_values_that_are_no_index(value: float, dtype: Any) -> None:
    network = embedding()
    x = np.array([[3, 0], [value, 1]], dtype)
    message = rf"layer 'layer0' \(Embed, .*: value 2 of 'data' is {value:g} and no whole number from 0 to 3"
    for run in (network.forward, lambda x: caffe2lrp.explain(network, x, [0, 0])):
        with pytest.raises(ModelError, match=message.replace("+", r"\+")):
            run(x)
    x[1, 0] = 2  # the plan can go on
    np.testing.assert_array_equal(network.forward(x)["y0"][1, 0], [6.5, 7, 6])


def picking(n: int = 3, m: int = 4) -> Network:
    """Images in the order of a second part of the input."""
    return build(
        {"data": (1, 2 * n + m)},
        ("cut", Slice(2, 1, (2 * n,)), ["data"], ["values", "order"]),
        ("images", Reshape((n, 2)), ["values"], ["images"]),
        ("list", Reshape((m,)), ["order"], ["list"]),
        ("pick", BatchReindex(), ["images", "list"], ["y"]),
    )


def test_picked_images() -> None:
    x = np.array([[0.0, 1, 2, 3, 4, 5, 2, 0, 2, 1]])
    np.testing.assert_array_equal(picking().forward(x)["y"], [[4, 5], [0, 1], [4, 5], [2, 3]])
    for composite in (None, "gradient"):
        options: dict[str, Any] = {"composite": composite} if composite else {"rule": "epsilon"}
        e = caffe2lrp.explain(picking(), x, [[0], [1], [0], [0, 1]], layer="y", start="one", **options)
        np.testing.assert_array_equal(e.relevance, [[0, 1, 1, 1, 2, 0, 0, 0, 0, 0]])
    x[0, -2] = 3
    with pytest.raises(ModelError, match=r"layer 'pick' .*: value 2 of 'list' is 3 and no whole number from 0 to 2"):
        picking().forward(x)


def test_what_only_chooses_has_no_relevance() -> None:
    """Through indices nothing depends on the input."""
    network = build(
        {"data": (1, 3)},
        ("best", ArgMax(), ["data"], ["best"]),
        ("list", Reshape((1,)), ["best"], ["list"]),
        ("embed", Embed(5, 3), ["list"], ["y"]),
    )
    check_forward(network, random_input(network))
    with pytest.raises(ModelError, match=r"relevance cannot pass through ArgMax; start below it, at layer='data'"):
        caffe2lrp.explain(network, random_input(network), 0)
    network = build(
        {"data": (3, 2)},
        ("weights", AbsVal(), ["data"], ["a"]),
        ("best", ArgMax(axis=0), ["a"], ["best"]),
        ("list", Reshape((2,)), ["best"], ["list"]),
        ("pick", BatchReindex(), ["a", "list"], ["y"]),
    )
    check(network, random_input(network))


def test_what_indices_choose_from_constants_does_not_depend_on_them() -> None:
    network = build(
        {"data": (4,)},
        ("table", Parameter((5, 3)), [], ["table"]),
        ("pick", BatchReindex(), ["table", "data"], ["y"]),
    )
    x = np.array([4.0, 0.0, 0.0, 2.0])
    check_forward(network, x)
    with pytest.raises(ModelError, match="blob 'y' does not depend on the input"):
        caffe2lrp.explain(network, x, [0] * 4, layer="y")


def filtering() -> Network:
    return build(
        {"data": (3, 4)},
        ("cut", Slice(3, 1, (1, 3)), ["data"], ["a", "b", "selector"]),
        ("filter", Filter(), ["a", "b", "selector"], ["x", "y"]),
        ("abs", AbsVal(), ["y"], ["z"]),
    )


def test_a_filter_that_leaves_nothing_out() -> None:
    network = filtering()
    x = np.arange(1.0, 13.0).reshape(3, 4)
    check_forward(network, x)
    check(network, x, blob="z")
    x[1, 3] = 0
    with pytest.raises(ModelError, match=r"layer 'filter' .*: image 1 of 3 is not chosen\. The size of"):
        network.forward(x)


def test_a_filter_in_onnx_may_leave_images_out(tmp_path: Path) -> None:
    export_onnx(filtering(), tmp_path / "m.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx", providers=["CPUExecutionProvider"])
    x = np.arange(1, 13, dtype=np.float32).reshape(3, 4)
    x[1, 3] = 0
    first, second = session.run(["x", "z"], {"data": x})
    np.testing.assert_array_equal(first, x[[0, 2], :1])
    np.testing.assert_array_equal(second, x[[0, 2], 1:3])


def test_no_index_has_a_gradient() -> None:
    with pytest.raises(ModelError, match=r"\(Embed, .*an index has no gradient; only relevance can pass"):
        caffe2lrp.explain(embedding(), np.zeros((2, 2)), [0, 0], composite="gradient")


@pytest.mark.parametrize("params", [ArgMax(out_max_val=True), Threshold()])
def test_relevance_starts_below_places_and_steps(params: Any) -> None:
    network = chain((2, 3), AbsVal(), params)
    for options in ({}, {"composite": "gradient"}):
        with pytest.raises(ModelError, match=rf"through {params.type}; start below it, at layer='y0'"):
            caffe2lrp.explain(network, np.ones((2, 3)), [0, 0], **options)
        caffe2lrp.explain(network, np.ones((2, 3)), [0, 0], layer="y0", **options)


def test_the_toolbox_stops_at_the_new_layers() -> None:
    network = chain((1, 2, 4, 4), Convolution(3, (2, 2)), MVN(), InnerProduct(2))
    with pytest.raises(ModelError, match="MVN"):
        caffe2lrp.toolbox.explain(network, np.ones((1, 2, 4, 4)), target=0)


# -- both precisions, every rule, whole nets ---------------------------------------------------------


def test_no_new_type_is_forgotten() -> None:
    assert set(NEW) < set(REGISTRY)
    assert all(name in CHOSEN or issubclass(REGISTRY[name], Activation) for name in NEW)


SINGLE = [(name, i) for name in NEW if name not in WITHOUT_RELEVANCE for i in range(len(CHOSEN.get(name, ())))]
SINGLE.remove(("MVN", 2))  # where every value is its own mean relevance is 0 / 0


@pytest.mark.parametrize(("name", "index"), SINGLE)
def test_relevance_in_single_precision(name: str, index: int) -> None:
    network = network_of(CHOSEN[name][index])
    check(network, random_input(network), dtypes=(np.float32,))


def whole_net() -> Network:
    """Most of the layers behind each other, as no real net has them."""
    return build(
        {"data": (3, 2, 7, 5)},
        ("conv", Convolution(4, (3, 2)), ["data"], ["c"]),
        ("norm", MVN(epsilon=0.1), ["c"], ["n"]),
        ("soft", BNLL(), ["n"], ["s"]),
        ("tile", Tile(2), ["s"], ["t"]),
        ("conv2", Convolution(3, (2, 2)), ["t"], ["c2"]),
        ("exp", Exp(2.0, 0.5, 0.25), ["c2"], ["e"]),
        ("log", Log(10.0, 1.0, 2.0), ["e"], ["g"]),
        ("sum", Reduction("SUMSQ", 3, 0.5), ["g"], ["r"]),
        ("best", ArgMax(axis=0), ["data"], ["m"]),
        ("some", Reshape((-1,)), ["m"], ["flat"]),
        ("four", Slice(2, 0, (4,)), ["flat"], ["four", "rest"]),
        ("pick", BatchReindex(), ["r", "four"], ["p"]),
        ("fc", InnerProduct(5), ["p"], ["y"]),
    )


SOME_RULES = [r for r in RULE_CASES if r[0] not in ("zbox", "wsquare")]


@pytest.mark.parametrize("rule", SOME_RULES, ids=lambda r: f"{r[0]} {r[2]}")
def test_a_whole_net(rule: Any) -> None:
    network = whole_net()
    x = random_input(network)
    check(network, x, rule=rule, blob="y")


def test_a_whole_net_forward_and_its_gradient(tmp_path: Path) -> None:
    network = whole_net()
    x = random_input(network)
    check_forward(network, x)
    targets, start = some_targets(network.shapes["y"], 1)
    expected = naive_gradient(network, x, "y", start, "gradient")
    for dtype, tolerance in ((np.float64, 1e-11), (np.float32, 2e-4)):
        e = caffe2lrp.explain(network, x.astype(dtype), targets, composite="gradient", layer="y", start="one")
        np.testing.assert_allclose(e.relevance, expected, atol=tolerance * np.abs(expected).max())
    export_onnx(network, tmp_path / "m.onnx")
    assert verify(network, tmp_path / "m.onnx").passed


def test_onnx_takes_the_last_of_equal_values(tmp_path: Path) -> None:
    x = np.random.default_rng(0).integers(0, 3, (2, 3, 4, 5)).astype(np.float32)
    for params in (ArgMax(True, 7), ArgMax(top_k=60), ArgMax(True, 2, 1), ArgMax(False, 4, 2), ArgMax(axis=0)):
        network = chain(x.shape, params)
        export_onnx(network, tmp_path / "m.onnx")
        session = onnxruntime.InferenceSession(tmp_path / "m.onnx", providers=["CPUExecutionProvider"])
        np.testing.assert_array_equal(session.run(None, {"data": x})[0], network.forward(x)["y0"])


def test_indices_are_verified_with_indices(tmp_path: Path) -> None:
    network = build({"data": (2, 3)}, ("embed", Embed(5, 7), ["data"], ["e"]), ("norm", MVN(), ["e"], ["y"]))
    export_onnx(network, tmp_path / "m.onnx")
    report = verify(network, tmp_path / "m.onnx")
    assert report.passed


def test_indices_are_exact_in_half_precision(tmp_path: Path) -> None:
    """float16 has no 4097."""
    network = build({"data": (1, 3)}, ("embed", Embed(2, 5000), ["data"], ["y"]))
    export_onnx(network, tmp_path / "m.onnx", fp16=True)
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx", providers=["CPUExecutionProvider"])
    x = np.array([[4097, 2049, 4999]], np.float32)
    np.testing.assert_allclose(session.run(None, {"data": x})[0], network.forward(x)["y"], atol=2e-3)


ELEMENTWISE = [BNLL(), Exp(2.0, 0.5, 1.0), Log(10.0, 0.25, 3.0), Threshold(0.1)]
HALF = [case for name in NEW if name != "Log" for case in CHOSEN.get(name, ())]
HALF += [(params, [(2, 3, 5, 7)]) for params in ELEMENTWISE]


@pytest.mark.parametrize(("params", "shapes"), HALF, ids=str)
def test_half_precision(params: Any, shapes: Any, tmp_path: Path) -> None:
    network = network_of((params, shapes))
    export_onnx(network, tmp_path / "m.onnx", fp16=True)
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx", providers=["CPUExecutionProvider"])
    x = random_input(network).astype(np.float16).astype(np.float32)
    expected = network.forward(x)
    for item, value in zip(session.get_outputs(), session.run(None, {"data": x}), strict=True):
        np.testing.assert_allclose(value, expected[item.name], rtol=5e-3, atol=5e-3)


# -- signs ------------------------------------------------------------------------------------------


def unsigned(*params: Any) -> set[str]:
    network = chain((2, 3, 4, 4), *params)
    return nonnegative_blobs(network)


@pytest.mark.parametrize(
    ("params", "alone", "behind_relu"),
    [
        (Exp(), True, True),
        (Log(), False, False),
        (BNLL(), True, True),
        (Threshold(), True, True),
        (MVN(), False, False),
        (ArgMax(), True, True),
        (ArgMax(out_max_val=True), False, True),
        (Tile(2), False, True),
        (Reduction("SUM", 2), False, True),
        (Reduction("MEAN", 2, -1.0), False, False),
        (Reduction("ASUM", 2), True, True),
        (Reduction("SUMSQ", 2, -1.0), False, False),
    ],
    ids=str,
)
def test_signs(params: Any, alone: bool, behind_relu: bool) -> None:
    assert ("y0" in unsigned(params)) is alone
    assert ("y1" in unsigned(ReLU(), params)) is behind_relu
    network = chain((2, 3, 4, 4), ReLU(), params)
    if behind_relu:
        assert (network.forward(random_input(network))["y1"] >= 0).all()


def test_selectors_have_no_say_in_signs() -> None:
    network = picking()
    layers = list(with_relu(network))
    assert "y" in nonnegative_blobs(network.with_layers(layers))
    assert "y" not in nonnegative_blobs(network)


def with_relu(network: Network) -> Iterator[Layer]:
    """`picking` with rectified images."""
    for layer in network.layers:
        if layer.name == "pick":
            yield Layer("relu", ReLU(), ("images",), ("rectified",))
            yield Layer("pick", layer.params, ("rectified", "list"), ("y",))
        else:
            yield layer
