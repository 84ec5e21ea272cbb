"""Real trained models of every file generation as ONNX, and in double precision against the naive twins."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import pytest

import caffe2lrp
from caffe2lrp import Network
from caffe2lrp.converters.onnx import export_onnx, verify
from caffe2lrp.converters.onnx.verification import random_batch
from tests import naive
from tests.layer_cases import assert_close
from tests.test_real_models import FILES, PREPROCESSING

MODELS = [*FILES, "det1", "det2", "det3"]
SMALL = [name for name in MODELS if name not in PREPROCESSING]


def load(shared: Path, name: str) -> Network:
    if name in FILES:
        files = [shared / "models" / name / file for file in FILES[name]]
    else:
        files = [shared / "models" / "mtcnn" / f"{name}.{kind}" for kind in ("prototxt", "caffemodel")]
    network = caffe2lrp.load(*files)
    return network.describe(preprocessing=PREPROCESSING.get(name))


@pytest.mark.parametrize("name", MODELS)
def test_models_convert(shared: Path, tmp_path: Path, name: str) -> None:
    """Measured: 6e-6 at most."""
    network = load(shared, name)
    export_onnx(network, tmp_path / "net.onnx")
    report = verify(network, tmp_path / "net.onnx")
    assert report.passed, report.first
    assert {d.blob for d in report.differences} == set(network.shapes) - set(network.inputs)
    assert all(d.shape[0] == 2 for d in report.differences)
    assert report.worst[0].relative < 2e-5


@pytest.mark.parametrize("name", MODELS)
def test_simplified_models(shared: Path, tmp_path: Path, name: str) -> None:
    network = load(shared, name)
    export_onnx(network, tmp_path / "net.onnx", simplify=True)
    assert verify(network, tmp_path / "net.onnx").passed
    kinds = {node.op_type for node in onnx.load(tmp_path / "net.onnx").graph.node}
    assert not kinds & {"BatchNormalization", "Identity"}
    if name == "resnet20_cifar10":
        assert "Mul" not in kinds


@pytest.mark.parametrize("name", SMALL)
def test_models_in_half_precision(shared: Path, tmp_path: Path, name: str) -> None:
    """Measured: 6e-3 at most."""
    network = load(shared, name)
    export_onnx(network, tmp_path / "net.onnx", fp16=True)
    report = verify(network, tmp_path / "net.onnx")
    assert report.passed, report.first
    full = sum(w.nbytes for layer in network.layers for w in layer.weights.values())
    assert (tmp_path / "net.onnx").stat().st_size < 0.6 * full + 100_000


def test_photos_through_the_whole_model(shared: Path, tmp_path: Path) -> None:
    """From RGB pixels to the class, all in onnxruntime."""
    network = load(shared, "squeezenet_v1.1")
    export_onnx(network, tmp_path / "net.onnx", with_preprocessing=True)
    assert network.preprocessing is not None
    photos = [shared / "photos" / f"{name}.jpg" for name in ("rooster1", "volcano2")]
    views = [network.preprocessing.prepare(photo, network.input_shape).view for photo in photos]
    assert verify(network, tmp_path / "net.onnx", np.stack(views)).passed
    import onnxruntime

    session = onnxruntime.InferenceSession(tmp_path / "net.onnx", providers=["CPUExecutionProvider"])
    (scores,) = session.run(None, {"image": np.stack(views)})
    assert scores.reshape(2, -1).argmax(axis=1).tolist() == [7, 980]


@pytest.mark.parametrize(
    "name", [pytest.param(name, marks=pytest.mark.slow if name in PREPROCESSING else ()) for name in MODELS]
)
def test_double_precision_equals_the_naive_net(shared: Path, name: str) -> None:
    """A second way to every blob: the kernels in float64 against plain NumPy, within 1e-12 of the blob's largest."""
    network = load(shared, name)
    batch = random_batch(network, 1, seed=5)
    assert isinstance(batch, dict)
    x = batch[network.input].astype(np.float64)
    expected, found = naive.forward(network, x), network.forward(x, keep=list(network.shapes))
    for blob, value in found.items():
        assert value.dtype == np.float64
        assert_close(value, expected[blob], 1e-12, blob)
