"""The command line with the bundled model: what it prints and writes, and one clear line for bad input."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from caffe2lrp.cli import app

DIGITS = Path(__file__).parents[1] / "models" / "digits"
PROTOTXT, WEIGHTS, IMAGE = DIGITS / "digits.prototxt", DIGITS / "digits.caffemodel", DIGITS / "digit_3.png"

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """Runs a command in an empty folder."""
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: CliRunner().invoke(app, [str(a) for a in arguments])


def refused(result: Result, *words: str) -> None:
    """The command failed with exit code 2 and one line that has the words, and no traceback."""
    assert result.exit_code == 2, result.output
    lines = [line for line in result.stderr.splitlines() if "error:" in line]
    assert len(lines) == 1, result.stderr
    assert "Traceback" not in result.output + result.stderr
    for word in words:
        assert word in lines[0], lines[0]


def test_explain_writes_pictures_and_raw_relevance(run: Run, tmp_path: Path) -> None:
    result = run("explain", IMAGE, DIGITS / "digit_7.png", "--rule", "epsilon", "--epsilon", "0.01", "--out", "maps")
    assert result.exit_code == 0, result.stderr
    written = sorted(path.name for path in (tmp_path / "maps").iterdir())
    assert written == sorted(
        f"digit_{d}.{d}.{kind}" for d in (3, 7) for kind in ("heatmap.png", "npy", "overlay.png", "sheet.png")
    )
    relevance = np.load(tmp_path / "maps" / "digit_3.3.npy")
    assert relevance.shape == (1, 28, 28)
    assert relevance.dtype == np.float32
    strokes = np.asarray(Image.open(IMAGE).convert("L")) > 0
    assert np.abs(relevance[0][strokes]).sum() > 0.99 * np.abs(relevance).sum() > 0
    assert Image.open(tmp_path / "maps" / "digit_3.3.sheet.png").width > 600


def test_top_targets_have_a_sheet_together(run: Run, tmp_path: Path) -> None:
    assert run("explain", IMAGE, "--target", "top2", "--out", "maps").exit_code == 0
    maps = [np.load(path) for path in sorted((tmp_path / "maps").glob("*.npy"))]
    assert len(maps) == 2
    assert np.abs(maps[0] - maps[1]).max() > 0
    assert (tmp_path / "maps" / "digit_3.top2.sheet.png").is_file()


def test_json_tells_what_the_table_tells(run: Run) -> None:
    result = run("predict", IMAGE, "--json", "--top", "3")
    classes = json.loads(result.stdout)["images"][0]["classes"]
    assert classes[0]["index"] == 3
    assert len(classes) == 3
    assert classes[0]["probability"] > 0.99


def test_the_same_model_by_its_files(run: Run) -> None:
    by_files = run("predict", IMAGE, "--prototxt", PROTOTXT, "--weights", WEIGHTS, "--json")
    bundled = run("predict", IMAGE, "--json")
    first = [json.loads(r.stdout)["images"][0]["classes"][0] for r in (by_files, bundled)]
    assert first[0]["probability"] == first[1]["probability"]


def test_inspect_counts_parameters_and_names_lines(run: Run) -> None:
    table = json.loads(run("inspect", PROTOTXT, WEIGHTS, "--json").stdout)
    text = run("inspect", PROTOTXT, WEIGHTS).stdout
    assert re.search(r"conv1/5x5 .*313,600.*15", text)
    assert "51,254 parameters" in text
    assert table


def edited(folder: Path, old: str, new: str) -> Path:
    """A copy of the bundled net definition with a change in it."""
    text = PROTOTXT.read_text()
    assert old in text
    path = folder / "edited.prototxt"
    path.write_text(text.replace(old, new, 1))
    return path


def test_missing_and_damaged_files(run: Run, tmp_path: Path) -> None:
    refused(run("predict", IMAGE, "--prototxt", "none.prototxt", "--weights", WEIGHTS), "none.prototxt")
    short = tmp_path / "short.caffemodel"
    short.write_bytes(WEIGHTS.read_bytes()[:100_000])
    refused(run("predict", IMAGE, "--prototxt", PROTOTXT, "--weights", short), "short.caffemodel", "truncated")
    noise = tmp_path / "noise.caffemodel"
    noise.write_bytes(np.random.default_rng(0).bytes(5000))
    refused(run("predict", IMAGE, "--prototxt", PROTOTXT, "--weights", noise), "noise.caffemodel")


def test_a_syntax_error_has_line_and_column(run: Run, tmp_path: Path) -> None:
    bad = edited(tmp_path, "convolution_param {", "convolution_param { num_output: : }")
    line = next(i for i, text in enumerate(bad.read_text().splitlines(), 1) if ": :" in text)
    refused(run("inspect", bad), f"edited.prototxt:{line}:")


def test_shapes_that_differ_are_both_named(run: Run, tmp_path: Path) -> None:
    bad = edited(tmp_path, "num_output: 16", "num_output: 17")
    refused(
        run("predict", IMAGE, "--prototxt", bad, "--weights", WEIGHTS), "conv1/5x5", "(17, 1, 5, 5)", "(16, 1, 5, 5)"
    )


def test_an_unknown_layer_type_is_named_with_its_line(run: Run, tmp_path: Path) -> None:
    bad = edited(tmp_path, '"LRN"', '"LRNN"')
    refused(run("inspect", bad), "LRNN", "edited.prototxt:", "Convolution", "pool1/norm1")


def test_what_is_no_image(run: Run, tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no image")
    refused(run("explain", "text.png"), "text.png")
    refused(run("explain", "missing.png"), "missing.png")


def test_a_bad_picture_does_not_lose_the_others(run: Run, tmp_path: Path) -> None:
    (tmp_path / "text.png").write_text("no image")
    refused(run("explain", "text.png", IMAGE, "--out", "maps"), "text.png")
    assert (tmp_path / "maps" / "digit_3.3.npy").is_file()


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (["--model", "googlent"], "bvlc_googlenet"),
        (["--rule", "alphabta"], "alphabeta"),
        (["--rule", "epsilon", "--composite", "epsilon_pluss"], "epsilon_plus"),
        (["--target", "10"], "10"),
        (["--rule", "alphabeta", "--beta", "-1"], "beta"),
        (["--model", "digits", "--prototxt", str(PROTOTXT)], "model"),
    ],
)
def test_options_that_cannot_be(run: Run, options: list[str], word: str) -> None:
    refused(run("explain", IMAGE, *options), word)


def test_help_has_examples(run: Run) -> None:
    for command in ("explain", "predict", "inspect"):
        result = run(command, "--help")
        assert result.exit_code == 0
        assert f"caffe2lrp {command}" in result.stdout
