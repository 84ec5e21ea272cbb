"""The proof of a conversion, and the comparison of networks, ONNX files and folders of blobs."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

from caffe2lrp import Network, Preprocessing
from caffe2lrp.converters.onnx import OnnxBlobs, StoredBlobs, build_model, diff, export_onnx, verify
from caffe2lrp.converters.onnx.comparing import difference, merged
from caffe2lrp.errors import FileFormatError, ModelError, OptionError
from caffe2lrp.layers import activation, batch_norm, dropout, join, pooling, softmax
from caffe2lrp.layers.convolution import Convolution
from caffe2lrp.layers.inner_product import InnerProduct
from tests.layer_cases import build, chain, random_input


@pytest.fixture
def network() -> Network:
    return build(
        {"data": (1, 3, 9, 8)},
        ("conv/a", Convolution(4, (3, 3)), ["data"], ["conv/a"]),
        ("norm", batch_norm.BatchNorm(), ["conv/a"], ["norm"]),
        ("relu", activation.ReLU(), ["norm"], ["relu"]),
        ("b", Convolution(5, (1, 1)), ["relu"], ["b"]),
        ("join", join.Concat(), ["relu", "b"], ["join"]),
        ("pool", pooling.Pooling("AVE", (3, 3), (2, 2)), ["join"], ["pool"]),
        ("drop", dropout.Dropout(), ["pool"], ["drop"]),
        ("ip", InnerProduct(5), ["drop"], ["ip"]),
        ("prob", softmax.Softmax(), ["ip"], ["prob"]),
    )


def tampered(network: Network, path: Path, name: str, factor: float) -> Path:
    """A file in which a weight is not what it should be."""
    model = onnx.load_from_string(build_model(network).to_bytes())
    tensor = next(t for t in model.graph.initializer if t.name == name)
    tensor.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(tensor) * np.float32(factor), name))
    onnx.save(model, path)
    return path


def test_all_blobs_are_compared(network: Network, tmp_path: Path) -> None:
    export_onnx(network, tmp_path / "net.onnx")
    report = verify(network, tmp_path / "net.onnx")
    assert report.passed
    assert report.first is None
    assert [d.blob for d in report.differences] == [blob for blob in network.shapes if blob != "data"]
    assert all(d.shape == (2, *network.shapes[d.blob][1:]) for d in report.differences)  # two images
    assert all(d.relative < 2e-5 and d.largest > 0 for d in report.differences)
    assert [d.blob for d in report.optimised] == ["prob"]
    assert report.worst[0].relative == max(d.relative for d in report.differences)


@pytest.mark.parametrize(
    ("weight", "blob"), [("conv/a.weight", "conv/a"), ("norm.mean", "norm"), ("b.bias", "b"), ("ip.weight", "ip")]
)
def test_the_first_layer_that_departs_is_named(network: Network, tmp_path: Path, weight: str, blob: str) -> None:
    report = verify(network, tampered(network, tmp_path / "net.onnx", weight, 1.01))
    assert not report.passed
    assert report.first is not None
    assert report.first.blob == blob
    assert f"layer '{blob}'" in report.first.origin
    whole = json.loads(json.dumps(report.to_dict()))
    assert whole["first_departing"]["blob"] == blob
    assert whole["passed"] is False
    assert len(whole["blobs"]) == 9
    assert verify(network, tmp_path / "net.onnx", tolerance=1.0).passed


def test_inputs_of_ones_own(network: Network, tmp_path: Path) -> None:
    """A fixed batch size takes any number of images; each batch counts."""
    wrong = tampered(network, tmp_path / "wrong.onnx", "b.weight", 2.0)
    export_onnx(network, tmp_path / "net.onnx", batch=2)
    x = random_input(network.with_batch(5)).astype(np.float32)
    assert verify(network, tmp_path / "net.onnx", x).passed
    assert verify(network, tmp_path / "net.onnx", x[:1], {"data": x}).passed
    nothing = np.zeros((1, 3, 9, 8), np.float32)
    first = verify(network, wrong, nothing)
    both = verify(network, wrong, nothing, x)
    assert both.worst[0].relative >= first.worst[0].relative
    assert merged([first, both]) == both
    with pytest.raises(ModelError, match="cannot run it"):
        verify(network, tmp_path / "net.onnx", np.zeros((2, 3, 9, 9), np.float32))
    with pytest.raises(OptionError, match="has the input"):
        verify(network, tmp_path / "net.onnx", {"image": x})
    for empty in (x[:0], np.float32(1)):
        with pytest.raises(OptionError, match="empty batch"):
            verify(network, tmp_path / "net.onnx", empty)
    assert diff(network, OnnxBlobs(tmp_path / "net.onnx")).passed  # two images in one, one in the other


def test_half_precision_has_a_tolerance_of_its_own(network: Network, tmp_path: Path) -> None:
    export_onnx(network, tmp_path / "net.onnx", fp16=True)
    report = verify(network, tmp_path / "net.onnx")
    assert report.passed
    assert report.tolerance == 2e-2
    assert report.worst[0].relative > 1e-5
    assert not verify(network, tmp_path / "net.onnx", tolerance=1e-6).passed


def test_a_model_that_begins_with_preprocessing(network: Network, tmp_path: Path) -> None:
    network.describe(preprocessing=Preprocessing("BGR", (104.0, 117.0, 123.0), 0.02, "short 12"))
    export_onnx(network, tmp_path / "net.onnx", with_preprocessing=True)
    images = np.random.default_rng(3).integers(0, 256, (3, 9, 8, 3), np.uint8)
    report = verify(network, tmp_path / "net.onnx", images)
    assert report.passed
    assert report.differences[0].blob == "data"
    assert report.differences[0].absolute == 0
    network.describe(preprocessing=Preprocessing("RGB", (104.0, 117.0, 123.0), 0.02))
    report = verify(network, tmp_path / "net.onnx", images)
    assert report.first is not None
    assert report.first.blob == "data"


def test_another_networks_file(network: Network, tmp_path: Path) -> None:
    export_onnx(chain((1, 3, 9, 8), activation.ReLU()), tmp_path / "net.onnx")
    with pytest.raises(ModelError, match="another network"):
        verify(network, tmp_path / "net.onnx")
    other = build({"pixels": (1, 3, 9, 8)}, ("prob", activation.ReLU(), ["pixels"], ["prob"]))
    export_onnx(other, tmp_path / "net.onnx")
    with pytest.raises(OptionError, match=r"has the input\(s\) data, but those given are pixels"):
        verify(network, tmp_path / "net.onnx")


def test_stretches_do_not_change_anything(network: Network, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from caffe2lrp.converters.onnx import blobs

    export_onnx(network, tmp_path / "net.onnx")
    x = {"data": random_input(network).astype(np.float32)}
    whole = OnnxBlobs(tmp_path / "net.onnx").run(x)
    for nodes, weights in ((1, 1 << 20), (3, 1 << 20), (100, 1)):
        monkeypatch.setattr(blobs, "_NODES", nodes)
        monkeypatch.setattr(blobs, "_WEIGHTS", weights)
        parts = OnnxBlobs(tmp_path / "net.onnx").run(x)
        assert list(parts) == list(whole)
        for name, value in whole.items():
            np.testing.assert_array_equal(parts[name], value)


def test_models_with_graphs_in_nodes(tmp_path: Path) -> None:
    """Files of others: what a branch reads is there."""
    import onnx.parser

    model = onnx.parser.parse_model("""
        <ir_version: 8, opset_import: ["": 17]>
        g (float[N, 3] x) => (float[N, 3] y) {
           a = Neg(x)
           yes = Constant <value = bool {1}> ()
           y = If(yes) <then_branch = t () => (float[N, 3] p) { p = Mul(a, x) },
                        else_branch = e () => (float[N, 3] q) { q = Identity(x) }>
        }""")
    onnx.save(model, tmp_path / "if.onnx")
    x = np.arange(6, dtype=np.float32).reshape(2, 3)
    found = OnnxBlobs(tmp_path / "if.onnx").run({"x": x})
    np.testing.assert_array_equal(found["y"], -x * x)


# -- differences -----------------------------------------------------------------------------------------------


def test_differences() -> None:
    a = np.array([1.0, -4.0, np.nan, np.inf, -3e38])
    same = difference("b", "", a, a.copy())
    assert (same.absolute, same.relative, same.largest) == (0, 0, 4)
    assert difference("b", "", a, a + np.array([0, 1, 0, 0, 0])).relative == 0.25
    for value in (np.nan, np.inf):
        other = a.copy()
        other[0] = value
        assert difference("b", "", a, other).relative == np.inf
    assert difference("b", "", np.zeros(3), np.array([0, 0.5, 0])).relative == 0.5
    assert difference("b", "", np.ones((2, 3)), np.ones((2, 3, 1, 1))).relative == 0
    assert difference("b", "", np.ones((2, 3)), np.ones((3, 2))).relative == np.inf


# -- any two -------------------------------------------------------------------------------------------------


def store(network: Network, folder: Path, slash: str) -> Path:
    """What an old Caffe's blobs would be: the input and the last value of each blob."""
    x = random_input(network.with_batch(3)).astype(np.float32)
    for name, blob in {"data": x, **network.forward(x, keep="all")}.items():
        file = folder / f"{name.replace('/', slash)}.npy"
        file.parent.mkdir(parents=True, exist_ok=True)
        np.save(file, blob)
    return folder


@pytest.mark.parametrize("slash", ["_", "__", "/"])
def test_a_folder_of_blobs(network: Network, tmp_path: Path, slash: str) -> None:
    folder = StoredBlobs(store(network, tmp_path / "blobs", slash), "_" if slash == "/" else slash)
    export_onnx(network, tmp_path / "net.onnx")
    model = OnnxBlobs(tmp_path / "net.onnx")
    names = [blob for blob in network.shapes if blob != "data"]
    for first, second in ((network, folder), (folder, network), (model, folder), (folder, model), (folder, folder)):
        report = diff(first, second)
        assert report.passed
        if folder is not first:
            assert [d.blob for d in report.differences] == names
        assert report.differences[-1].shape[0] == 3
    np.save(tmp_path / "blobs" / "pool.npy", np.load(tmp_path / "blobs" / "pool.npy") * 1.01)
    report = diff(network, StoredBlobs(folder.title, folder.slash))
    assert report.first is not None
    assert report.first.blob == "pool"
    assert "layer 'pool' (Pooling" in report.first.origin
    assert "node 'pool' (AveragePool, Pooling" in diff(model, folder).worst[0].origin


def test_networks_and_models(network: Network, tmp_path: Path) -> None:
    other = build(
        {"data": (1, 3, 9, 8)}, *((la.name, la.params, la.inputs, la.outputs) for la in network.layers), seed=1
    )
    assert diff(network, network).passed
    report = diff(network, other)
    assert report.first is not None
    assert report.first.blob == "conv/a"
    export_onnx(network, tmp_path / "a.onnx")
    export_onnx(network, tmp_path / "b.onnx", simplify=True)
    report = diff(OnnxBlobs(tmp_path / "a.onnx"), OnnxBlobs(tmp_path / "b.onnx"))
    assert report.passed
    assert set(report.only[0]) == {"conv/a", "drop"}
    assert diff(network, OnnxBlobs(tmp_path / "b.onnx"), seed=7).passed


def test_what_cannot_be_compared(network: Network, tmp_path: Path) -> None:
    with pytest.raises(FileFormatError, match=r"no \.npy files"):
        StoredBlobs(tmp_path)
    np.save(tmp_path / "prob.npy", np.zeros((1, 5)))
    with pytest.raises(FileFormatError, match=r"store it as data\.npy"):
        diff(network, StoredBlobs(tmp_path))
    (tmp_path / "data.npy").write_bytes(b"no array")
    with pytest.raises(FileFormatError, match=r"data\.npy"):
        diff(network, StoredBlobs(tmp_path))
    np.save(tmp_path / "data.npy", np.array(["a"]))
    with pytest.raises(FileFormatError, match="no numbers"):
        diff(network, StoredBlobs(tmp_path))
    np.save(tmp_path / "data.npy", np.zeros((1, 2, 9, 8)))
    with pytest.raises(OptionError, match="channels"):
        diff(network, StoredBlobs(tmp_path))
    (tmp_path / "prob.npy").rename(tmp_path / "other.npy")
    np.save(tmp_path / "data.npy", np.zeros((1, 3, 9, 8)))
    with pytest.raises(ModelError, match="no blob in common"):
        diff(network, StoredBlobs(tmp_path))
    network.describe(preprocessing=Preprocessing(scale=0.01))
    export_onnx(network, tmp_path / "net.onnx", with_preprocessing=True)
    with pytest.raises(OptionError, match="has the input"):
        diff(network, OnnxBlobs(tmp_path / "net.onnx"))
