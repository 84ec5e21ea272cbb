"""BatchNorm, Scale and Bias merged into the layer before: the same network with fewer layers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import caffe2lrp
from caffe2lrp.converters import caffe
from caffe2lrp.ir import Network
from caffe2lrp.layers.activation import ReLU
from caffe2lrp.layers.affine import Bias, Scale
from caffe2lrp.layers.base import LayerParams
from caffe2lrp.layers.batch_norm import BatchNorm
from caffe2lrp.layers.convolution import Convolution
from caffe2lrp.layers.eltwise import Eltwise
from caffe2lrp.layers.inner_product import InnerProduct
from tests import naive
from tests.layer_cases import assert_close, build, chain, random_input


def check(network: Network, types: list[str]) -> Network:
    """Folded, the network has these types and computes the same as the naive one does unfolded."""
    folded = caffe2lrp.fold_affine_layers(network)
    assert [layer.type for layer in folded.layers] == types
    x = random_input(network)
    expected, got = naive.forward(network, x), folded.forward(x)
    assert set(got) == set(network.outputs)
    for blob, values in got.items():
        assert_close(values, expected[blob], 1e-12, blob)
    return folded


@pytest.mark.parametrize(
    "linear",
    [Convolution(6, (3, 2), group=2), Convolution(5, (1, 1), bias=False), InnerProduct(7, bias=False)],
    ids=str,
)
@pytest.mark.parametrize(
    "affine",
    [(BatchNorm(),), (Scale(bias=True),), (Bias(),), (BatchNorm(0.1), Scale(bias=True), Bias(), Scale())],
    ids=lambda affine: "+".join(map(str, affine)),
)
def test_into_linear_layers(linear: LayerParams, affine: tuple[LayerParams, ...]) -> None:
    folded = check(chain((3, 2, 5, 7), linear, *affine, ReLU()), [linear.type, "ReLU"])
    assert set(folded.layers[0].weights) == {"weight", "bias"}


def test_a_fully_connected_layer_along_several_axes_has_no_channels_at_axis_1() -> None:
    # As many rows as outputs, so that factors would fit the wrong ones.
    check(chain((2, 5, 3), InnerProduct(5, axis=2), Scale(bias=True)), ["InnerProduct", "Scale"])
    check(chain((2, 5, 3), InnerProduct(4, axis=2), BatchNorm()), ["InnerProduct", "BatchNorm"])
    check(chain((5, 3), InnerProduct(5, axis=0)), ["InnerProduct"])


def test_what_cannot_be_merged_stays() -> None:
    conv = Convolution(3, (2, 2))
    check(chain((2, 3, 5, 7), BatchNorm(), conv, ReLU(), Scale()), ["BatchNorm", "Convolution", "ReLU", "Scale"])
    check(chain((2, 3, 5, 7), conv, Scale(axis=2)), ["Convolution", "Scale"])  # a factor for each row of pixels
    check(chain((2, 3, 5, 7), conv, Scale(axis=1, num_axes=2)), ["Convolution", "Scale"])
    both = build(
        {"data": (2, 3, 5, 7)},
        ("conv", conv, ["data"], ["c"]),
        ("scale", Scale(), ["c"], ["s"]),
        ("sum", Eltwise(), ["c", "s"], ["y"]),  # the unscaled values are wanted, too
    )
    check(both, ["Convolution", "Scale", "Eltwise"])


def test_a_real_net_survives_being_folded_and_written(shared: Path, tmp_path: Path) -> None:
    folder = shared / "models/resnet20_cifar10"
    network = caffe.load(folder / "deploy.prototxt", folder / "cifar10_res20_iter_64000.caffemodel")
    folded = caffe2lrp.fold_affine_layers(network)
    assert {layer.type for layer in network.layers} - {layer.type for layer in folded.layers} == {"BatchNorm", "Scale"}
    caffe2lrp.save(folded, tmp_path / "new.prototxt", tmp_path / "new.caffemodel")
    new = caffe2lrp.load(tmp_path / "new.prototxt", tmp_path / "new.caffemodel")
    assert not any("@" in new.caffe_name(blob) for blob in new.shapes)  # ReLUs run in place, over convolutions now
    x = np.random.default_rng(0).normal(0, 60, network.input_shape).astype(np.float32)
    (scores,) = (network.forward(x)[blob] for blob in network.outputs)
    np.testing.assert_allclose(new.forward(x)[new.outputs[0]], scores, atol=1e-5)
