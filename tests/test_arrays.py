"""Weights for other programs: npy folders, npz, safetensors."""

from __future__ import annotations

import builtins
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from caffe2lrp.converters import caffe
from caffe2lrp.converters.arrays import save_weights, weight_arrays
from caffe2lrp.errors import FileFormatError, ModelError, OptionError
from caffe2lrp.ir import Layer, Network
from caffe2lrp.layers.activation import ReLU
from caffe2lrp.layers.affine import Scale
from caffe2lrp.layers.convolution import Convolution


def network(*names: str) -> Network:
    """Scale layers of these names, one behind the other."""
    layers = [
        Layer(
            name, Scale(bias=True), (f"b{i}",), (f"b{i + 1}",), {"scale": np.full(3, i, "f"), "bias": np.ones(3, "f")}
        )
        for i, name in enumerate(names)
    ]
    return Network("n", {"b0": (2, 3)}, layers)


def read_folder(folder: Path) -> dict[str, np.ndarray]:
    """All arrays below a folder, by path without suffix."""
    return {str(file.relative_to(folder).with_suffix("")): np.load(file) for file in folder.rglob("*.npy")}


def same(a: Any, b: Any) -> None:
    """Same names, and same arrays bit by bit."""
    assert set(a) == set(b)
    for name in a:
        assert a[name].dtype == b[name].dtype
        np.testing.assert_array_equal(a[name], b[name])


def test_every_form_holds_the_same(tmp_path: Path, shared: Path) -> None:
    safetensors = pytest.importorskip("safetensors.numpy")
    net = caffe.load(
        shared / "models/resnet20_cifar10/deploy.prototxt",
        shared / "models/resnet20_cifar10/cifar10_res20_iter_64000.caffemodel",
    )
    expected = weight_arrays(net)
    assert expected["Convolution1/weight"].shape == (16, 3, 3, 3)
    assert {"BatchNorm1/mean", "BatchNorm1/variance", "BatchNorm1/weight", "Scale1/scale"} < set(expected)
    for name in ("w.npz", "w.safetensors"):
        assert save_weights(net, tmp_path / name) == [tmp_path / name]
    same(np.load(tmp_path / "w.npz"), expected)
    same(safetensors.load_file(tmp_path / "w.safetensors"), expected)
    assert len(save_weights(net, tmp_path / "w")) == len(expected)
    same(read_folder(tmp_path / "w"), expected)


def test_arrays_that_are_not_contiguous(tmp_path: Path) -> None:
    safetensors = pytest.importorskip("safetensors.numpy")
    weight = np.arange(30, dtype="f").reshape(5, 1, 2, 3).transpose(2, 3, 1, 0)
    layer = Layer("c", Convolution(2, (1, 5), bias=False), ("x",), ("y",), {"weight": weight})
    net = Network("n", {"x": (1, 3, 1, 5)}, [layer])
    save_weights(net, tmp_path / "w.safetensors")
    same(safetensors.load_file(tmp_path / "w.safetensors"), {"c/weight": weight})


def test_slashes_are_folders(tmp_path: Path) -> None:
    save_weights(network("in/1x1", "in"), tmp_path / "w")
    assert set(read_folder(tmp_path / "w")) == {"in/1x1/scale", "in/1x1/bias", "in/scale", "in/bias"}


def test_no_name_leads_out_of_the_folder(tmp_path: Path) -> None:
    names = ["../../up", "/abs", "..", ".", "", "a\0b", "é", "a:b\\c", "a//b"]
    written = save_weights(network(*names), tmp_path / "inner" / "w")
    assert all(file.resolve().is_relative_to(tmp_path / "inner" / "w") for file in written)
    assert set(tmp_path.rglob("*.npy")) == set(written)
    assert len(written) == 2 * len(names)


def test_npz_takes_any_name_but_one_that_zip_would_cut(tmp_path: Path) -> None:
    names = ["../../up", "/abs", "..", "", "é", "file", "self"]
    save_weights(network(*names), tmp_path / "w.npz")
    same(np.load(tmp_path / "w.npz"), weight_arrays(network(*names)))
    with pytest.raises(ModelError, match="cannot hold the name"):
        save_weights(network("a", "a\0b"), tmp_path / "w.npz")


def test_existing_files_are_kept_if_asked(tmp_path: Path) -> None:
    pytest.importorskip("safetensors")
    for name in ("w", "w.npz", "w.safetensors"):
        save_weights(network("a"), tmp_path / name)
        with pytest.raises(FileFormatError, match="there already"):
            save_weights(network("new", "a"), tmp_path / name, overwrite=False)
        save_weights(network("a", "b"), tmp_path / name)
    assert not (tmp_path / "w" / "new" / "scale.npy").exists()
    assert len(np.load(tmp_path / "w.npz")) == 4


def test_what_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(OptionError, match=r"ends in \.npz or \.safetensors"):
        save_weights(network("a"), tmp_path / "w.h5")
    with pytest.raises(FileFormatError, match="file: cannot write"):
        save_weights(network("a"), tmp_path / "file")
    with pytest.raises(FileFormatError, match="there is no folder"):
        save_weights(network("a"), tmp_path / "no" / "w.npz")
    with pytest.raises(FileFormatError, match="folder of that name"):
        save_weights(network("a", "a/bias.npy"), tmp_path / "w")
    with pytest.raises(ModelError, match="letter case"):
        save_weights(network("conv", "Conv"), tmp_path / "case")
    with pytest.raises(ModelError, match="same name"):
        save_weights(network("a", "a"), tmp_path / "w.npz")
    with pytest.raises(ModelError, match="has no weights"):
        save_weights(Network("n", {"x": (1,)}, [Layer("r", ReLU(), ("x",), ("y",))]), tmp_path / "w.npz")


def test_safetensors_is_not_installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    real = builtins.__import__

    def refuse(name: str, *arguments: Any, **options: Any) -> Any:
        if name.startswith("safetensors"):
            raise ImportError(name)
        return real(name, *arguments, **options)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(OptionError, match=r"pip install 'caffe2lrp\[safetensors\]'"):
        save_weights(network("a"), tmp_path / "w.safetensors")
    assert not list(tmp_path.iterdir())
