"""The IR as a thing to cut and search: blobs by name, parts of a network."""

from __future__ import annotations

import numpy as np
import pytest

from caffe2lrp.errors import OptionError
from caffe2lrp.ir import Network
from caffe2lrp.layers.activation import ReLU
from caffe2lrp.layers.convolution import Convolution
from caffe2lrp.layers.eltwise import Eltwise
from caffe2lrp.layers.inner_product import InnerProduct
from caffe2lrp.layers.join import Slice
from caffe2lrp.layers.softmax import Softmax
from tests.layer_cases import build, random_input


def branched() -> Network:
    """Two branches that meet, a head, and a second input that only one branch reads."""
    return build(
        {"data": (2, 3, 5, 7), "other": (2, 4, 5, 7)},
        ("conv", Convolution(4, (1, 1)), ["data"], ["c@conv"]),
        ("relu", ReLU(), ["c@conv"], ["c"]),
        ("sum", Eltwise(), ["c", "other"], ["s"]),
        ("cut", Slice(2), ["s"], ["low", "high"]),
        ("fc", InnerProduct(3), ["low"], ["scores"]),
        ("prob", Softmax(), ["scores"], ["p"]),
        blob_names={"c@conv": "c"},
        labels=["a", "b", "c"],
    )


def test_until_keeps_what_is_needed() -> None:
    network = branched()
    part = network.until("c")
    assert [layer.name for layer in part.layers] == ["conv", "relu"]
    assert part.inputs == {"data": (2, 3, 5, 7)}
    assert part.outputs == ("c",)
    assert part.labels is None
    assert part.caffe_name("c@conv") == "c"
    assert [layer.name for layer in network.until("conv").layers] == ["conv"]  # by the layer's name
    before = network.until("c@conv")
    assert [layer.name for layer in before.layers] == ["conv"]
    assert before.find_blob("c") == "c@conv"  # Caffe's name of what is left
    assert network.until("high").outputs == ("low", "high")  # a layer stays whole
    assert list(network.until("scores").inputs) == ["data", "other"]
    assert network.until("p").labels == ("a", "b", "c")
    assert len(network.layers) == 6  # it is not changed itself


def test_until_computes_the_same() -> None:
    network = build(
        {"data": (2, 3, 5, 7)},
        ("conv", Convolution(4, (1, 1)), ["data"], ["c"]),
        ("side", InnerProduct(2), ["data"], ["side"]),
        ("relu", ReLU(), ["c"], ["r"]),
        ("fc", InnerProduct(3), ["r"], ["p"]),
    )
    x = random_input(network)
    np.testing.assert_array_equal(network.until("r").forward(x)["r"], network.forward(x, keep="all")["r"])


def test_until_what() -> None:
    with pytest.raises(OptionError, match="no blob or layer 'scorse'; near: scores"):
        branched().until("scorse")
    with pytest.raises(OptionError, match="'data' is an input of small: no layers would be left"):
        branched().until("data")
    with pytest.raises(OptionError, match=r"small has no blob or layer ''$"):
        branched().until("")
