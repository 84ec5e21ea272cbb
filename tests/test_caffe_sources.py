"""Where data come from in Caffe's files: Input layers, constants, learned blobs; and recurrent layers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import caffe2lrp
from caffe2lrp.errors import ModelError
from caffe2lrp.layers.recurrent import LSTM, RNN
from caffe2lrp.layers.source import DummyData, Parameter
from tests import naive
from tests.layer_cases import assert_close
from tests.test_caffe_load import Folder, random

INPUTS = 'layer { name: "in" type: "Input" top: "x" top: "cont" input_param { shape { dim: [4, 2, 3] } %s } }\n'
DUMMY = 'layer { name: "dummy" type: "DummyData" %s dummy_data_param { %s } }\n'
RECURRENT = 'layer { name: "rec" type: "%s" %s recurrent_param { num_output: 5 %s } }\n'
ADD = 'layer { name: "add" type: "Eltwise" bottom: "%s" bottom: "%s" top: "sum" }\n'


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    return Folder(tmp_path)


# -- inputs -----------------------------------------------------------------------------------------------------


def test_an_input_layer_with_several_tops(folder: Folder) -> None:
    lstm = RECURRENT % ("LSTM", 'bottom: "x" bottom: "cont" top: "h"', "")
    network = folder.define(INPUTS % "shape { dim: [4, 2] }" + lstm)
    assert network.inputs == {"x": (4, 2, 3), "cont": (4, 2)}
    assert network.shapes["h"] == (4, 2, 5)
    assert any("layer 'rec' (LSTM): begins every run with states of 0" in note for note in network.notes)
    assert folder.define(INPUTS % "" + ADD % ("x", "cont")).inputs == {"x": (4, 2, 3), "cont": (4, 2, 3)}
    three = 'layer { name: "in" type: "Input" top: "x" top: "y" top: "z" input_param { shape {} shape {} } }\n'
    with pytest.raises(ModelError, match=r"layer 'in' \(Input\): has 3 tops but 2 shapes; give one for each"):
        folder.define(three + ADD % ("x", "y"))


# -- constants --------------------------------------------------------------------------------------------------


def test_constants_beside_an_input(folder: Folder) -> None:
    dummy = DUMMY % ('top: "a"', "shape { dim: [1, 3, 8, 8] } data_filler { value: 0.1 }")
    data = 'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: [1, 3, 8, 8] } } }\n'
    network = folder.load(data + dummy + ADD % ("data", "a"))
    assert list(network.inputs) == ["data"]
    assert network.layers[0].params == DummyData((1, 3, 8, 8), float(np.float32(0.1)))
    assert str(network.layers[0]).startswith("layer 'dummy' (DummyData, ")
    assert not network.notes
    x = np.ones((1, 3, 8, 8))
    np.testing.assert_array_equal(network.forward(x)["sum"], x + np.float32(0.1))
    e = caffe2lrp.explain(network, x, 7)
    assert e.relevance.sum() == pytest.approx(1, rel=1e-6)


@pytest.mark.parametrize(
    ("filler", "inputs", "types"),
    [
        ("", ["data", "a"], ["Eltwise"]),  # no other data: constants stand for them
        ('data_filler { type: "constant" value: 1 }', ["data", "a"], ["Eltwise"]),
        ('data_filler { type: "gaussian" }', ["data", "a"], ["Eltwise"]),
        (
            'data_filler { type: "uniform" } data_filler { type: "constant" value: 3 }',
            ["data"],
            ["DummyData", "Eltwise"],
        ),
        ('data_filler { value: 3 } data_filler { type: "xavier" }', ["data", "a"], ["Eltwise"]),
    ],
)
def test_dummy_data_alone(folder: Folder, filler: str, inputs: list[str], types: list[str]) -> None:
    network = folder.define(DUMMY % ('top: "data" top: "a"', f"shape {{ dim: [2, 3] }} {filler}") + ADD % ("data", "a"))
    assert list(network.inputs) == inputs
    assert [layer.type for layer in network.layers] == types
    for blob in inputs:
        assert any(f"replaced by the input '{blob}' of shape (2, 3)" in note for note in network.notes)
    if len(types) > 1:
        layer = network.layers[0]
        assert (layer.name, layer.outputs, layer.params) == ("dummy_a", ("a",), DummyData((2, 3), 3.0))


def test_a_constant_that_only_a_loss_needs_is_left_out(folder: Folder) -> None:
    data = 'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: [2, 3] } } }\n'
    label = DUMMY % ('top: "truth" top: "unread"', "shape { dim: 2 } shape { dim: 1 }")
    loss = 'layer { name: "loss" type: "SoftmaxWithLoss" bottom: "data" bottom: "truth" top: "loss" }\n'
    network = folder.define(data + label + loss)
    assert [layer.type for layer in network.layers] == ["Softmax"]
    assert network.outputs == ("loss",)


def test_dummy_data_of_the_first_generation(folder: Folder) -> None:
    network = folder.define(
        'input: "data" input_dim: [2, 3, 4, 5] layers { name: "d" type: DUMMY_DATA top: "a" '
        "dummy_data_param { num: 2 channels: 3 height: 4 width: 5 data_filler { value: -2 } } } "
        'layers { name: "add" type: ELTWISE bottom: "data" bottom: "a" top: "sum" }'
    )
    assert network.layers[0].params == DummyData((2, 3, 4, 5), -2.0)


@pytest.mark.parametrize(
    ("param", "message"),
    [
        ("", r"layer 'dummy' \(DummyData\): dummy_data_param: has no shape"),
        ("num: 1 channels: 3", r"layer 'dummy' \(DummyData\): dummy_data_param: has no shape"),
        ("shape { dim: [1, 0] }", r"layer 'dummy' \(DummyData\): dummy_data_param: has the impossible shape \(1, 0\)"),
        (
            "shape { dim: [1, -3] }",
            r"layer 'dummy' \(DummyData\): dummy_data_param: has the impossible shape \(1, -3\)",
        ),
    ],
)
def test_constants_without_a_shape(folder: Folder, param: str, message: str) -> None:
    data = 'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: [1, 3] } } }\n'
    with pytest.raises(ModelError, match=message):
        folder.define(data + DUMMY % ('top: "a"', param) + ADD % ("data", "a"))


# -- learned blobs ----------------------------------------------------------------------------------------------

LEARNED = (
    'layer { name: "data" type: "Input" top: "data" input_param { shape { dim: [2, 3] } } }\n'
    'layer { name: "p" type: "Parameter" top: "p" parameter_param { shape { dim: [2, 3] } } }\n' + ADD % ("data", "p")
)


def test_a_learned_blob(folder: Folder) -> None:
    value = random(2, 3)
    network = folder.load(LEARNED, {"p": [value]})
    assert network.layers[0].params == Parameter((2, 3))
    assert network.layers[0].inputs == ()
    assert network.parameter_count == 6
    np.testing.assert_array_equal(network.forward(np.ones((2, 3), np.float32))["sum"], value + 1)


def test_a_learned_blob_needs_weights(folder: Folder) -> None:
    with pytest.raises(ModelError, match=r"holds no weights: pass the \.caffemodel"):
        folder.load(LEARNED)
    with pytest.raises(ModelError, match=r"layer 'p' \(Parameter\): .* has no weights for it; it needs value \(2, 3\)"):
        folder.load(LEARNED, {"other": [random(1)]})
    with pytest.raises(
        ModelError, match=r"layer 'p' \(Parameter\): its value has the shape \(2, 3\), but .* stores \(3, 2\)"
    ):
        folder.load(LEARNED, {"p": [random(3, 2)]})


# -- recurrent layers -------------------------------------------------------------------------------------------


def test_an_lstm_with_its_weights_in_caffes_order(folder: Folder) -> None:
    text = (
        INPUTS % "shape { dim: [4, 2] }"
        + 'layer { name: "s" type: "Input" top: "s" input_param { shape { dim: [2, 7] } } }\n'
        + DUMMY % ('top: "h0" top: "c0"', "shape { dim: [1, 2, 5] } data_filler { value: 0.5 }")
        + RECURRENT
        % (
            "LSTM",
            'bottom: "x" bottom: "cont" bottom: "s" bottom: "h0" bottom: "c0" top: "h" top: "hT" top: "cT"',
            "expose_hidden: true",
        )
    )
    stored = [random(20, 3), random(20), random(20, 7), random(20, 5)]
    network = folder.load(text, {"rec": stored})
    layer = network.layer("rec")
    assert layer.params == LSTM(5, True)
    assert list(layer.weights) == ["weight", "bias", "static_weight", "hidden_weight"]
    for found, expected in zip(layer.weights.values(), stored, strict=True):
        np.testing.assert_array_equal(found, expected)
    assert list(network.inputs) == ["x", "cont", "s"]
    assert [layer.name for layer in network.layers] == ["dummy_h0", "dummy_c0", "rec"]
    x = {blob: np.random.default_rng(1).normal(0, 1, shape) for blob, shape in network.inputs.items()}
    expected_blobs = naive.forward(network, x)
    for blob, value in network.forward(x).items():
        assert_close(value, expected_blobs[blob], 1e-12, blob)


def test_an_rnn_with_shared_weights(folder: Folder) -> None:
    names = " ".join(f'param {{ name: "w{i}" }}' for i in range(5))
    first = RECURRENT.replace("}\n", names + "}\n") % ("RNN", 'bottom: "x" bottom: "cont" top: "a"', "")
    second = first.replace('"rec"', '"again"').replace('top: "a"', 'top: "b"')
    stored = [random(5, 3), random(5), random(5, 5), random(5, 5), random(5)]
    network = folder.load(INPUTS % "shape { dim: [4, 2] }" + first + second, {"rec": stored})
    assert network.layer("rec").params == RNN(5)
    assert list(network.layer("rec").weights) == ["weight", "bias", "hidden_weight", "output_weight", "output_bias"]
    for key, value in network.layer("rec").weights.items():
        assert np.shares_memory(value, network.layer("again").weights[key])


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        (RECURRENT % ("LSTM", 'bottom: "x" top: "h"', ""), r"layer 'rec' \(LSTM\): reads a sequence, .* it has 1"),
        (
            RECURRENT.replace("5", "0") % ("RNN", 'bottom: "x" bottom: "cont" top: "h"', ""),
            r"layer 'rec' \(RNN\): recurrent_param: num_output is missing or 0",
        ),
        (
            RECURRENT % ("RNN", 'bottom: "x" bottom: "cont" bottom: "cont" top: "h"', "expose_hidden: true"),
            r"layer 'rec' \(RNN\): its states must have the shape \(1, 2, 5\), but one has \(4, 2\)",
        ),
    ],
)
def test_recurrent_layers_that_cannot_be_read(folder: Folder, layer: str, message: str) -> None:
    with pytest.raises(ModelError, match=message):
        folder.define(INPUTS % "shape { dim: [4, 2] }" + layer)


def test_exposed_states_need_tops(folder: Folder) -> None:
    states = 'layer { name: "h0" type: "Input" top: "h0" input_param { shape { dim: [1, 2, 5] } } }\n'
    rnn = RECURRENT % ("RNN", 'bottom: "x" bottom: "cont" bottom: "h0" top: "h"', "expose_hidden: true")
    with pytest.raises(ModelError, match=r"layer 'rec' \(RNN\): makes 2 blobs but names 1 tops"):
        folder.define(INPUTS % "shape { dim: [4, 2] }" + states + rnn)
