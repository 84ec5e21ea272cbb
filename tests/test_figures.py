"""Figures of the parameter study: settings, maps, files, and what happens where nets or photos are missing."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from PIL import Image
from typer.testing import CliRunner, Result

import caffe2lrp
from caffe2lrp import figures, toolbox
from caffe2lrp.cli import app
from caffe2lrp.errors import OptionError
from caffe2lrp.models import zoo
from tests.maps import assert_same_map

DIGITS = Path(__file__).parents[1] / "models" / "digits"
Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs the command in an empty folder, with an empty cache of models."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COLUMNS", raising=False)  # tables for scripts are never cut
    monkeypatch.setenv("CAFFE2LRP_CACHE", str(tmp_path / "cache"))
    return lambda *arguments: CliRunner().invoke(app, ["figures", *(str(a) for a in arguments)])


def test_the_settings_of_the_study() -> None:
    clean = figures.columns("parameters", "clean")
    assert [c.options.get("epsilon", c.options.get("beta")) for c in clean] == [0.01, 1, 100, 0, 1, 2]
    assert {c.options["lrn"] for c in clean} == {"taylor"}
    theirs = figures.columns("parameters", "toolbox")
    assert [c.options["formula"] for c in theirs] == [0, 0, 0, 2, 2, 2]
    assert [c.title for c in theirs] == [c.title for c in clean]
    assert {c.options["lrn"] for c in figures.columns("lrn", "clean")} == {"identity", "taylor", "toolbox"}
    assert [c.options["lrn_backward_type"] for c in figures.columns("lrn", "toolbox")] == [0, 1, 0, 1]
    assert [c.options["formula"] for c in figures.columns("methods", "toolbox")] == [99, 26, 166, 100]
    with pytest.raises(OptionError, match="no sheet 'rules'"):
        figures.columns("rules", "clean")
    with pytest.raises(OptionError, match="no mode 'new'"):
        figures.columns("lrn", "new")


@pytest.mark.parametrize("mode", figures.MODES)
@pytest.mark.parametrize("sheet", figures.SHEETS)
def test_maps_are_those_of_explain(mode: str, sheet: str) -> None:
    network = zoo.load("digits")
    path = DIGITS / "digit_3.png"
    columns = figures.columns(sheet, mode)
    made = figures.compute(network, sheet, mode, columns, [path])
    (photo,) = made.photos
    assert (photo.target, photo.label) == (3, "3")
    assert network.preprocessing is not None
    x = network.preprocessing(path, network.input_shape)
    explain = caffe2lrp.explain if mode == "clean" else toolbox.explain
    for column, values in zip(columns, photo.maps, strict=True):
        expected = explain(network, x, 3, **column.options)
        assert_same_map(values, expected.relevance[0].sum(axis=0))
    assert photo.score == pytest.approx(explain(network, x, 3, **columns[-1].options).outputs[0, 3], rel=1e-6)


def test_the_bundled_model_needs_nothing_and_gives_the_same_bytes(run: Run, tmp_path: Path) -> None:
    first = run("--out", "one", "--sheet", "parameters", "--json")
    assert first.exit_code == 0, first.output
    (made,) = json.loads(first.stdout)["figures"]
    assert [Path(f).name for f in made["files"]] == [f"digits-parameters-clean.{e}" for e in ("png", "pdf", "json")]
    assert run("--out", "two", "--sheet", "parameters").exit_code == 0
    for file in sorted((tmp_path / "one").iterdir()):
        assert file.read_bytes() == (tmp_path / "two" / file.name).read_bytes(), file.name
    picture = Image.open(tmp_path / "one" / "digits-parameters-clean.png")
    assert picture.width > 2400
    assert (tmp_path / "one" / "digits-parameters-clean.pdf").read_bytes().startswith(b"%PDF-")
    report = json.loads((tmp_path / "one" / "digits-parameters-clean.json").read_text())
    assert [p["class"] for p in report["photos"]] == [2, 3, 4, 5, 7, 8]
    assert report["columns"][3] == {"title": "β = 0", "options": {"rule": "alphabeta", "beta": 0.0, "lrn": "taylor"}}
    assert report["weights sha256"] == hashlib.sha256((DIGITS / "digits.caffemodel").read_bytes()).hexdigest()
    for setting in ("epsilon 0.01", "epsilon 100", "beta 2", "lrn taylor", "percentile 99.5"):
        assert setting in report["caption"]


def test_nets_that_are_missing_are_named(run: Run, tmp_path: Path) -> None:
    result = run(DIGITS / "digit_3.png", "--no-download", "--sheet", "methods", "--as", "toolbox")
    assert result.exit_code == 0, result.output
    for name in ("bvlc_reference_caffenet", "bvlc_googlenet", "places205_alexnet", "places205_googlenet"):
        (line,) = [line for line in result.stderr.splitlines() if f"{name} is left out" in line]
        assert ".caffemodel" in line
        assert str(tmp_path / "cache" / name) in line
    assert "bundled digits" in result.stderr
    assert (tmp_path / "figures" / "digits-methods-toolbox.pdf").is_file()


def test_photos_that_are_missing_or_bad(run: Run, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_text("no picture")
    result = run("bad.png", DIGITS / "digit_3.png", "--model", "digits", "--sheet", "methods")
    assert result.exit_code == 2
    assert "bad.png" in result.stderr
    assert (tmp_path / "figures" / "digits-methods-clean.png").is_file(), "the other photo is not lost"
    result = run("bad.png")
    assert result.exit_code == 2
    assert "Traceback" not in result.output
    result = run("--prototxt", DIGITS / "digits.prototxt", "--weights", DIGITS / "digits.caffemodel")
    assert result.exit_code == 2
    assert "give photos for digits" in result.stderr


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (["--model", "digitz"], "did you mean"),
        (["--model", "digits", "--weights", "x.caffemodel"], "not both"),
        (["--cmap", "nonsense"], "unknown colour map"),
        (["--out", str(DIGITS / "digit_3.png")], "cannot make the folder"),
    ],
)
def test_options_that_cannot_be(run: Run, options: list[str], word: str) -> None:
    result = run(*options)
    assert result.exit_code == 2
    assert word in result.stderr
    assert "Traceback" not in result.output


def test_real_photos(shared: Path, run: Run, tmp_path: Path) -> None:
    """A net of one's own, with LRN layers, on a photo; the margin and the file tell the class."""
    folder = shared / "models" / "bvlc_googlenet"
    files = ["--prototxt", folder / "deploy.prototxt", "--weights", folder / "bvlc_googlenet.caffemodel"]
    names = ["--labels", shared / "data" / "synset_words.txt"]
    result = run(shared / "photos" / "cat1.jpg", *files, *names, "--as", "toolbox", "--sheet", "lrn")
    assert result.exit_code == 0, result.output
    report = json.loads((tmp_path / "figures" / "bvlc_googlenet-lrn-toolbox.json").read_text())
    assert report["photos"][0]["label"] == "Siamese cat, Siamese"
    assert report["preprocessing"]["resize"] == "long 256"
