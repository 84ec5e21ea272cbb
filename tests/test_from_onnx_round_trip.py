"""From the layer IR to ONNX and back: the same outputs and relevance."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import caffe2lrp
from caffe2lrp.converters import from_onnx
from caffe2lrp.ir import Network
from caffe2lrp.layers.activation import Threshold
from caffe2lrp.preprocessing import Preprocessing
from tests.layer_cases import CASES, CHOSEN, Case, assert_close, chain, network_of, random_input
from tests.test_relevance import inception, residual

CHOOSING = {"ArgMax", "BatchReindex", "Embed", "Filter", "Threshold"}
"""Layer types that ONNX makes of operators on whole numbers, which are not read."""

# fmt: off
TYPES = (
    "AbsVal", "BN", "BNLL", "BatchNorm", "Bias", "Clip", "Concat", "Convolution", "DummyData", "Dropout", "ELU",
    "Eltwise", "Exp", "Flatten", "HardSigmoid", "HardSwish", "InnerProduct", "LRN", "Log", "LogSoftmax", "MVN", "PReLU",
    "Pad", "Parameter", "Permute", "Pooling", "Power", "ReLU", "Reduction", "Reshape", "Scale", "ShuffleChannel",
    "Sigmoid", "Slice", "Softmax", "Swish", "TanH", "Tile",
)
# fmt: on
"""Layer types that come back."""


def comes_back(case: Case) -> bool:
    """Whether a case is one of images, without the places of maxima."""
    params, shapes = case
    if params.type not in ("Convolution", "Pooling"):
        return True
    plain = getattr(params, "method", "MAX") in ("MAX", "AVE") and not getattr(params, "mask", False)
    return plain and len(shapes[0]) == 4 and getattr(params, "axis", 1) == 1


def there_and_back(network: Network, path: Path) -> Network:
    caffe2lrp.export_onnx(network, path)
    return caffe2lrp.load(path, input_shape=network.input_shape)  # the batch size is open in the file


def check(network: Network, path: Path, seed: int = 0) -> None:
    again = there_and_back(network, path)
    assert again.outputs == network.outputs
    assert {blob: again.shapes[blob] for blob in network.outputs} == {b: network.shapes[b] for b in network.outputs}
    x = random_input(network, seed).astype(np.float32)
    expected, found = network.forward(x), again.forward(x)
    for blob in network.outputs:
        assert_close(found[blob], expected[blob], 2e-5, blob)


@pytest.mark.parametrize("name", TYPES)
@settings(max_examples=20, deadline=None, derandomize=True)
@given(data=st.data())
def test_random_cases(name: str, data: st.DataObject, tmp_path_factory: pytest.TempPathFactory) -> None:
    case = data.draw(CASES[name].filter(comes_back))
    network = network_of(case, seed=data.draw(st.integers(0, 3)))
    check(network, tmp_path_factory.getbasetemp() / "round_trip.onnx")


CHOSEN_CASES = [(name, i) for name in TYPES for i, case in enumerate(CHOSEN.get(name, ())) if comes_back(case)]


@pytest.mark.parametrize(("name", "index"), CHOSEN_CASES)
def test_chosen_cases(name: str, index: int, tmp_path: Path) -> None:
    check(network_of(CHOSEN[name][index], seed=index), tmp_path / "model.onnx")


def test_what_is_not_read_says_so(tmp_path: Path) -> None:
    for name in CHOOSING:
        network = chain((1, 2), Threshold()) if name == "Threshold" else network_of(CHOSEN[name][0])
        caffe2lrp.export_onnx(network, tmp_path / "model.onnx")
        with pytest.raises(caffe2lrp.Caffe2LrpError, match=r"cannot be read:\n  node "):
            from_onnx.load(tmp_path / "model.onnx")


@pytest.mark.parametrize("make", [inception, residual])
def test_networks_are_explained_alike(make: Callable[[], Network], tmp_path: Path) -> None:
    network = make()
    again = there_and_back(network, tmp_path / "model.onnx")
    x = random_input(network)
    options: dict[str, Any]
    for options in ({"composite": "epsilon_plus"}, {"rule": "alphabeta", "beta": 1.0}, {"composite": "gradient"}):
        a, b = (caffe2lrp.explain(net, x, target=1, **options) for net in (network, again))
        assert_close(b.relevance, a.relevance, 1e-6, str(options))


@pytest.mark.parametrize("mean", [None, (104.0, 117.0, 123.0), np.arange(60, dtype=np.float32).reshape(3, 4, 5)])
def test_metadata_survives(mean: Any, tmp_path: Path) -> None:
    network = network_of(CHOSEN["Pooling"][0])
    network.describe(preprocessing=Preprocessing("BGR", mean, 0.5, ("long", 30)), labels=["tench", "naïve \u732b"])
    again = there_and_back(network, tmp_path / "model.onnx")
    assert again.preprocessing == network.preprocessing
    assert again.labels == network.labels


@pytest.mark.parametrize("name", ["squeezenet_v1.1", pytest.param("bvlc_googlenet", marks=pytest.mark.slow)])
def test_a_published_model_is_explained_alike(name: str, shared: Path, tmp_path: Path) -> None:
    """Read from Caffe's files, and from the ONNX file made of them."""
    folder = shared / "models" / name
    network = caffe2lrp.load(folder / "deploy.prototxt", next(folder.glob("*.caffemodel"))).with_batch(1)
    again = there_and_back(network, tmp_path / "model.onnx")
    moving = ("Dropout", "Flatten", "Reshape")  # they compute nothing
    types, theirs = ([layer.type for layer in net.layers if layer.type not in moving] for net in (again, network))
    assert types == theirs
    x = random_input(network)
    a, b = (caffe2lrp.explain(net, x, target=284, composite="epsilon_alpha2_beta1") for net in (network, again))
    assert np.abs(a.relevance).max() > 0
    assert_close(b.relevance, a.relevance, 1e-6)
