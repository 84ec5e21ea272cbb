"""Composites: which layer gets which rule, by name, by hand and from files; and baselines that average over inputs."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import caffe2lrp
from caffe2lrp import Network, Preprocessing, composites, rules
from caffe2lrp.composites import COMPOSITES, Composite, Where
from caffe2lrp.errors import FileFormatError, ModelError, OptionError
from caffe2lrp.ir import Layer
from caffe2lrp.layers import activation, pooling
from caffe2lrp.layers.convolution import Convolution
from caffe2lrp.layers.inner_product import InnerProduct
from tests import naive
from tests.layer_cases import assert_close, build, chain, random_input
from tests.test_relevance import inception, naive_gradient, naive_relevance, residual, some_targets

BASELINES = {name for name in COMPOSITES if composites.find(name).derivative}

# The rules of the naive twin: first layer, other convolutions, fully connected; None is the convolutions' rule.
Twin = tuple[str, dict[str, float]] | None
EPSILON, ZPLUS, ALPHA2 = ("epsilon", {"epsilon": 1e-6}), ("zplus", {}), ("alphabeta", {"beta": 1.0})
ONE = ("epsilon", {"epsilon": 1.0})
TWINS: dict[str, tuple[Twin, Twin, Twin]] = {
    "epsilon": (None, EPSILON, EPSILON),
    "alphabeta": (None, ALPHA2, ALPHA2),
    "epsilon_plus": (None, ZPLUS, EPSILON),
    "epsilon_plus_flat": (("flat", {}), ZPLUS, EPSILON),
    "epsilon_alpha2_beta1": (None, ALPHA2, EPSILON),
    "epsilon_alpha2_beta1_flat": (("flat", {}), ALPHA2, EPSILON),
    "epsilon_gamma_box": (("zbox", {}), ("gamma", {"gamma": 0.25}), EPSILON),
    "excitation_backprop": (None, ("excitation", {}), ("excitation", {})),
    "deep_taylor": (("zbox", {}), ZPLUS, ZPLUS),
    "toolbox_100": (None, ALPHA2, ONE),
    "toolbox_102": (("flat", {}), ALPHA2, ONE),
    "toolbox_104": (("wsquare", {}), ALPHA2, ONE),
}


def test_every_composite_has_a_twin() -> None:
    assert set(TWINS) == set(COMPOSITES) - BASELINES


@pytest.mark.parametrize("name", TWINS)
def test_named_composites(name: str) -> None:
    network = inception().describe(preprocessing=Preprocessing(mean=(100, 110, 120), scale=0.01))
    x = random_input(network)
    first, convolution, dense = TWINS[name]

    def rule(layer: Layer) -> Any:
        if layer.name == "conv" and first is not None:
            return first
        return dense if layer.type == "InnerProduct" else convolution

    start = np.zeros((2, 7))
    start[[0, 1], [2, 5]] = 1
    expected = naive_relevance(network, x, "f", start, rule=rule)["data"]
    e = caffe2lrp.explain(network, x, [2, 5], composite=name, start="one")
    assert e.rule == name
    # the naive gamma and z^B rules have no epsilon, the composites' is 1e-6
    assert_close(e.relevance, expected, 1e-4 if first == ("zbox", {}) else 1e-9)


def test_parameters_of_composites() -> None:
    network = inception()
    x = random_input(network)
    by_name = caffe2lrp.explain(network, x, composite="toolbox_102", epsilon=0.5, beta=2, depth=1)
    table = (
        (Where(depth=(0, 1)), rules.flat()),
        ("convolution", rules.alphabeta(2.0)),
        ("dense", rules.epsilon(0.5)),
    )
    by_hand = caffe2lrp.explain(network, x, composite=Composite("mine", table))
    np.testing.assert_array_equal(by_name.relevance, by_hand.relevance)
    assert by_name.rule == "toolbox_102 epsilon 0.5 beta 2 depth 1"
    with pytest.raises(OptionError, match=r"composite 'epsilon_plus' does not take beta; it takes epsilon"):
        composites.find("epsilon_plus", beta=1.0)
    with pytest.raises(OptionError, match="it takes none"):
        composites.find("gradient", beta=1.0)
    with pytest.raises(OptionError, match="must be a number"):
        composites.find("epsilon_plus", epsilon="much")  # type: ignore[arg-type]


# -- which layer gets which rule --------------------------------------------------------------------------


def letters(network: Network, *rows: tuple[str | Where, str]) -> dict[str, str]:
    """Assignments of a table whose rules are called by one letter."""
    table = tuple((where, rules.Rule(name, ("x",), rules.epsilon().denominators)) for where, name in rows)
    return {layer: rule.name for layer, rule in Composite("letters", table).assign(network).items()}


def test_roles_positions_and_depths() -> None:
    network = inception()  # conv -> a, b, pooling -> joined -> fc
    assert letters(network, ("first", "F"), ("last", "L"), ("linear", "x")) == {
        "conv": "F", "a": "x", "b": "x", "fc": "L"
    }  # fmt: skip
    assert letters(network, ("convolution", "c"), ("dense", "d")) == {"conv": "c", "a": "c", "b": "c", "fc": "d"}
    assert letters(network, ("Convolution", "c"), ("InnerProduct", "d"))["fc"] == "d"
    assert letters(network, (Where(position=0), "0"), (Where(position=(2, -1)), "e"), ("linear", "x")) == {
        "conv": "0", "a": "x", "b": "e", "fc": "e"
    }  # fmt: skip
    # the branches a and b have the same depth, and the way through the pooling is shorter
    assert letters(network, (Where(depth=1), "1"), (Where(depth=-1), "2"), ("linear", "x")) == {
        "conv": "x", "a": "1", "b": "1", "fc": "2"
    }  # fmt: skip
    assert letters(network, (Where("convolution", name="[ab]"), "n"), (Where(name="*"), "x")) == {
        "conv": "x", "a": "n", "b": "n", "fc": "x"
    }  # fmt: skip


def test_several_layers_can_be_first_and_last() -> None:
    network = build(
        {"data": (1, 2, 5, 4)},
        ("one", Convolution(2, (1, 1)), ["data"], ["o"]),
        ("two", Convolution(2, (3, 3)), ["data"], ["t"]),
        ("three", InnerProduct(3), ["o"], ["x"]),
        ("four", InnerProduct(3), ["t"], ["y"]),
    )
    found = letters(network, ("first", "F"), ("last", "L"))
    assert found == {"one": "F", "two": "F", "three": "L", "four": "L"}


def test_a_linear_layer_needs_a_rule() -> None:
    with pytest.raises(OptionError, match=r"composite 'letters' has no rule for layer 'fc' \(InnerProduct"):
        letters(inception(), ("convolution", "c"))


@pytest.mark.parametrize(
    ("where", "message"),
    [
        ({"role": "convolutions"}, "did you mean 'convolution'.*layer types of Caffe"),
        ({"position": (3, 1)}, "the range 3 to 1 is empty"),
        ({"depth": (-1, -2)}, "the range -1 to -2 is empty"),
    ],
)
def test_conditions_that_cannot_hold(where: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        Where(**where)


def test_relevance_passes_layers_of_the_same_size() -> None:
    network = chain((2, 3, 5, 4), Convolution(3, (3, 3), pad=(1, 1)), activation.ReLU(), Convolution(2, (2, 3)))
    x = random_input(network)
    table = ((Where(position=0), rules.pass_through()), ("linear", rules.epsilon()))
    e = caffe2lrp.explain(network, x, [3, 4], composite=Composite("skip", table), start="one")
    start = np.zeros((2, 2 * 4 * 2))
    start[[0, 1], [3, 4]] = 1

    def rule(layer: Layer) -> Any:
        return ("pass", {}) if layer.name == "layer0" else EPSILON

    assert_close(e.relevance, naive_relevance(network, x, "y2", start.reshape(2, 2, 4, 2), rule=rule)["data"], 1e-9)
    with pytest.raises(ModelError, match=r"layer 'layer2' .*same size; give it another rule"):
        caffe2lrp.explain(network, x, [3, 4], rule="pass")


def test_layers_without_weights_can_pass_relevance() -> None:
    network = chain((1, 2, 6, 5), pooling.Pooling("MAX", (3, 3), (1, 1), (1, 1)), InnerProduct(3))
    x = random_input(network)
    plain = Composite("plain", (("linear", rules.epsilon()),))
    passing = Composite("passing", (("Pooling", rules.pass_through()), *plain.table))
    above = caffe2lrp.explain(network, x, 1, composite=passing)
    assert (above.relevance != caffe2lrp.explain(network, x, 1, composite=plain).relevance).any()
    values = network.forward(x, keep="y0")["y0"]
    dense = chain((1, 2, 6, 5), InnerProduct(3))
    dense = dense.with_layers([replace(network.layers[1], inputs=("data",))])
    assert_close(above.relevance, caffe2lrp.explain(dense, values, 1, composite=plain).relevance, 1e-12)


# -- files ------------------------------------------------------------------------------------------------

TEXT = """
name = "mine"

[[layer]]
role = "first"
rule = "zbox"
low = -1
high = 2.5

[[layer]]
name = "[ab]"
rule = "gamma"
gamma = 0.5

[[layer]]
rule = "epsilon"
epsilon = 0.01
"""


def test_composites_from_files(tmp_path: Path) -> None:
    file = tmp_path / "rules.toml"
    file.write_text(TEXT)
    network = inception()
    x = random_input(network)
    table = (
        ("first", rules.zbox(-1, 2.5)),
        (Where(name="[ab]"), rules.gamma(0.5)),
        (Where(), rules.epsilon(0.01)),
    )
    assert caffe2lrp.read_composite(file) == Composite(
        "mine", tuple((w if isinstance(w, Where) else Where(w), r) for w, r in table)
    )
    e = caffe2lrp.explain(network, x, composite=str(file))
    assert e.rule == "mine"
    by_hand = caffe2lrp.explain(network, x, composite=Composite("by hand", table))
    np.testing.assert_array_equal(e.relevance, by_hand.relevance)
    file.write_text('[[layer]]\nposition = [0, -2]\nrule = "zplus"\n[[layer]]\ndepth = -1\nrule = "z"\n')
    read = caffe2lrp.read_composite(file)
    assert read.name == "rules"
    assert [where for where, _ in read.table] == [Where(position=(0, -2)), Where(depth=-1)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name = ", "not a TOML file"),
        ("name = 3\n[[layer]]\nrule = 'z'", "name must be text"),
        ("", r"at least one table \[\[layer\]\]"),
        ("layer = 3", r"at least one table \[\[layer\]\]"),
        ("[[layers]]\nrule = 'z'", "unknown key 'layers'"),
        ("[[layer]]\nrole = 'first'", r"\[\[layer\]\] number 1 has no rule; known are epsilon"),
        ("[[layer]]\nrule = 'z'\n[[layer]]\nrule = 'zz'", "number 2: there is no rule 'zz'; did you mean 'z'"),
        ("[[layer]]\nrule = 'epsilon'\nbeta = 1", "rule 'epsilon' does not take beta; it takes epsilon"),
        ("[[layer]]\nrule = 'epsilon'\nepsilon = 'big'", "epsilon must be a number, not 'big'"),
        ("[[layer]]\nrule = 'epsilon'\nepsilon = true", "epsilon must be a number"),
        ("[[layer]]\nrule = 'z'\nposition = 1.5", "position must be a whole number"),
        ("[[layer]]\nrule = 'z'\ndepth = [1, 2, 3]", "depth must be a whole number"),
        ("[[layer]]\nrule = 'z'\nrole = 1", "role must be text"),
        ("[[layer]]\nrule = 'z'\nrole = 'frist'", "did you mean 'first'"),
    ],
)
def test_files_that_do_not_fit(tmp_path: Path, text: str, message: str) -> None:
    file = tmp_path / "rules.toml"
    file.write_text(text)
    with pytest.raises(FileFormatError, match=message) as caught:
        caffe2lrp.read_composite(file)
    assert "rules.toml" in str(caught.value)


def test_files_that_are_none(tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match=r"cannot read the composite '.*none\.toml'"):
        caffe2lrp.read_composite(tmp_path / "none.toml")
    (tmp_path / "bytes.toml").write_bytes(b"\xff\xfe\0")
    with pytest.raises(FileFormatError, match="not a TOML file"):
        caffe2lrp.read_composite(tmp_path / "bytes.toml")
    with pytest.raises(OptionError, match="parameters go with the name"):
        caffe2lrp.explain(inception(), random_input(inception()), composite="none.toml", epsilon=1.0)


# -- baselines --------------------------------------------------------------------------------------------

BLOBS = {inception: "f", residual: "y"}


def gradients(network: Network, x: np.ndarray, blob: str, start: np.ndarray) -> np.ndarray:
    return naive_gradient(network, x, blob, start, "gradient")


@pytest.mark.parametrize("make", [inception, residual])
def test_sensitivity_and_gradient_times_input(make: Any) -> None:
    network, blob = make(), BLOBS[make]
    x = random_input(network)
    targets, start = some_targets(network.shapes[blob], 1)
    g = gradients(network, x, blob, start)
    e = caffe2lrp.explain(network, x, targets, composite="gradient_x_input", layer=blob)
    assert_close(e.relevance, g * x, 1e-11)
    e = caffe2lrp.explain(network, x, targets, composite="sensitivity", layer=blob)
    assert_close(e.relevance.sum(axis=1), np.sqrt((g**2).sum(axis=1)), 1e-11)
    np.testing.assert_array_equal(e.relevance[:, 0], e.relevance[:, 1])


@pytest.mark.parametrize("make", [inception, residual])
@pytest.mark.parametrize("samples", [3, 11])
def test_smoothgrad(make: Any, samples: int) -> None:
    """Other noise for each copy, of a deviation in proportion to the image's range; targets of the input itself."""
    network, blob = make(), BLOBS[make]
    x = random_input(network)
    x[1] *= 3
    targets = [int(t) for t in naive.forward(network, x)[blob].argmax(axis=1)]
    expected = np.zeros(x.shape)
    for n, image in enumerate(x):
        noise = np.random.default_rng(7).standard_normal((samples, *image.shape))
        for sample in image + 0.2 * (image.max() - image.min()) * noise:
            single = network.with_batch(1)
            start = np.zeros((1, network.shapes[blob][1]))
            start[0, targets[n]] = 1
            expected[n] += (
                gradients(single, sample[None], blob, start.reshape(1, *network.shapes[blob][1:]))[0] / samples
            )
    e = caffe2lrp.explain(network, x, layer=blob, composite="smoothgrad", samples=samples, noise=0.2, seed=7)
    assert e.target == [[t] for t in targets]
    assert_close(e.relevance, expected, 1e-10)
    np.testing.assert_array_equal(e.score, [1, 1])
    assert_close(e.outputs, naive.forward(network, x)[blob].reshape(2, -1), 1e-10)


@pytest.mark.parametrize("make", [inception, residual])
def test_integrated_gradients(make: Any) -> None:
    network, blob = make(), BLOBS[make]
    x = random_input(network)
    targets, start = some_targets(network.shapes[blob], 2)
    expected = sum(gradients(network, x * (k + 0.5) / 9, blob, start) for k in range(9)) * x / 9
    e = caffe2lrp.explain(network, x, targets, layer=blob, composite="integrated_gradients", steps=9)
    assert_close(e.relevance, expected, 1e-10)


def test_integrated_gradients_are_complete() -> None:
    """They add up to the difference of the scores (Sundararajan et al. 2017, proposition 1)."""
    network = inception()
    x = random_input(network)
    e = caffe2lrp.explain(network, x, [1, 4], composite="integrated_gradients", steps=400)
    difference = network.forward(x, keep="f")["f"] - network.forward(np.zeros_like(x), keep="f")["f"]
    np.testing.assert_allclose(e.relevance.sum(axis=(1, 2, 3)), difference[[0, 1], [1, 4]], rtol=0, atol=0.03)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"composite": "smoothgrad", "samples": 0}, "samples >= 1"),
        ({"composite": "smoothgrad", "noise": -1.0}, "noise >= 0"),
        ({"composite": "smoothgrad", "noise": float("nan")}, "noise >= 0"),
        ({"composite": "smoothgrad", "seed": -1}, "seed >= 0"),
        ({"composite": "smoothgrad", "samples": float("nan")}, "samples must be a whole number"),
        ({"composite": "smoothgrad", "samples": 2.5}, "samples must be a whole number"),
        ({"composite": "toolbox_102", "depth": float("inf")}, "depth must be a whole number"),
        ({"composite": "integrated_gradients", "steps": 0}, "steps >= 1"),
    ],
)
def test_baselines_with_parameters_that_do_not_fit(options: dict[str, Any], message: str) -> None:
    network = inception()
    with pytest.raises(OptionError, match=message):
        caffe2lrp.explain(network, random_input(network), **options)
