"""Options of the LRP Toolbox: names, kinds of numbers, and what stops a pass or does not."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from caffe2lrp import toolbox
from caffe2lrp.errors import ModelError, OptionError
from caffe2lrp.ir import Network
from caffe2lrp.layers.activation import ReLU
from caffe2lrp.layers.convolution import Convolution
from caffe2lrp.layers.eltwise import Eltwise
from caffe2lrp.layers.inner_product import InnerProduct
from caffe2lrp.layers.join import Concat
from caffe2lrp.layers.pooling import Pooling
from caffe2lrp.layers.softmax import Softmax
from tests.layer_cases import Spec, build

AUX = "auxiliaryvariable_maxlayerindexforflatdistinconv"
BODY: list[Spec] = [
    ("conv", Convolution(2, (2, 3)), ["data"], ["conv"]),
    ("relu", ReLU(), ["conv"], ["relu"]),
    ("fc", InnerProduct(5), ["relu"], ["fc"]),
]
PROB: Spec = ("prob", Softmax(), ["fc"], ["prob"])


def net(*more: Spec) -> Network:
    return build({"data": (1, 3, 5, 7)}, *BODY, *more, PROB)


def x(network: Network) -> np.ndarray:
    return np.random.default_rng(1).normal(size=network.input_shape)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"formula": 2.5}, "whole number"),
        ({"formula": "layers"}, "must be a number, not 'layers'"),
        ({"formula": 31}, "relpropformulatype 31 does not exist; known are 0, 2, "),
        ({"epsilon": float("nan")}, "finite number"),
        ({"epsstab": 1e39}, "finite number"),
        ({"beta": None}, "must be a number"),
        ({"beta": 1.0, "alphabeta_beta": 1.0}, "given twice"),
        ({"gamma": 1.0}, "no option 'gamma'"),
        ({"formula": 54, "aux": -1}, f"formula 54 needs {AUX} >= 0"),
        ({"lrn_backward_type": 2}, "lrn_backward_type must be"),
        ({"codeexectype": 2}, "codeexectype must be 0 or 1"),
        ({"biastreatmenttype": -1}, "biastreatmenttype must be 0 or 1"),
        ({"lastlayerindex": 4}, "lastlayerindex 4 gives no pass"),
        ({"firstlayerindex": 1}, "firstlayerindex must be 0"),
        ({"formula": 2, "beta": -1}, "alphabeta_beta must be at least 0"),
    ],
)
def test_options_that_cannot_be_used(options: dict[str, Any], message: str) -> None:
    network = net()
    with pytest.raises(OptionError, match=message):
        toolbox.explain(network, x(network), 0, **options)


def test_names_of_the_python_demonstrator() -> None:
    network = net()
    assert set(toolbox.METHODS.values()) <= set(toolbox.FORMULAS)
    named = toolbox.explain(network, x(network), 1, formula="layer_dep_n_flat", aux=0)
    numbered = toolbox.explain(network, x(network), 1, relpropformulatype=102, **{AUX: 0})
    np.testing.assert_array_equal(named.relevance, numbered.relevance)
    assert named.rule == "toolbox formula 102"


def test_what_lies_above_the_pass_does_not_matter() -> None:
    network = net()
    with pytest.raises(OptionError, match="alphabeta_beta"):
        toolbox.explain(network, x(network), 0, formula=58, beta=-1, aux=0, lastlayerindex=2)
    toolbox.explain(network, x(network), 0, formula=58, beta=-1, aux=0, lastlayerindex=1)  # flat convolution alone


def test_what_the_toolbox_does_not_know_is_named() -> None:
    summed = ("sum", Eltwise(), ["relu", "relu"], ["sum"])
    network = build({"data": (1, 3, 5, 7)}, *BODY[:2], summed, ("fc", InnerProduct(5), ["sum"], ["fc"]), PROB)
    with pytest.raises(ModelError, match="layer 'sum'"):
        toolbox.explain(network, x(network), 0)
    assert toolbox.explain(network, x(network), 0, formula=11).relevance.any()  # its gradient is known


def test_averages_of_side_heads_add_the_activations_of_empty_windows() -> None:
    """A pass goes through all layers below the last one; this rule alone sends something without receiving it."""
    data = np.zeros((1, 1, 2, 4))
    data[0, 0] = [[1, -1, 2, 3], [2, -2, 0, 1]]
    head = ("side", Pooling("AVE", (2, 2), (2, 2)), ["data"], ["side"])
    fc = ("fc", InnerProduct(3, bias=False), ["data"], ["fc"])
    with_head = build({"data": (1, 1, 2, 4)}, head, fc, PROB)
    fc_alone = with_head.with_layers(with_head.layers[1:])
    without = toolbox.explain(fc_alone, data, 1, formula=0, lastlayerindex=1).relevance  # the Softmax
    added = toolbox.explain(with_head, data, 1, formula=0, lastlayerindex=3).relevance - without
    np.testing.assert_allclose(added[0, 0], [[1, -1, 0, 0], [2, -2, 0, 0]], atol=1e-12)
    assert [step.type for step in toolbox.steps(with_head)] == ["Split", "Pooling", "InnerProduct", "Softmax"]


def test_splits_are_counted() -> None:
    branches: list[Spec] = [
        ("a", Convolution(2, (1, 1)), ["data"], ["a"]),
        ("b", Convolution(1, (1, 1)), ["data"], ["b"]),
        ("both", Concat(), ["a", "b"], ["both"]),
        ("fc", InnerProduct(4), ["both"], ["fc"]),
    ]
    network = build({"data": (1, 3, 5, 7)}, *branches, PROB)
    names = [step.name for step in toolbox.steps(network)]
    assert names == ["data_input_0_split", "a", "b", "both", "fc", "prob"]
    # Layers up to index 1 are the Split and one of the convolutions: the flat rule gives all channels the same.
    r = toolbox.explain(network, x(network), 2, formula=54, aux=1).relevance
    others = toolbox.explain(network, x(network), 2, formula=54, aux=2).relevance
    assert np.ptp(others, axis=1).max() < 1e-12
    assert np.ptp(r, axis=1).max() > 1e-3
