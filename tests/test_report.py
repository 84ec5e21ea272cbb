"""Reports: one HTML file that holds everything, safely."""

from __future__ import annotations

import base64
import io
import re
import shutil
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

import caffe2lrp
from caffe2lrp.cli import app
from caffe2lrp.models import zoo
from caffe2lrp.pictures import heatmap

DIGITS = Path(__file__).parents[1] / "models" / "digits"
Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COLUMNS", raising=False)  # tables for scripts are never cut
    return lambda *arguments: CliRunner().invoke(app, ["report", *(str(a) for a in arguments)])


class Reader(HTMLParser):
    """Tags in order, images, and text; complains about tags that are not closed."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.images: list[dict[str, str | None]] = []
        self.words = ""
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag == "img":
            self.images.append(dict(attrs))
        if tag not in ("img", "meta", "br"):
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words += data


def decoded(source: str | None) -> np.ndarray:
    assert source is not None
    head, _, body = source.partition(",")
    assert head == "data:image/png;base64"
    return np.asarray(Image.open(io.BytesIO(base64.b64decode(body))))


def test_a_report_holds_everything(run: Run, tmp_path: Path) -> None:
    asked = ["--target", "top2", "--rule", "epsilon:epsilon=0.5", "--composite", "sensitivity", "--out", "r.html"]
    result = run(DIGITS / "digit_3.png", DIGITS / "digit_7.png", *asked)
    assert result.exit_code == 0, result.output
    assert result.stdout.strip() == "r.html"
    text = (tmp_path / "r.html").read_text("utf-8")
    assert re.findall(r'(?:src|href)="(?!data:|#)', text) == [], "nothing is fetched"
    page = Reader(text)
    assert len(page.images) == 2 * (1 + 2 * 2 * 2)
    network = zoo.load("digits")
    assert network.preprocessing is not None
    x = network.preprocessing(DIGITS / "digit_3.png", network.input_shape)
    e = caffe2lrp.explain(network, x, 3, rule="epsilon", epsilon=0.5, account=True)
    np.testing.assert_array_equal(decoded(page.images[1]["src"]), np.asarray(heatmap(e.relevance, percentile=99.5)))
    assert e.account is not None
    for words in ("epsilon 0.5", "sensitivity", "class 3", f"{e.account.arrived:.4g}", "conv1/5x5 (Convolution)"):
        assert words in page.words, words


def test_a_report_contrasts_classes(run: Run, tmp_path: Path) -> None:
    asked = ["--target", "3", "--against", "top3", "--rule", "epsilon:epsilon=0.5", "--out", "r.html"]
    assert run(DIGITS / "digit_3.png", *asked).exit_code == 0
    page = Reader((tmp_path / "r.html").read_text("utf-8"))
    network = zoo.load("digits")
    assert network.preprocessing is not None
    x = network.preprocessing(DIGITS / "digit_3.png", network.input_shape)
    session = caffe2lrp.Session(network, x)
    others = [int(c) for c in session.explain(3).outputs[0].argsort()[::-1][:3] if c != 3]
    e = session.explain(3, against=others, rule="epsilon", epsilon=0.5)
    np.testing.assert_array_equal(decoded(page.images[1]["src"]), np.asarray(heatmap(e.relevance, percentile=99.5)))
    title = f"class 3 against class {others[0]} and class {others[1]}"
    for words in (title, f"score {e.score[0]:.4g}", "less that of top3"):
        assert words in page.words, words


def test_names_are_text_and_not_markup(run: Run, tmp_path: Path) -> None:
    name = "<script>alert('x')</script> & \"q\".png".replace("/", "_")
    shutil.copy(DIGITS / "digit_3.png", tmp_path / name)
    assert run(tmp_path / name, "--out", "r.html").exit_code == 0
    text = (tmp_path / "r.html").read_text("utf-8")
    assert "<script>" not in text
    assert name in Reader(text).words


def test_a_picture_that_fails_does_not_lose_the_others(run: Run, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_text("no picture")
    result = run("bad.png", DIGITS / "digit_3.png")
    assert result.exit_code == 2
    assert "bad.png" in result.stderr
    assert "digit_3.png" in (tmp_path / "report.html").read_text("utf-8")


@pytest.mark.parametrize(
    ("options", "word"),
    [
        (["--out", "report.pdf"], "report.html"),
        (["--out", "none/r.html"], "cannot write"),
        (["--cmap", "x"], "colour map"),
        (["--target", "3", "--against", "3"], "against itself"),
    ],
)
def test_options_that_cannot_be(run: Run, options: list[str], word: str) -> None:
    result = run(DIGITS / "digit_3.png", *options)
    assert result.exit_code == 2
    assert word in result.stderr
    assert "Traceback" not in result.output


def test_maps_are_drawn_as_asked(run: Run, tmp_path: Path) -> None:
    from caffe2lrp.pictures import Style

    asked = ["--cmap", "hot", "--positive", "--percentile", "90", "--smooth", "1", "--contours", "2", "--alpha", "0.5"]
    assert run(DIGITS / "digit_3.png", "--target", "3", *asked).exit_code == 0
    page = Reader((tmp_path / "report.html").read_text("utf-8"))
    network = zoo.load("digits")
    assert network.preprocessing is not None
    prepared = network.preprocessing.prepare(DIGITS / "digit_3.png", network.input_shape)
    session = caffe2lrp.Session(network, prepared.blob)
    with session.values():  # the page has scores of classes before it has maps
        pass
    relevance = session.explain(3).relevance[0]
    style = Style("hot", mode="positive", percentile=90, smooth=1, alpha=0.5, contours=2)
    np.testing.assert_array_equal(decoded(page.images[1]["src"]), np.asarray(style.heatmap(relevance)))
    np.testing.assert_array_equal(decoded(page.images[2]["src"]), np.asarray(style.overlay(prepared.view, relevance)))
    assert "percentile 90 of each picture, smoothed by 1 pixels" in page.words
