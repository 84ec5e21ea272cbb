"""Networks with several inputs and several outputs: running, explaining, shapes, and what cannot be given."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import caffe2lrp
from caffe2lrp import Network
from caffe2lrp.errors import ModelError, OptionError
from caffe2lrp.layers import activation, dropout, eltwise, join, pooling
from caffe2lrp.layers.convolution import Convolution
from caffe2lrp.layers.inner_product import InnerProduct
from tests import naive
from tests.layer_cases import assert_close, build, check_forward

SHAPES = {"image": (2, 3, 7, 5), "facts": (2, 4), "unused by y": (2, 1)}


def two_branches(**options: Any) -> Network:
    """A picture and some facts about it, joined in ``y``; ``z`` sees the facts and a third input."""
    return build(
        SHAPES,
        ("conv", Convolution(4, (3, 2)), ["image"], ["c"]),
        ("relu", activation.ReLU(), ["c"], ["r"]),
        ("pool", pooling.Pooling("MAX", (2, 2), (2, 2)), ["r"], ["p"]),
        ("fc", InnerProduct(6), ["p"], ["f"]),
        ("embed", InnerProduct(6), ["facts"], ["e"]),
        ("sum", eltwise.Eltwise(), ["f", "e"], ["s"]),
        ("score", InnerProduct(5), ["s"], ["y"]),
        ("both", join.Concat(), ["facts", "unused by y"], ["z"]),
        **options,
    )


def some_inputs(seed: int = 0, **shapes: tuple[int, ...]) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        blob: rng.normal(0, 1, shape).astype(np.float32).astype(np.float64)
        for blob, shape in {**SHAPES, **shapes}.items()
    }


@pytest.fixture(scope="module")
def network() -> Network:
    return two_branches()


# -- running ----------------------------------------------------------------------------------------------------


def test_all_outputs_are_those_of_the_naive_twin(network: Network) -> None:
    assert network.outputs == ("y", "z")
    check_forward(network, some_inputs())


def test_the_order_of_the_inputs_does_not_matter(network: Network) -> None:
    x = some_inputs()
    turned = dict(reversed(x.items()))
    for name, value in network.forward(x).items():
        np.testing.assert_array_equal(network.forward(turned)[name], value)


def test_sizes_may_differ_from_the_file(network: Network) -> None:
    x = some_inputs(image=(3, 3, 7, 5), facts=(3, 4), **{"unused by y": (3, 1)})
    expected = naive.forward(network, x)
    for name, value in network.forward(x).items():
        assert_close(value, expected[name], 1e-12)


def test_the_first_input_decides_the_precision(network: Network) -> None:
    x = some_inputs()
    single = {**x, "image": x["image"].astype(np.float32)}
    assert {y.dtype for y in network.forward(single).values()} == {np.dtype(np.float32)}
    double = {**x, "facts": x["facts"].astype(np.float32)}
    assert {y.dtype for y in network.forward(double).values()} == {np.dtype(np.float64)}


def test_inputs_go_by_caffe_names_too() -> None:
    relu = activation.ReLU()
    network = build(
        {"a@input": (1, 3), "b": (1, 3)},
        ("relu", relu, ["a@input"], ["a"]),
        ("sum", eltwise.Eltwise(), ["a", "b"], ["y"]),
        blob_names={"a@input": "a"},
    )
    x = {"a": np.array([[-1.0, 2.0, 3.0]]), "b": np.ones((1, 3))}
    np.testing.assert_array_equal(network.forward(x)["y"], [[1, 3, 4]])
    np.testing.assert_array_equal(network.forward({"a@input": x["a"], "b": x["b"]})["y"], [[1, 3, 4]])
    with pytest.raises(OptionError, match=r"'a@input' is given twice, once as 'a@input'"):
        network.forward({**x, "a@input": x["a"]})


def test_one_input_may_be_given_by_name() -> None:
    network = build({"data": (2, 3)}, ("relu", activation.ReLU(), ["data"], ["y"]))
    x = np.array([[-1.0, 2.0, 3.0]])
    np.testing.assert_array_equal(network.forward({"data": x})["y"], network.forward(x)["y"])


# -- explaining -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("rule", ["epsilon", "alphabeta", "gradient"])
def test_relevance_of_every_input(network: Network, rule: str) -> None:
    x = some_inputs()
    targets, start = [[1], [4, 0]], np.zeros((2, 5))
    start[0, 1] = start[1, [4, 0]] = 1
    blobs = naive.forward(network, x)
    if rule == "gradient":
        expected = naive.gradient(network, blobs, {"y": start})
        options: dict[str, Any] = {"composite": "gradient"}
    else:
        parameters = {"epsilon": 0.0} if rule == "epsilon" else {"beta": 1.0}
        of_type = {"Convolution": {"rule": rule, **parameters}, "InnerProduct": {"rule": rule, **parameters}}
        expected = naive.relevance(network, blobs, {"y": start}, lambda layer: of_type.get(layer.type, {}))
        options = {"rule": rule, **parameters}
    e = caffe2lrp.explain(network, x, targets, layer="y", start="one", **options)
    assert list(e.relevances) == list(SHAPES)
    assert e.relevance is e.relevances["image"]
    for blob in ("image", "facts"):
        assert (e.relevances[blob] != 0).any()
        assert_close(e.relevances[blob], expected[blob], 1e-9, blob)
    np.testing.assert_array_equal(e.relevances["unused by y"], np.zeros((2, 1)))


def test_relevance_of_all_inputs_together_is_the_score() -> None:
    network = two_branches(bias=0.0)
    e = caffe2lrp.explain(network, some_inputs(), [2, 3], layer="y", rule="epsilon", epsilon=0.0, account=True)
    arrived = sum(r.reshape(2, -1).sum(axis=1) for r in e.relevances.values())
    np.testing.assert_allclose(arrived, e.score, rtol=1e-9)
    assert e.account is not None
    assert e.account.start == pytest.approx(float(e.score.sum()), rel=1e-12)
    assert e.account.arrived == pytest.approx(float(e.score.sum()), rel=1e-9)
    assert min(abs(r.sum()) for r in (e.relevances["image"], e.relevances["facts"])) > 0


def test_a_blob_that_the_first_input_does_not_reach(network: Network) -> None:
    e = caffe2lrp.explain(network, some_inputs(), 4, layer="z")
    np.testing.assert_array_equal(e.relevance, np.zeros(SHAPES["image"]))
    np.testing.assert_array_equal(e.relevances["unused by y"], some_inputs()["unused by y"])


def test_baselines_of_every_input(network: Network) -> None:
    x = some_inputs()
    options: dict[str, Any] = {"layer": "y", "target": [1, 2]}
    gradient = caffe2lrp.explain(network, x, composite="gradient", **options).relevances
    times = caffe2lrp.explain(network, x, composite="gradient_x_input", **options)
    for blob, value in x.items():
        assert_close(times.relevances[blob], gradient[blob] * value, 1e-12)
    assert times.relevance is times.relevances["image"]
    norms = caffe2lrp.explain(network, x, composite="sensitivity", **options).relevances
    for blob, value in gradient.items():
        assert_close(norms[blob].sum(axis=1), np.sqrt((value**2).sum(axis=1)), 1e-12)
    with pytest.raises(
        ModelError, match=r"smoothgrad.* is an average over variations of an input, but small has several"
    ):
        caffe2lrp.explain(network, x, composite="smoothgrad", **options)


def test_several_outputs_need_a_layer(network: Network) -> None:
    with pytest.raises(ModelError, match=r"2 outputs; choose one with layer=\.\.\.: y, z"):
        caffe2lrp.explain(network, some_inputs())


def test_explanations_of_other_sizes(network: Network) -> None:
    shapes = {"image": (1, 3, 7, 5), "facts": (1, 4), "unused by y": (1, 1)}
    x = some_inputs()
    whole = caffe2lrp.explain(network, x, [1, 2], layer="y")
    for n, target in enumerate((1, 2)):
        alone = caffe2lrp.explain(network, {k: v[n : n + 1] for k, v in x.items()}, target, layer="y")
        for blob, shape in shapes.items():
            assert alone.relevances[blob].shape == shape
            assert_close(alone.relevances[blob][0], whole.relevances[blob][n], 1e-10)


def test_one_input_has_one_relevance() -> None:
    network = build({"data": (2, 3)}, ("fc", InnerProduct(4), ["data"], ["y"]))
    e = caffe2lrp.explain(network, np.ones((2, 3)), [0, 1])
    assert list(e.relevances) == ["data"]
    assert e.relevances["data"] is e.relevance


def test_the_toolbox_explains_every_input() -> None:
    network = build(
        {"a": (1, 3, 4, 4), "b": (1, 2, 4, 4)},
        ("join", join.Concat(), ["a", "b"], ["c"]),
        ("fc", InnerProduct(5), ["c"], ["y"]),
    )
    rng = np.random.default_rng(4)
    x = {blob: rng.normal(0, 1, shape) for blob, shape in network.inputs.items()}
    whole = build(
        {"c": (1, 5, 4, 4)}, ("as it is", dropout.Dropout(), ["c"], ["d"]), ("fc", InnerProduct(5), ["d"], ["y"])
    )
    for formula in (0, 99):
        e = caffe2lrp.toolbox.explain(network, x, 1, formula=formula)
        joined = caffe2lrp.toolbox.explain(whole, np.concatenate(list(x.values()), axis=1), 1, formula=formula)
        if formula == 0:
            assert_close(np.concatenate(list(e.relevances.values()), axis=1), joined.relevance, 1e-12)
        else:  # a norm over the channels of each input
            squares = sum(r[:, 0] ** 2 for r in e.relevances.values())
            assert_close(np.sqrt(squares), joined.relevance[:, 0], 1e-12)


# -- shapes -----------------------------------------------------------------------------------------------------


def test_with_input_shapes_changes_what_is_named(network: Network) -> None:
    shapes = {"image": (4, 3, 7, 5), "facts": (4, 4)}
    changed = network.with_input_shapes({**shapes, "unused by y": (4, 1)})
    assert changed.inputs == {**shapes, "unused by y": (4, 1)}
    assert changed.shapes["y"] == (4, 5)
    assert network.with_input_shapes({}) is network
    assert network.with_input_shapes({"facts": [2, 4]}) is network
    with pytest.raises(ModelError, match=r"no input 'label'; its inputs are image, facts, unused by y"):
        network.with_input_shapes({"label": (1,)})
    with pytest.raises(ModelError, match=r"layer 'sum' .* differ in shape"):
        network.with_input_shapes({"facts": (3, 4)})


def test_with_input_shape_takes_the_batch_along() -> None:
    network = build(
        {"a": (2, 3), "b": (2, 5), "c": (1, 7)},
        ("join", join.Concat(), ["a", "b"], ["y"]),
        ("relu", activation.ReLU(), ["c"], ["z"]),
    )
    assert network.with_batch(6).inputs == {"a": (6, 3), "b": (6, 5), "c": (1, 7)}
    assert network.with_input_shape((4, 9)).inputs == {"a": (4, 9), "b": (4, 5), "c": (1, 7)}


# -- what cannot be given ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"facts": None}, r"the input 'facts' must be an array of numbers"),
        ({"facts": [[1.0, 2.0], [3.0]]}, r"the input 'facts' must be an array of numbers of shape \(2, 4\)"),
        ({"facts": np.zeros((2, 5))}, r"the input 'facts' takes 4 channels like facts \(2, 4\), but .* \(2, 5\)"),
        ({"facts": np.zeros(4)}, r"the input 'facts' must have 2 axes"),
        ({"facts": np.zeros((0, 4))}, r"the input 'facts' is an empty batch"),
        ({"label": np.zeros(2)}, r"no input 'label'; its inputs are image \(2, 3, 7, 5\), facts"),
        ({"facts": ...}, r"but facts is not given"),
    ],
)
@pytest.mark.parametrize("run", [caffe2lrp.explain, Network.forward])
def test_inputs_that_do_not_fit(
    network: Network, run: Callable[..., Any], change: dict[str, Any], message: str
) -> None:
    x = {blob: value for blob, value in {**some_inputs(), **change}.items() if value is not ...}
    with pytest.raises(OptionError, match=message):
        run(network, x)


def test_batches_that_do_not_fit(network: Network) -> None:
    with pytest.raises(ModelError, match=r"layer 'sum' .* differ in shape"):
        network.forward(some_inputs(facts=(3, 4)))


@pytest.mark.parametrize("run", [caffe2lrp.explain, Network.forward])
def test_several_inputs_cannot_be_one_array(network: Network, run: Callable[..., Any]) -> None:
    with pytest.raises(
        OptionError, match=r"several inputs, image .*: give a dict of arrays, \{'image': \.\.\., 'facts'"
    ):
        run(network, np.zeros((1, 3)))
