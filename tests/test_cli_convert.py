"""``caffe2lrp convert`` and ``caffe2lrp diff`` as a user meets them."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

import caffe2lrp
from tests.test_cli import CLASSES, SIDE, Run, net, run, tiny  # noqa: F401  (fixtures)


@pytest.fixture
def files(tiny: Path) -> list[str]:  # noqa: F811
    return [str(tiny / "deploy.prototxt"), str(tiny / "net.caffemodel")]


def test_convert(run: Run, files: list[str]) -> None:  # noqa: F811
    done = run("convert", *files, "-o", "net.onnx")
    assert done.code == 0
    assert done.err == ""
    lines = done.out.splitlines()
    assert lines[0].startswith("net.onnx  ")
    assert lines[1] == "opset 20, batch size open"
    assert lines[-1] == "4 blobs compared, all agree (tolerance 0.0001)"
    assert any("deploy.prototxt:" in line for line in lines)
    graph = onnx.load("net.onnx").graph
    assert [node.name for node in graph.node if "/" not in node.name] == ["conv", "relu", "ip", "prob"]
    keys = {entry.key: entry.value for entry in onnx.load("net.onnx").metadata_props}
    assert [s["file"] for s in json.loads(keys["caffe2lrp.sources"])] == ["deploy.prototxt", "net.caffemodel"]
    assert "caffe2lrp.preprocessing" not in keys  # it would be a guess


def test_the_bundled_model(run: Run) -> None:  # noqa: F811
    done = run("convert", "-o", "digits.onnx", "--with-preprocessing", "--opset", 17, "--json")
    facts = json.loads(done.out)
    assert (facts["opset"], facts["batch"], facts["files"]) == (17, None, ["digits.onnx"])
    assert facts["verification"]["passed"] is True
    model = onnx.load("digits.onnx")
    assert model.opset_import[0].version == 17
    keys = {entry.key: entry.value for entry in model.metadata_props}
    assert json.loads(keys["caffe2lrp.labels"]) == [str(i) for i in range(10)]
    assert json.loads(keys["caffe2lrp.preprocessing"])["channels"] == "GRAY"
    assert len(json.loads(keys["caffe2lrp.sources"])) == 2


def test_pictures_preprocessing_and_options(run: Run, tiny: Path, net: list[str]) -> None:  # noqa: F811
    pictures = ["--image", tiny / "a/cat.png", "--image", tiny / "b"]
    for extra in ([], ["--with-preprocessing"], ["--simplify", "--fp16"], ["--batch", 3, "--threads", 1]):
        done = run("convert", *net, "-o", "net.onnx", *pictures, *extra, "--report", "proof.json")
        assert done.code == 0, done.err
        report = json.loads(Path("proof.json").read_text())
        assert report["passed"] is True
        assert [blob["blob"] for blob in report["blobs"]][-2:] == ["ip", "prob"]
    assert "batch size 3" in done.out


def test_a_conversion_that_departs(run: Run, files: list[str]) -> None:  # noqa: F811
    done = run("convert", *files, "-o", "net.onnx", "--tolerance", "0", "--report", "proof.json")
    assert done.code == 2
    assert "is the first that departs" in done.err
    assert Path("net.onnx").exists()
    report = json.loads(Path("proof.json").read_text())
    departing = [blob for blob in report["blobs"] if blob["relative"] > 0]
    assert "ip" in [blob["blob"] for blob in departing]
    # with some processors' vectors, sums of the convolution are rounded in another order, too
    first = report["first_departing"]["blob"]
    assert report["first_departing"] == departing[0]
    layer = "ip' (InnerProduct, " if first == "ip" else "conv' (Convolution, "
    assert f"error: blob '{first}' of layer '{layer}" in done.err


def test_not_verified(run: Run, files: list[str]) -> None:  # noqa: F811
    done = run("convert", *files, "-o", "net.onnx", "--no-verify")
    assert done.code == 0
    assert "not verified" in done.out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["--opset", "99"], "opset 99 cannot be written; possible: 13 to"),
        (["-o", "no/net.onnx"], "no/net.onnx: cannot write the file"),
        (["--no-verify", "--image", "x.png"], "--no-verify leaves out"),
        (["--image", "x.png"], "there is no image file 'x.png'"),
        (["--report", "no/proof.json"], "there is no such folder"),
        (["--model", "digits"], "not both"),
        (["third"], "at most two files"),
    ],
)
def test_wrong_options(run: Run, files: list[str], arguments: list[str], message: str) -> None:  # noqa: F811
    done = run("convert", *files, "-o", "net.onnx", *arguments)
    assert done.code == 2
    assert message in done.err
    assert done.out == ""
    assert not Path("net.onnx").exists()


def test_diff(run: Run, files: list[str]) -> None:  # noqa: F811
    network = caffe2lrp.load(*files)
    x = np.random.default_rng(0).normal(size=(2, 3, SIDE, SIDE)).astype(np.float32)
    Path("blobs").mkdir()
    for name, blob in {"data": x, **network.forward(x, keep="all")}.items():
        np.save(f"blobs/{name}.npy", blob)
    assert run("convert", *files, "-o", "net.onnx", "--no-verify").code == 0
    both = ",".join(files)
    for first, second in ((both, "net.onnx"), (both, "blobs"), ("blobs", "net.onnx"), (files[1], both)):
        done = run("diff", first, second)
        assert done.code == 0, done.err
        assert "all agree" in done.out
    done = run("diff", both, "net.onnx")
    assert "only in net.onnx: 1, such as ip/Flatten" in done.out
    np.save("blobs/ip.npy", np.zeros((2, CLASSES)))
    done = run("diff", both, "blobs", "--json", "--report", "out.json")
    assert done.code == 2
    assert json.loads(done.out)["first_departing"]["blob"] == "ip"
    assert json.loads(Path("out.json").read_text()) == json.loads(done.out)
    assert "blob 'ip' of layer 'ip' (InnerProduct, " in done.err
    assert run("diff", both, "blobs", "--tolerance", "1.5").code == 0


@pytest.mark.parametrize(
    ("first", "message"),
    [("none", "none: cannot read the file"), ("a,b,c", "at most two files"), (".", "there are no .npy files")],
)
def test_diff_of_what_is_not_there(run: Run, files: list[str], first: str, message: str) -> None:  # noqa: F811
    done = run("diff", first, ",".join(files))
    assert done.code == 2
    assert message in done.err


def test_a_net_with_several_inputs_and_no_weights(run: Run) -> None:  # noqa: F811
    Path("sum.prototxt").write_text("""name: "sum"
        layer { name: "in" type: "Input" top: "a" top: "b"
          input_param { shape { dim: 1 dim: 3 } shape { dim: 1 dim: 3 } } }
        layer { name: "sum" type: "Eltwise" bottom: "a" bottom: "b" top: "sum" }""")
    done = run("convert", "sum.prototxt", "-o", "sum.onnx")
    assert done.code == 0, done.err
    assert [item.name for item in onnx.load("sum.onnx").graph.input] == ["a", "b"]
    done = run("convert", "sum.prototxt", "-o", "sum.onnx", "--image", "x.png")
    assert done.code == 2
    assert "inputs" in done.err
