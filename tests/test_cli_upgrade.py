"""``caffe2lrp upgrade`` and ``weights``, and the drawing of ``inspect``."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest
from typer.testing import CliRunner, Result

import caffe2lrp
from caffe2lrp.cli import app
from caffe2lrp.converters.caffe import load_definition
from caffe2lrp.ir import Network, with_weights
from tests.test_cli import python

OLD = """name: "old"
input: "data" input_dim: 4 input_dim: 3 input_dim: 7 input_dim: 6
layers { name: "conv" type: CONVOLUTION bottom: "data" top: "conv"
  convolution_param { num_output: 4 kernel_size: 3 bias_term: false } }
layers { name: "relu" type: RELU bottom: "conv" top: "conv" }
layers { name: "pool" type: POOLING bottom: "conv" top: "pool" pooling_param { pool: AVE global_pooling: true } }
layers { name: "fc" type: INNER_PRODUCT bottom: "pool" top: "fc" inner_product_param { num_output: 5 } }
layers { name: "loss" type: SOFTMAX_LOSS bottom: "fc" bottom: "label" }
"""
NORMED = """name: "normed"
layer { name: "data" type: "Input" top: "data" input_param { shape { dim: 2 dim: 3 dim: 7 dim: 6 } } }
layer { name: "in/conv" type: "Convolution" bottom: "data" top: "c" convolution_param { num_output: 4 kernel_size: 3 } }
layer { name: "in/norm" type: "BatchNorm" bottom: "c" top: "c" }
layer { name: "in/scale" type: "Scale" bottom: "c" top: "c" scale_param { bias_term: true } }
layer { name: "relu" type: "ReLU" bottom: "c" top: "c" }
layer { name: "side" type: "TanH" bottom: "c" top: "side" }
"""

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(app, [str(a) for a in arguments])


def refused(result: Result, *words: str) -> None:
    """The command failed with exit code 2 and one line that has the words, and no traceback."""
    assert result.exit_code == 2, result.output
    assert "Traceback" not in result.output + result.stderr
    (line,) = (line for line in result.stderr.splitlines() if "error:" in line)
    for word in words:
        assert word in line, line


def write(folder: Path, name: str, text: str) -> Network:
    """A definition with random weights, as NAME.prototxt and NAME.caffemodel."""
    (folder / f"{name}.prototxt").write_text(text)
    network = load_definition(folder / f"{name}.prototxt")
    rng = np.random.default_rng(1)
    layers = [
        with_weights(layer, {k: rng.uniform(0.5, 1, w.shape).astype(np.float32) for k, w in layer.weights.items()})
        for layer in network.layers
    ]
    network = network.with_layers(layers)
    caffe2lrp.save(network, weights=folder / f"{name}.caffemodel")
    return network


@pytest.fixture
def old(run: Run, tmp_path: Path) -> Network:
    return write(tmp_path, "old", OLD)


@pytest.fixture
def normed(run: Run, tmp_path: Path) -> Network:
    return write(tmp_path, "normed", NORMED)


def outputs(network: Network, x: np.ndarray) -> list[np.ndarray]:
    return list(network.forward(x).values())


def test_upgrade(run: Run, old: Network) -> None:
    result = run("upgrade", "old.prototxt", "old.caffemodel", "--out", "new")
    assert result.stdout == "new.prototxt\nnew.caffemodel\n"
    assert "its Softmax without the label is kept" in result.stderr
    text = Path("new.prototxt").read_text()
    assert 'type: "InnerProduct"' in text
    assert "layers" not in text
    new = caffe2lrp.load("new.prototxt", "new.caffemodel")
    x = np.random.default_rng(0).normal(size=old.input_shape).astype(np.float32)
    np.testing.assert_array_equal(outputs(new, x), outputs(old, x))
    assert run("inspect", "new.prototxt", "new.caffemodel").exit_code == 0
    again = run("upgrade", "new.caffemodel", "--out", "again", "--hdf5")
    assert (again.stdout, again.stderr) == ("again.prototxt\nagain.caffemodel.h5\n", "")
    np.testing.assert_array_equal(outputs(caffe2lrp.load("again.prototxt", "again.caffemodel.h5"), x), outputs(old, x))


def test_upgrade_changes(run: Run, normed: Network) -> None:
    result = run(
        *("upgrade", "normed.caffemodel", "normed.prototxt", "--out", "new", "--fold"),
        *("--until", "c", "--input-shape", "1,3,9,5"),
    )
    assert result.stdout == "new.prototxt\nnew.caffemodel\n"
    assert "1 of 5 layers are left out" in result.stderr
    assert "2 layers are merged into the layers before them" in result.stderr
    new = caffe2lrp.load("new.prototxt", "new.caffemodel")
    assert [layer.name for layer in new.layers] == ["in/conv", "relu"]
    assert new.input_shape == (1, 3, 9, 5)
    x = np.random.default_rng(0).normal(size=new.input_shape).astype(np.float32)
    expected = normed.with_input_shape((1, 3, 9, 5)).forward(x, keep="all")["c"]
    np.testing.assert_allclose(outputs(new, x)[0], expected, rtol=1e-5, atol=1e-6)


def test_upgrade_a_definition_alone(run: Run, old: Network, tmp_path: Path) -> None:
    result = run("upgrade", "old.prototxt", "--out", "new")
    assert result.stdout == "new.prototxt\n"
    assert "no weights to write" in result.stderr
    assert not (tmp_path / "new.caffemodel").exists()
    Path("new.caffemodel").write_text("of another net, and not in the way")
    assert run("upgrade", "old.prototxt", "--out", "new", "--overwrite").exit_code == 0
    assert Path("new.caffemodel").read_text().startswith("of another net")
    Path("new.prototxt").unlink()
    assert run("upgrade", "old.prototxt", "--out", "new").exit_code == 0
    Path("new.prototxt").unlink()
    refused(run("upgrade", "old.prototxt", "old.caffemodel", "--out", "new"), "new.caffemodel", "there already")
    assert not Path("new.prototxt").exists()
    refused(run("weights", "old.prototxt", "--out", "w.npz"), "no weights to write")


def test_upgrade_in_place_needs_leave(run: Run, old: Network) -> None:
    before = Path("old.prototxt").read_bytes()
    refused(run("upgrade", "old.prototxt", "old.caffemodel", "--out", "old"), "old.prototxt", "--overwrite")
    assert Path("old.prototxt").read_bytes() == before
    assert run("upgrade", "old.prototxt", "old.caffemodel", "--out", "old", "--overwrite").exit_code == 0
    assert Path("old.prototxt").read_bytes() != before
    assert caffe2lrp.load("old.prototxt", "old.caffemodel").parameter_count == old.parameter_count


def test_layers_that_caffe_does_not_find_in_hdf5(run: Run, normed: Network) -> None:
    result = run("upgrade", "normed.caffemodel", "--out", "new", "--hdf5")
    assert "Caffe itself does not find 3 layers in HDF5" in result.stderr
    with h5py.File("new.caffemodel.h5") as file:
        assert set(file["data/in"]) == {"conv", "norm", "scale"}


def test_upgrade_a_known_model(run: Run) -> None:
    assert run("upgrade", "--model", "digits", "--out", "d").stdout == "d.prototxt\nd.caffemodel\n"
    assert len(caffe2lrp.load("d.prototxt", "d.caffemodel").layers) == len(load_definition("d.caffemodel").layers)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["old.prototxt", "--out", "new", "--until", "pol"], ["no blob or layer 'pol'", "near: pool"]),
        (["old.prototxt", "--out", "new", "--until", "data"], ["input"]),
        (["old.prototxt", "--out", "new.prototxt"], ["new.prototxt", "in common: new"]),
        (["old.prototxt", "--out", "x/new.caffemodel.h5"], ["in common: x/new"]),
        (["old.prototxt", "--out", "."], ["is a folder"]),
        (["old.prototxt", "--out", "no/new"], ["no/new.prototxt", "there is no folder"]),
        (["old.prototxt", "--out", "new", "--input-shape", "1,3,2,2"], ["too small"]),
        (["old.prototxt", "--out", "new", "--input-shape", "1,3"], ["pool", "has the shape (1, 4)"]),
        (["h.caffemodel.h5", "--out", "new"], ["h.caffemodel.h5", "pass the prototxt"]),
        (["h.caffemodel.h5", "h.caffemodel.h5", "--out", "new"], ["pass the prototxt"]),
        (["none.prototxt", "--out", "new"], ["none.prototxt", "cannot read"]),
        (["old.prototxt", "--model", "digits", "--out", "new"], ["not both"]),
        (["--model", "nonsense", "--out", "new"], ["nonsense"]),
    ],
)
def test_upgrade_refuses(run: Run, old: Network, tmp_path: Path, arguments: list[str], words: list[str]) -> None:
    caffe2lrp.save(old, weights="h.caffemodel.h5")
    before = set(tmp_path.iterdir())
    refused(run("upgrade", *arguments), *words)
    assert set(tmp_path.iterdir()) == before


def test_weights(run: Run, old: Network) -> None:
    result = run("weights", "old.prototxt", "old.caffemodel", "--out", "w.npz")
    assert result.stdout == "w.npz\n"
    assert "133 parameters of 2 layers in one file" in result.stderr
    arrays = np.load("w.npz")
    assert set(arrays) == {"conv/weight", "fc/weight", "fc/bias"}
    np.testing.assert_array_equal(arrays["fc/weight"], old.layer("fc").weights["weight"])
    assert run("weights", "--weights", "old.caffemodel", "--out", "w").stdout == "w\n"
    np.testing.assert_array_equal(np.load("w/conv/weight.npy"), arrays["conv/weight"])
    refused(run("weights", "old.caffemodel", "--out", "w"), "there already")
    refused(run("weights", "old.caffemodel", "--out", "w.npz"), "w.npz", "there already")
    assert run("weights", "old.caffemodel", "--out", "w.npz", "--overwrite").exit_code == 0
    refused(run("weights", "old.caffemodel", "--out", "w.pt"), ".safetensors")


def test_inspect_draws(run: Run, old: Network) -> None:
    plain = run("inspect", "old.prototxt")
    drawn = run("inspect", "old.prototxt", "--graph", "net.svg")
    assert drawn.stdout == plain.stdout
    assert drawn.stderr == "caffe2lrp: drawn in net.svg\n"
    assert "Convolution 3x3 → 4x4x5x4" in Path("net.svg").read_text()
    refused(run("inspect", "old.prototxt", "--graph", "net.png"), ".svg")
    refused(run("inspect", "old.prototxt", "--graph", "no/net.svg"), "no folder")


@pytest.mark.parametrize("command", ["upgrade", "weights"])
def test_help(run: Run, command: str) -> None:
    assert f"caffe2lrp {command} " in run(command, "--help").output.split("Examples:")[1]


def test_help_imports_nothing_heavy() -> None:
    code = """
import sys
from caffe2lrp.cli import main
sys.argv = ["caffe2lrp", "upgrade", "--help"]
try:
    main()
finally:
    print({"numpy", "numba", "h5py", "safetensors"} & set(sys.modules), file=sys.stderr)
"""
    assert python(code).stderr == "set()\n"
