"""Real trained models of every file generation: they name photos and reach the accuracy that others measured."""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import caffe2lrp
from caffe2lrp import Network, Preprocessing
from caffe2lrp.converters.caffe.mean import read_mean
from tests import naive
from tests.layer_cases import assert_close

CLASSES = {"cat": 282, "cat1": 284, "rooster1": 7, "scooter1": 665, "space_shuttle": 812, "volcano2": 980}
PREPROCESSING = {
    "bvlc_googlenet": Preprocessing(mean=(104.007, 116.669, 122.679), resize="short 256"),
    "squeezenet_v1.1": Preprocessing(mean=(104, 117, 123), resize="short 256"),
}
FILES = {
    "bvlc_googlenet": ("deploy.prototxt", "bvlc_googlenet.caffemodel"),
    "squeezenet_v1.1": ("deploy.prototxt", "squeezenet_v1.1.caffemodel"),
    "cifar10_full_v1": ("deploy.prototxt", "cifar10_full_iter_70000.caffemodel"),
    "cifar10_full_h5": ("deploy.prototxt", "cifar10_full_iter_60000.caffemodel.h5"),
    "resnet20_cifar10": ("deploy.prototxt", "cifar10_res20_iter_64000.caffemodel"),
    "lenet_v2": ("deploy.prototxt", "lenet_iter_10000.caffemodel"),
    "lenet_v0": ("lenet_v0.prototxt", "lenet_v0.caffemodel"),
}


@cache
def model(shared: Path, name: str) -> Network:
    folder = shared / "models" / name
    return caffe2lrp.load(*(folder / file for file in FILES[name]))


def scores(network: Network, x: np.ndarray, at_once: int) -> np.ndarray:
    """(N, classes): the only output for many images."""
    (output,) = network.outputs
    parts = [network.forward(x[i : i + at_once])[output] for i in range(0, len(x), at_once)]
    return np.concatenate([part.reshape(len(part), -1) for part in parts])


# -- photos ---------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("photo", CLASSES)
def test_googlenet_names_the_photo(shared: Path, photo: str) -> None:
    network = model(shared, "bvlc_googlenet")
    x = PREPROCESSING["bvlc_googlenet"](shared / "photos" / f"{photo}.jpg", network.input_shape)
    found = scores(network, x, 1)[0]
    assert found.argmax() == CLASSES[photo]
    assert found.sum() == pytest.approx(1, abs=1e-5)


def test_squeezenet_names_the_photos(shared: Path) -> None:
    network = model(shared, "squeezenet_v1.1")
    photos = [shared / "photos" / f"{photo}.jpg" for photo in CLASSES]
    found = scores(network, PREPROCESSING["squeezenet_v1.1"](photos, network.input_shape), 6)
    best = np.argsort(-found, axis=1)
    assert [int(c) in best[n, :2] for n, c in enumerate(CLASSES.values())] == [True] * 6
    assert (best[:, 0] == list(CLASSES.values())).sum() >= 4  # an independent reader: 70 of 86 photos


@pytest.mark.parametrize("name", ["bvlc_googlenet", "squeezenet_v1.1"])
def test_photos_are_explained(shared: Path, name: str) -> None:
    """Relevance is conserved up to biases, stabilisers and what has no negative products, and lies on the object."""
    network = model(shared, name)
    x = PREPROCESSING[name](shared / "photos" / "space_shuttle.jpg", network.input_shape)
    e = caffe2lrp.explain(network, x, 812, rule="zplus", lrn="identity", account=True)
    assert e.outputs.shape == (1, 1000)
    assert e.relevance.shape == x.shape
    assert np.isfinite(e.relevance).all()
    account = e.account
    assert account is not None
    lost = sum(account.total(column) for column in ("bias", "epsilon", "dropped", "other"))
    assert account.arrived + lost == pytest.approx(account.start, rel=1e-4)
    assert abs(account.total("other")) <= 1e-3 * account.start
    assert 0 < account.arrived < 1.001 * account.start


def test_googlenet_in_batches(shared: Path) -> None:
    network = model(shared, "bvlc_googlenet")
    photos = [shared / "photos" / f"{photo}.jpg" for photo in ("rooster1", "volcano2")]
    x = PREPROCESSING["bvlc_googlenet"](photos, network.input_shape)
    e = caffe2lrp.explain(network, x, [7, 980], rule="alphabeta", beta=1.0)
    for n, target in enumerate((7, 980)):
        alone = caffe2lrp.explain(network, x[n : n + 1], target, rule="alphabeta", beta=1.0)
        difference = np.linalg.norm(e.relevance[n] - alone.relevance[0])
        assert difference <= 1e-3 * np.linalg.norm(alone.relevance)


@pytest.mark.slow
def test_googlenet_equals_the_naive_net(shared: Path) -> None:
    network = model(shared, "bvlc_googlenet")
    x = PREPROCESSING["bvlc_googlenet"](shared / "photos" / "scooter1.jpg", network.input_shape).astype(np.float64)
    expected, found = naive.forward(network, x), network.forward(x, keep="all")
    for blob, value in found.items():
        assert_close(value, expected[_last(network, blob)], 1e-10, blob)


def _last(network: Network, blob: str) -> str:
    """The last value that Caffe calls by a blob's name: behind layers that run in place."""
    return [name for name in network.shapes if network.caffe_name(name) == network.caffe_name(blob)][-1]


# -- test sets ------------------------------------------------------------------------------------------------


def cifar(shared: Path) -> tuple[np.ndarray, np.ndarray]:
    npz = np.load(shared / "data" / "cifar10_test_1000.npz")
    mean = read_mean(shared / "models" / "cifar10_full_v1" / "mean.binaryproto")
    return npz["x"].astype(np.float32) - mean, npz["y"]


def mnist(shared: Path) -> tuple[np.ndarray, np.ndarray]:
    npz = np.load(shared / "data" / "mnist_test_10000.npz")
    return (npz["x"][:, None] / 256).astype(np.float32), npz["y"]


@pytest.mark.parametrize(
    ("name", "data", "accuracy"),
    [
        ("cifar10_full_v1", cifar, 0.821),
        ("cifar10_full_h5", cifar, 0.773),
        ("resnet20_cifar10", cifar, 0.918),
        ("lenet_v2", mnist, 0.983),
        ("lenet_v0", mnist, 0.990),
    ],
)
def test_accuracy(
    shared: Path, name: str, data: Callable[[Path], tuple[np.ndarray, np.ndarray]], accuracy: float
) -> None:
    """As an independent reader measured, within one point (CIFAR-10: on a tenth of its test images)."""
    x, labels = data(shared)
    found = scores(model(shared, name), x, 250)
    assert (found.argmax(axis=1) == labels).mean() == pytest.approx(accuracy, abs=0.0101)


@pytest.mark.parametrize("name", ["cifar10_full_v1", "resnet20_cifar10", "lenet_v0"])
def test_small_models_equal_the_naive_nets(shared: Path, name: str) -> None:
    network = model(shared, name)
    data = mnist if name == "lenet_v0" else cifar
    x = data(shared)[0][:2].astype(np.float64)
    expected, found = naive.forward(network, x), network.forward(x, keep="all")
    for blob, value in found.items():
        assert_close(value, expected[_last(network, blob)], 1e-11, blob)


@pytest.mark.parametrize("name", ["cifar10_full_v1", "resnet20_cifar10", "lenet_v0"])
def test_explanations_of_small_models_equal_the_naive_ones(shared: Path, name: str) -> None:
    """Convolutions by alpha-beta, the fully connected end by epsilon: the default, on images of the test sets."""
    from caffe2lrp.engine.folding import fold_affine_layers
    from caffe2lrp.explanation import start_blob

    network = model(shared, name)
    data = mnist if name == "lenet_v0" else cifar
    x = data(shared)[0][:1].astype(np.float64)
    e = caffe2lrp.explain(network, x)
    folded, blob = fold_affine_layers(network), start_blob(network)
    blobs = naive.forward(folded, x)
    start = np.where(blobs[blob] == blobs[blob].max(), blobs[blob], 0)

    def options(layer: Any) -> dict[str, Any]:
        by_type: dict[str, dict[str, Any]] = {
            "Convolution": {"rule": "alphabeta", "beta": 1.0},
            "InnerProduct": {"rule": "epsilon", "epsilon": 1e-6},
            "Eltwise": {"epsilon": 1e-12},
        }
        return by_type.get(layer.type, {})

    expected = _relevance(folded, blobs, {blob: start}, options)
    assert_close(e.relevance, expected, 1e-8)


def _relevance(network: Network, blobs: Any, start: Any, options: Callable[[Any], dict[str, Any]]) -> np.ndarray:
    """Naive relevance; alpha-beta of convolutions by columns, since their explicit matrices would fill the memory."""

    def step(layer: Any, inputs: list[np.ndarray], arriving: list[np.ndarray]) -> list[np.ndarray]:
        chosen = options(layer)
        if layer.type != "Convolution":
            return naive.RELEVANCE[layer.type](layer.params, layer.weights, inputs, arriving, **chosen)
        (x,), (r,) = inputs, arriving
        assert layer.params.group == 1
        weight = np.asarray(layer.weights["weight"], np.float64)
        matrix = weight.reshape(len(weight), -1)
        bias = np.asarray(layer.weights.get("bias", np.zeros(len(weight))), np.float64)
        out = np.zeros(x.shape)
        for n, image in enumerate(x):
            cols = naive.columns(layer.params, image)
            sent = np.zeros((matrix.shape[1], r[n, 0].size))
            for place, column in enumerate(cols.reshape(matrix.shape[1], -1).T):
                above = r[n].reshape(len(weight), -1)[:, place]
                sent[:, place] = naive.alphabeta_rule(column, matrix, bias, above, beta=chosen["beta"])
            out[n] = naive.fold(layer.params, sent.reshape(cols.shape), *x.shape[2:])
        return [out]

    return naive.walk_back(network, blobs, start, step)[network.input]


# -- several outputs --------------------------------------------------------------------------------------------


@pytest.mark.parametrize("stage", [1, 2, 3])
def test_mtcnn(shared: Path, stage: int) -> None:
    """Three outputs; the first stage is fully convolutional and takes images of any size."""
    folder = shared / "models" / "mtcnn"
    network = caffe2lrp.load(folder / f"det{stage}.prototxt", folder / f"det{stage}.caffemodel")
    assert {"prob", "bbox_pred"} < set(network.outputs) <= {"prob", "bbox_pred", "landmark_pred"}
    size = {1: (31, 24), 2: (24, 24), 3: (48, 48)}[stage]
    x = np.random.default_rng(stage).uniform(-1, 1, (2, 3, *size)).astype(np.float32)
    found = network.forward(x)
    expected = naive.forward(network, x)
    for blob, value in found.items():
        assert_close(value, expected[blob], 1e-4, blob)
    np.testing.assert_allclose(found["prob"].sum(axis=1), 1, rtol=1e-5)
    if stage == 1:
        assert found["prob"].shape[2:] == (11, 7)
    e = caffe2lrp.explain(network, x, [0, 1], layer="bbox_pred")
    assert np.isfinite(e.relevance).all()
