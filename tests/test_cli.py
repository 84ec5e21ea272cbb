"""The command line as a user meets it: outputs, files, messages and exit codes."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from PIL import Image

import caffe2lrp
from caffe2lrp import composites, rules
from caffe2lrp.cli import main
from caffe2lrp.converters.caffe import load_definition, write_caffemodel
from caffe2lrp.ir import with_weights
from tests.maps import assert_same_map

Run = Callable[..., SimpleNamespace]

SIDE, CLASSES = 10, 6
PROTOTXT = f"""name: "tiny"
input: "data"
input_dim: 4 input_dim: 3 input_dim: {SIDE} input_dim: {SIDE}
layer {{ name: "conv" type: "Convolution" bottom: "data" top: "conv"
  convolution_param {{ num_output: 4 kernel_size: 3 }} }}
layer {{ name: "relu" type: "ReLU" bottom: "conv" top: "conv" }}
layer {{ name: "ip" type: "InnerProduct" bottom: "conv" top: "ip" inner_product_param {{ num_output: {CLASSES} }} }}
layer {{ name: "prob" type: "Softmax" bottom: "ip" top: "prob" }}
"""
LABELS = ["tabby, tabby cat", "Siamese cat, Siamese", "cock", "hen", "crane", "crane"]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str], tmp_path: Path) -> Run:
    """Run the program in this process, in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COLUMNS", raising=False)

    def call(*arguments: object) -> SimpleNamespace:
        monkeypatch.setattr(sys, "argv", ["caffe2lrp", *map(str, arguments)])
        with pytest.raises(SystemExit) as ended:
            main()
        out, err = capfd.readouterr()
        # Compiling kernels is told once per machine, and not by the command line.
        told = [line for line in err.splitlines(keepends=True) if "caffe2lrp: compil" not in line]
        return SimpleNamespace(code=ended.value.code or 0, out=out, err="".join(told))

    return call


@pytest.fixture(scope="session")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a small net of random weights, its class names, and pictures."""
    folder = tmp_path_factory.mktemp("tiny")
    (folder / "deploy.prototxt").write_text(PROTOTXT)
    network = load_definition(folder / "deploy.prototxt")
    rng = np.random.default_rng(1)
    layers = [
        with_weights(layer, {k: rng.normal(size=w.shape).astype(np.float32) / 30 for k, w in layer.weights.items()})
        for layer in network.layers
    ]
    write_caffemodel(network.with_layers(layers), folder / "net.caffemodel")
    (folder / "names.txt").write_text("".join(f"n0000000{i} {label}\n" for i, label in enumerate(LABELS)))
    for name in ("a/cat.png", "b/cat.png", "b/dog.png"):
        (folder / name).parent.mkdir(exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (12, 14, 3), np.uint8)).save(folder / name)
    return folder


@pytest.fixture(scope="session")
def net(tiny: Path) -> list[str]:
    """The options that name the small net and its preprocessing."""
    return [
        *("--prototxt", str(tiny / "deploy.prototxt"), "--weights", str(tiny / "net.caffemodel")),
        *("--labels", str(tiny / "names.txt"), "--mean", "128", "--channels", "RGB", "--scale", "1/64"),
        *("--resize", "stretch"),
    ]


def fails(result: SimpleNamespace, *words: str) -> None:
    """The program ended with code 2 and one line on stderr that holds these words."""
    assert result.code == 2
    assert result.err.count("\n") == 1, result.err
    assert result.err.startswith("caffe2lrp: error: ")
    for word in words:
        assert word in result.err


# -- the program -----------------------------------------------------------------------------------


def test_version(run: Run) -> None:
    assert run("--version").out == f"caffe2lrp {caffe2lrp.__version__}\n"


@pytest.mark.parametrize("command", ["explain", "predict", "inspect"])
def test_help_shows_examples(run: Run, command: str) -> None:
    result = run(command, "--help")
    assert result.code == 0
    assert f"caffe2lrp {command} " in result.out.split("Examples:")[1]


def test_help_names_all_rules_and_composites(run: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "1000")
    text = run("explain", "--help").out
    for name in [*rules.RULES, *composites.COMPOSITES]:
        assert name in text


def test_models_are_listed(run: Run) -> None:
    assert "bvlc_googlenet" in run("models", "list").out
    fails(run("models", "path", "nonsense"), "no model 'nonsense'")


def python(code: str, **options: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False, **options
    )


def test_help_imports_nothing_heavy() -> None:
    code = """
import sys
from caffe2lrp.cli import main
sys.argv = ["caffe2lrp", "explain", "--help"]
try:
    main()
finally:
    print({"numpy", "numba", "PIL", "matplotlib", "h5py", "scipy", "pooch"} & set(sys.modules), file=sys.stderr)
"""
    assert python(code).stderr == "set()\n"


def test_a_later_run_imports_neither_compiler_nor_libraries_of_other_formats(tiny: Path, tmp_path: Path) -> None:
    arguments = ["explain", str(tiny / "a/cat.png"), "--prototxt", str(tiny / "deploy.prototxt")]
    arguments += ["--weights", str(tiny / "net.caffemodel"), "--out", str(tmp_path / "out")]
    code = f"""
import sys
from caffe2lrp.cli import main
sys.argv = ["caffe2lrp", *{arguments!r}]
try:
    main()
finally:
    print({{"numba", "matplotlib", "h5py", "scipy", "onnx", "onnxruntime"}} & set(sys.modules))
"""
    environment = {**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)}
    first, later = (python(code, env=environment).stdout.splitlines()[-1] for _ in range(2))
    assert "numba" in first
    assert later == "set()"


COMPUTING = ("convert", "diff", "evaluate", "explain", "figures", "predict", "report", "serve", "toolbox")


@pytest.mark.parametrize("command", COMPUTING)
def test_the_number_of_threads(run: Run, monkeypatch: pytest.MonkeyPatch, command: str) -> None:
    """It is set before anything is done; here the command finds nothing to do it with."""
    chosen: list[int] = []
    monkeypatch.setattr("caffe2lrp.kernels.team.set_threads", chosen.append)
    monkeypatch.setenv("COLUMNS", "1000")
    missing = {
        "diff": ["a.onnx", "b.onnx"],
        "figures": ["--model", "nonsense"],
        "serve": ["--model", "nonsense"],
        "toolbox": ["config.txt", "list.txt", "./"],
    }
    arguments = [command, *missing.get(command, ["missing"])]
    assert run(*arguments, "--threads", 3).code == 2
    assert chosen == [3]
    assert run(*arguments).code == 2
    for nonsense in ("0", "-1", "many", "1.5"):
        result = run(*arguments, "--threads", nonsense)
        assert result.code == 2
        assert "Invalid value for '--threads'" in result.err
    assert chosen == [3]
    assert "else the environment's NUMBA_NUM_THREADS, or all cores" in run(command, "--help").out


def test_closed_pipe_is_silent(tiny: Path) -> None:
    code = f"""
import os, sys
from caffe2lrp.cli import main
reader, writer = os.pipe()
os.dup2(writer, 1)
os.close(reader)
sys.argv = ["caffe2lrp", "inspect", {str(tiny / "deploy.prototxt")!r}]
main()
"""
    result = python(code)
    assert result.stderr == ""
    assert result.returncode == 141


def test_interrupt(run: Run, monkeypatch: pytest.MonkeyPatch, tiny: Path) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("caffe2lrp.cli.inspect.describe", interrupt)
    result = run("inspect", tiny / "deploy.prototxt")
    assert (result.code, result.err) == (130, "")


@pytest.mark.parametrize(
    "arguments",
    [
        ["nonsense"],
        ["explain"],
        ["explain", "x.png", "--lrn", "x"],
        ["predict", "x.png", "--nonsense"],
        ["predict", "x.png", "--top", "0"],
    ],
)
def test_usage_errors(run: Run, arguments: list[str]) -> None:
    result = run(*arguments)
    assert result.code == 2
    assert "Usage" in result.err
    assert not result.out


def test_rules_are_told(run: Run) -> None:
    text = run("rules").out
    for name in [*rules.RULES, *composites.COMPOSITES]:
        assert f"\n  {name} " in text
    assert run("explain", "rules").out == text
    assert "x_i w_ij / (z_j + epsilon sign z_j) R_j" in run("rules", "epsilon").out
    report = json.loads(run("rules", "gamma", "gradient", "--json").out)
    assert [row["rule"] for row in report["rules"]] == ["gamma"]
    assert report["composites"] == []
    assert [row["value"] for row in report["baselines"]] == ["df / dx"]
    fails(run("rules", "gama"), "no rule, composite or baseline 'gama'; did you mean 'gamma'")


# -- explain ---------------------------------------------------------------------------------------


def test_several_rules_share_a_picture_and_a_montage(run: Run, tiny: Path, net: list[str], tmp_path: Path) -> None:
    (tmp_path / "mine.toml").write_text('[[layer]]\nrole = "dense"\nrule = "z"\n[[layer]]\nrule = "flat"\n')
    asked = ["--rule", "alphabeta:beta=2", "--rule", "epsilon", "--composite", "mine.toml", "--epsilon", "0.5"]
    smooth = ["--composite", "smoothgrad:samples=3,noise=0.1"]
    result = run("explain", tiny / "b", *net, "--target", "top2", *asked, *smooth, "--json")
    assert (result.code, result.err) == (0, "")
    report = json.loads(result.out)
    names = ["alphabeta 2", "epsilon 0.5", "mine", "smoothgrad"]
    assert report["rules"] == names
    out = tmp_path / "caffe2lrp-out"
    assert Path(report["montage"]) == Path("caffe2lrp-out/montage.png")
    _, dog = report["images"]
    assert [entry["rule"] for entry in dog["explanations"]] == names * 2
    assert "relevance" not in dog["explanations"][3], "an average of gradients has no account"
    index = dog["explanations"][0]["target"]
    files = {p.name for p in out.glob(f"dog.{index}.*.npy")}
    assert files == {f"dog.{index}.{n}.npy" for n in ("alphabeta-2", "epsilon-0.5", "mine", "smoothgrad")}
    network = caffe2lrp.load(tiny / "deploy.prototxt", tiny / "net.caffemodel")
    x = caffe2lrp.Preprocessing("RGB", (128.0,), 1 / 64, ("stretch", None))(tiny / "b/dog.png", network.input_shape)
    e = caffe2lrp.explain(network, x, index, rule="alphabeta", beta=2.0)
    assert_same_map(np.load(out / f"dog.{index}.alphabeta-2.npy"), e.relevance[0])
    width, height = Image.open(out / "montage.png").size
    assert width > 5 * 220
    assert height > 4 * 220, "two pictures, two classes"
    assert "montage.png" in run("explain", tiny / "b/dog.png", *net, *asked).out


def test_explain_writes_pictures_and_relevance(run: Run, tiny: Path, net: list[str], tmp_path: Path) -> None:
    result = run(
        "explain", tiny / "b/dog.png", *net, "--target", "hen", "--rule", "epsilon", "--epsilon", "1", "--json"
    )
    assert (result.code, result.err) == (0, "")
    report = json.loads(result.out)
    assert report["rules"] == ["epsilon 1"]
    (image,) = report["images"]
    (entry,) = image["explanations"]
    assert (entry["target"], entry["label"]) == (3, "hen")
    sums = entry["relevance"]
    kept = sums["bias"] + sums["epsilon"] + sums["dropped"] + sums["other"]
    assert sums["start"] == pytest.approx(entry["score"]) == pytest.approx(sums["arrived"] + kept)
    relevance = np.load(entry["files"]["array"])
    assert relevance.shape == (3, SIDE, SIDE)
    assert relevance.sum() == pytest.approx(sums["arrived"], rel=1e-4)
    assert sorted(p.name for p in (tmp_path / "caffe2lrp-out").iterdir()) == [
        f"dog.3.{end}" for end in ("heatmap.png", "npy", "overlay.png", "sheet.png")
    ]
    for kind in ("heatmap", "overlay"):  # enlarged by a whole factor
        assert Image.open(entry["files"][kind]).size == (23 * SIDE, 23 * SIDE)


def test_explain_is_what_the_library_computes(run: Run, tiny: Path, net: list[str]) -> None:
    run("explain", tiny / "b/dog.png", *net, "--target", "2", "--composite", "alphabeta", "--out", "o")
    network = caffe2lrp.load(tiny / "deploy.prototxt", tiny / "net.caffemodel")
    x = caffe2lrp.Preprocessing("RGB", (128,), 1 / 64, ("stretch", None))(tiny / "b/dog.png", network.input_shape)
    expected = caffe2lrp.explain(network, x, 2, composite="alphabeta").relevance[0]
    assert_same_map(np.load("o/dog.2.npy"), expected)


def test_explain_several_classes_on_one_sheet(run: Run, tiny: Path, net: list[str], tmp_path: Path) -> None:
    result = run("explain", tiny / "b/dog.png", *net, "--target", "top3", "--out", "maps", "--account")
    assert result.code == 0
    classes = [line.split()[1] for line in result.out.splitlines()[2:5]]
    names = {p.name for p in (tmp_path / "maps").iterdir()}
    assert names == {f"dog.{c}.{end}" for c in classes for end in ("heatmap.png", "overlay.png", "npy")} | {
        "dog.top3.sheet.png"
    }
    assert result.out.count("InnerProduct  epsilon 1e-06") == 3
    assert "maps/dog.top3.sheet.png" in result.out


def test_explain_keeps_pictures_of_one_name_apart(run: Run, tiny: Path, net: list[str], tmp_path: Path) -> None:
    result = run("explain", tiny / "a", tiny / "b", tiny / "a/cat.png", *net, "--out", "o", "--json", "--no-account")
    report = json.loads(result.out)
    sheets = [Path(image["sheet"]).name for image in report["images"]]
    assert [name.split(".")[0] for name in sheets] == ["a_cat", "b_cat", "dog"]
    assert all((tmp_path / "o" / name).is_file() for name in sheets)
    assert "relevance" not in report["images"][0]["explanations"][0]


def test_explain_options(run: Run, tiny: Path, net: list[str]) -> None:
    picture = tiny / "b/dog.png"
    result = run("explain", picture, *net, "--dtype", "float64", "--start", "one", "--target", "1", "--cmap", "hot")
    assert result.code == 0
    assert np.load("caffe2lrp-out/dog.1.npy").dtype == np.float64
    assert run("explain", picture, *net, "--layer", "conv", "--target", "7").code == 0
    assert np.load("caffe2lrp-out/dog.conv-7.npy").shape == (3, SIDE, SIDE)
    gradient = run("explain", picture, *net, "--composite", "gradient", "--target", "0")
    assert "arrived" not in gradient.out


def test_explain_draws_as_asked(run: Run, tiny: Path, net: list[str]) -> None:
    from caffe2lrp.pictures import Style

    asked = [
        "--cmap",
        "bwr",
        "--positive",
        "--percentile",
        "80",
        "--smooth",
        "0.7",
        "--alpha",
        "0.5",
        "--contours",
        "2",
    ]
    result = run("explain", tiny / "b/dog.png", *net, "--target", "2", *asked, "--json")
    (image,) = json.loads(result.out)["images"]
    files = image["explanations"][0]["files"]
    style = Style("bwr", mode="positive", percentile=80, smooth=0.7, alpha=0.5, contours=2)
    relevance = np.load(files["array"])
    np.testing.assert_array_equal(Image.open(files["heatmap"]), style.heatmap(relevance, 23 * SIDE))
    preprocessing = caffe2lrp.Preprocessing("RGB", (128,), 1 / 64, ("stretch", None))
    view = preprocessing.prepare(tiny / "b/dog.png", (1, 3, SIDE, SIDE)).view
    np.testing.assert_array_equal(Image.open(files["overlay"]), style.overlay(view, relevance, 23 * SIDE))


def test_explain_a_contrast(run: Run, tiny: Path, net: list[str]) -> None:
    dog = tiny / "b/dog.png"
    for target in ("2", "hen"):
        assert run("explain", dog, *net, "--target", target, "--out", "single").code == 0
    result = run("explain", dog, *net, "--target", "2", "--against", "hen", "--json")
    entry = json.loads(result.out)["images"][0]["explanations"][0]
    assert (entry["target"], entry["against"]) == (2, [3])
    assert entry["files"]["array"].endswith("dog.2-against-3.npy")
    assert entry["score"] == pytest.approx(entry["relevance"]["start"])
    difference = np.load("single/dog.2.npy") - np.load("single/dog.3.npy")
    np.testing.assert_allclose(np.load(entry["files"]["array"]), difference, atol=1e-5 * np.abs(difference).max())
    mean = json.loads(run("explain", dog, *net, "--target", "top2", "--against", "top3", "--json").out)
    classes = [c["index"] for c in mean["images"][0]["prediction"]["classes"][:3]]
    against = [e["against"] for e in mean["images"][0]["explanations"]]
    assert against == [[c for c in classes if c != target] for target in classes[:2]]
    assert "2 cock against 3" in run("explain", dog, *net, "--target", "2", "--against", "3").out


def test_gradients_have_no_bars_of_layers(run: Run, tiny: Path, net: list[str], tmp_path: Path) -> None:
    asked = [
        "--composite",
        "gradient",
        "--composite",
        "smoothgrad:samples=2",
        "--rule",
        "z",
        "--layers",
        "--target",
        "2",
    ]
    assert run("explain", tiny / "b/dog.png", *net, *asked, "--account").code == 0
    assert [path.name for path in (tmp_path / "caffe2lrp-out").glob("*.layers.png")] == ["dog.2.z.layers.png"]


def test_explain_inner_blobs(run: Run, tiny: Path, net: list[str]) -> None:
    asked = ["--target", "2", "--layers", "--keep", "conv", "--through", "conv", "--channel", "1", "--json"]
    result = run("explain", tiny / "b/dog.png", *net, *asked)
    assert (result.code, result.err) == (0, "")
    entry = json.loads(result.out)["images"][0]["explanations"][0]
    assert (entry["through"], entry["channels"]) == ("conv", [1])
    assert entry["score"] == pytest.approx(entry["relevance"]["start"])
    stem = "dog.2-through-conv-1."
    assert {Path(file).name.removeprefix(stem) for file in entry["files"].values()} == {
        *("heatmap.png", "overlay.png", "npy", "layers.png", "conv.channels.png", "conv.heatmap.png")
    }
    assert all(Path(file).is_file() for file in entry["files"].values())
    network = caffe2lrp.load(tiny / "deploy.prototxt", tiny / "net.caffemodel")
    x = caffe2lrp.Preprocessing("RGB", (128,), 1 / 64, ("stretch", None))(tiny / "b/dog.png", network.input_shape)
    expected = caffe2lrp.explain(network, x, 2, through="conv", channel=1).relevance[0]
    assert_same_map(np.load(entry["files"]["array"]), expected)


def test_one_bad_picture_does_not_lose_the_others(run: Run, tiny: Path, net: list[str], tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_bytes(b"no picture")
    for command in ("explain", "predict"):
        result = run(command, "bad.png", tiny / "b/dog.png", "missing.png", *net, "--json")
        report = json.loads(result.out)
        assert [Path(image["image"]).name for image in report["images"]] == ["dog.png"]
        assert [failed["image"] for failed in report["errors"]] == ["bad.png", "missing.png"]
        assert [line.split("'")[1] for line in result.err.splitlines()] == ["bad.png", "missing.png"]
        assert result.code == 2


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--rule", "epsilon:beta=1"], ["'epsilon' does not take beta; it takes epsilon"]),
        (["--rule", "epsilon:epsilon=much"], ["parameters are numbers, such as epsilon:epsilon=1"]),
        (["--rule", "epsilon:epsilon"], ["parameters are numbers"]),
        (["--rule", "epsilon", "--rule", "epsilon:epsilon=1e-6"], ["epsilon 1e-06 is given twice"]),
        (["--rule", "epsilon", "--rule", "flat", "--beta", "1"], ["'epsilon' and rule 'flat' do not take beta"]),
        (["--composite", "none.toml"], ["cannot read the composite 'none.toml'"]),
        (["--beta", "1"], ["--rule alphabeta"]),
        (["--rule", "epsilon", "--beta", "1"], ["'epsilon' does not take beta"]),
        (["--rule", "epsilom"], ["did you mean 'epsilon'"]),
        (["--composite", "nonsense"], ["no composite 'nonsense'"]),
        (["--rule", "epsilon", "--epsilon", "-1"], ["at least 0"]),
        (["--cmap", "nonsense"], ["unknown colour map"]),
        (["--percentile", "0"], ["percentile"]),
        (["--smooth", "-1"], ["smoothing"]),
        (["--contours", "99"], ["contours"]),
        (["--alpha", "2"], ["alpha"]),
        (["--target", "2", "--against", "2"], ["against itself"]),
        (["--against", "crane"], ["--against 'crane'", "4 crane; 5 crane"]),
        (["--channel", "1"], ["--through"]),
        (["--through", "conv", "--channel", "99"], ["channel 99"]),
        (["--keep", "nonsense"], ["no blob or layer 'nonsense'"]),
        (["--layers", "--no-account"], ["--no-account"]),
        (["--model", "digits"], ["--model or --prototxt"]),
        (["--target", "6"], ["from 0 to 5"]),
        (["--target", "crane"], ["4 crane; 5 crane"]),
        (["--target", "Siamees"], ["near: 1 Siamese cat"]),
        (["--layer", "nonsense"], ["no blob or layer 'nonsense'"]),
        (["--mean", "1,2"], ["2 values", "3 channel"]),
        (["--mean", "nonsense.npy"], ["nonsense.npy"]),
        (["--scale", "x"], ["--scale"]),
        (["--resize", "short 3"], ["use at least 10"]),
        (["--channels", "GRAY"], ["GRAY"]),
        (["--input-shape", "1,2"], ["(1, 2)"]),
        (["--out", "/dev/null/x"], ["/dev/null/x"]),
        (["--labels", "/dev/null"], ["0 names", "6 classes"]),
    ],
)
def test_wrong_options(run: Run, tiny: Path, net: list[str], arguments: list[str], words: list[str]) -> None:
    fails(run("explain", tiny / "b/dog.png", *net, *arguments), *words)


@pytest.mark.parametrize("command", ["explain", "predict"])
def test_missing_picture(run: Run, net: list[str], command: str) -> None:
    fails(run(command, "missing.png", *net), "missing.png")


# -- predict ---------------------------------------------------------------------------------------


def test_predict(run: Run, tiny: Path, net: list[str]) -> None:
    result = run("predict", tiny / "b/dog.png", *net, "--top", "2", "--json")
    (image,) = json.loads(result.out)["images"]
    assert len(image["classes"]) == 2
    first = image["classes"][0]
    assert first["label"] == LABELS[first["index"]]
    text = run("predict", tiny / "b/dog.png", *net, "--top", "2").out.splitlines()
    assert text[1].split() == ["probability", "class", "name"]
    assert text[2].split(maxsplit=2) == [f"{first['probability']:.4f}", str(first["index"]), first["label"]]
    assert len(text) == 4


@pytest.mark.parametrize("command", ["explain", "predict"])
def test_a_net_with_several_inputs_takes_no_pictures(run: Run, tiny: Path, command: str) -> None:
    net = tiny / "two.prototxt"
    net.write_text(
        'name: "two" input: "a" input: "b" input_dim: [1, 3, 8, 8, 1, 5, 1, 1]\n'
        'layer { name: "fa" type: "Flatten" bottom: "a" top: "fa" }\n'
        'layer { name: "fb" type: "Flatten" bottom: "b" top: "fb" }\n'
        'layer { name: "join" type: "Concat" bottom: "fa" bottom: "fb" top: "y" }\n'
    )
    result = run(command, tiny / "a/cat.png", "--prototxt", net)
    fails(result, "two has the inputs a (1, 3, 8, 8), b (1, 5, 1, 1)", "one input only", "net.forward({...})")
    assert "input: a 1x3x8x8, b 1x5x1x1" in run("inspect", net).out


def test_predict_without_softmax_and_with_several_outputs(run: Run, tiny: Path, net: list[str], tmp_path: Path) -> None:
    head, _, _ = PROTOTXT.partition('layer { name: "prob"')
    (tmp_path / "scores.prototxt").write_text(head)
    scores = run("predict", tiny / "b/dog.png", *net, "--prototxt", "scores.prototxt", "--json")
    assert "score" in json.loads(scores.out)["images"][0]["classes"][0]
    more = (
        'layer { name: "pool" type: "Pooling" bottom: "data" top: "pool" pooling_param { kernel_size: 2 stride: 2 } }'
    )
    (tmp_path / "two.prototxt").write_text(PROTOTXT + more)
    options = [option for option in net if option not in ("--labels", str(tiny / "names.txt"))]
    two = run("predict", tiny / "b/dog.png", *options, "--prototxt", "two.prototxt", "--json")
    outputs = json.loads(two.out)["images"][0]["outputs"]
    assert outputs["pool"]["shape"] == [1, 3, 5, 5]
    assert len(outputs["prob"]["values"]) == CLASSES
    assert "1x3x5x5" in run("predict", tiny / "b/dog.png", *options, "--prototxt", "two.prototxt").out
    fails(run("explain", tiny / "b/dog.png", *options, "--prototxt", "two.prototxt"), "--layer", "ip, pool")


def test_labels_beside_the_weights(run: Run, tiny: Path, tmp_path: Path) -> None:
    for name in ("deploy.prototxt", "net.caffemodel"):
        (tmp_path / name).write_bytes((tiny / name).read_bytes())
    (tmp_path / "synset_words.txt").write_bytes((tiny / "names.txt").read_bytes())
    arguments = [
        "predict",
        tiny / "b/dog.png",
        "--prototxt",
        "deploy.prototxt",
        "--weights",
        "net.caffemodel",
        "--json",
    ]
    result = run(*arguments)
    assert json.loads(result.out)["images"][0]["classes"][0]["label"] in LABELS
    assert "channels, mean, scale, resize: assumed" in result.err
    assert result.err.count("\n") == 1
    (tmp_path / "synset_words.txt").write_text("only one\n")
    assert json.loads(run(*arguments).out)["images"][0]["classes"][0]["label"] is None


def test_a_definition_has_no_weights(run: Run, tiny: Path) -> None:
    fails(run("predict", tiny / "b/dog.png", "--prototxt", tiny / "deploy.prototxt"), "holds no weights")


def test_unknown_model(run: Run, tiny: Path) -> None:
    fails(run("predict", tiny / "b/dog.png", "--model", "googlenett"), "did you mean", "bvlc_googlenet")


# -- inspect ---------------------------------------------------------------------------------------


def test_inspect(run: Run, tiny: Path) -> None:
    facts = json.loads(run("inspect", tiny / "deploy.prototxt", "--json").out)
    assert facts["inputs"] == {"data": [4, 3, SIDE, SIDE]}
    conv = facts["layers"][0]
    assert (conv["name"], conv["type"], conv["parameters"]) == ("conv", "Convolution", 4 * (27 + 1))
    assert conv["multiply_adds"] == 4 * 27 * 4 * 8 * 8
    assert (conv["file"], conv["line"]) == (str(tiny / "deploy.prototxt"), 4)
    assert facts["totals"]["parameters"] == sum(layer["parameters"] for layer in facts["layers"])
    text = run("inspect", tiny / "net.caffemodel", tiny / "deploy.prototxt", "--batch", "1").out
    assert "1x4x8x8" in text
    assert "for 1 image" in text
    assert "4x4x18x18" in run("inspect", tiny / "deploy.prototxt", "--input-shape", "4,3,20,20").out


def test_inspect_respects_the_width(run: Run, tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "50")
    table = run("inspect", tiny / "deploy.prototxt").out.split("\n\n")[1]
    assert max(map(len, table.splitlines())) <= 50
    assert "\x1b" not in table


def test_inspect_a_model_that_is_not_fetched(run: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("CAFFE2LRP_CACHE", str(tmp_path))
    result = run("inspect", "--model", "googlenet", "--json")
    assert json.loads(result.out)["totals"]["parameters"] == 6_998_552
    assert "not fetched" in result.err


def test_inspect_prints_notes(run: Run, tmp_path: Path) -> None:
    (tmp_path / "n.prototxt").write_text(PROTOTXT + 'layer { name: "a" type: "Accuracy" bottom: "prob" bottom: "l" }')
    assert "note: " in run("inspect", "n.prototxt").out


BROKEN = {
    "syntax": (PROTOTXT + "layer { name }", ["n.prototxt:9:"]),
    "unknown type": (PROTOTXT.replace('"ReLU"', '"Relu6"'), ["Relu6", "n.prototxt:6", "Known types"]),
    "unknown blob": (PROTOTXT.replace('bottom: "ip"', 'bottom: "nothing"'), ["nothing", "n.prototxt:8"]),
    "too small": (PROTOTXT.replace(f"input_dim: {SIDE}", "input_dim: 2"), ["too small", "conv"]),
    "empty": ("", ["empty"]),
}


@pytest.mark.parametrize("case", BROKEN)
def test_broken_definitions(run: Run, tmp_path: Path, case: str) -> None:
    text, words = BROKEN[case]
    (tmp_path / "n.prototxt").write_text(text)
    fails(run("inspect", "n.prototxt"), *words)


def test_broken_weights(run: Run, tiny: Path, tmp_path: Path) -> None:
    data = (tiny / "net.caffemodel").read_bytes()
    (tmp_path / "cut.caffemodel").write_bytes(data[: len(data) // 2])
    fails(run("inspect", tiny / "deploy.prototxt", "cut.caffemodel"), "cut.caffemodel")
    other = PROTOTXT.replace("num_output: 4", "num_output: 5")
    (tmp_path / "other.prototxt").write_text(other)
    fails(run("inspect", "other.prototxt", tiny / "net.caffemodel"), "conv", "shape")


def test_wrong_files(run: Run, tiny: Path) -> None:
    file = tiny / "deploy.prototxt"
    fails(run("inspect", "missing.prototxt"), "missing.prototxt")
    fails(run("inspect", tiny / "b/dog.png"), "PNG")
    fails(run("inspect", file, file), "text file")
    fails(run("inspect", file, file, file), "at most two files")
    fails(run("inspect", file, "--prototxt", file), "not both")
    fails(run("inspect", file, "--model", "digits"), "not both")
    fails(run("inspect", os.devnull), "empty")


# -- real models -----------------------------------------------------------------------------------


def test_bundled_digits(run: Run, shared: Path) -> None:
    data = np.load(shared / "data" / "mnist_test_10000.npz")
    Image.fromarray(data["x"][0]).save("digit.png")
    (image,) = json.loads(run("explain", "digit.png", "--json").out)["images"]
    assert image["prediction"]["classes"][0]["index"] == image["explanations"][0]["target"] == data["y"][0]


def test_googlenet_by_class_name(run: Run, shared: Path) -> None:
    model, photos = shared / "models" / "bvlc_googlenet", shared / "photos"
    files = ["--prototxt", model / "deploy.prototxt", "--weights", model / "bvlc_googlenet.caffemodel"]
    labels = ["--labels", shared / "data" / "synset_words.txt"]
    result = run("explain", photos / "cat1.jpg", *files, *labels, "--target", "Siamese cat", "--json")
    (image,) = json.loads(result.out)["images"]
    assert image["explanations"][0]["target"] == 284
    assert "known model bvlc_googlenet" in result.err
    answers = json.loads(run("predict", photos, *files, *labels, "--json").out)["images"]
    found = {Path(answer["image"]).stem: answer["classes"][0]["index"] for answer in answers}
    assert found == {"cat": 282, "cat1": 284, "rooster1": 7, "scooter1": 665, "space_shuttle": 812, "volcano2": 980}
