"""Evaluation: perturbation by hand and against a slow twin, localisation, complexity, records, and the command."""

from __future__ import annotations

import csv
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

import caffe2lrp
from caffe2lrp import Network, Preprocessing
from caffe2lrp.cli import app
from caffe2lrp.errors import FileFormatError, OptionError
from caffe2lrp.evaluation import (
    OPERATORS,
    Perturbation,
    aopc,
    curve,
    entropy,
    file_size,
    mass_accuracy,
    rank_accuracy,
    read_boxes,
    region_order,
)  # fmt: skip
from caffe2lrp.evaluation.localisation import mask_of
from caffe2lrp.evaluation.study import Settings, Store, evaluate, images_to_run
from caffe2lrp.evaluation.summary import interval, summarise
from caffe2lrp.layers.activation import ReLU
from caffe2lrp.layers.convolution import Convolution
from caffe2lrp.layers.inner_product import InnerProduct
from tests import naive
from tests.layer_cases import chain

DIGITS = Path(__file__).parents[1] / "models" / "digits"
Run = Callable[..., Result]


@pytest.fixture
def network() -> Network:
    net = chain((1, 3, 11, 14), Convolution(4, (3, 3)), ReLU(), InnerProduct(5))
    return net.describe(preprocessing=Preprocessing("RGB", (100.0, 110.0, 120.0), 1 / 64, ("stretch", None)))


@pytest.fixture
def x() -> np.ndarray:
    return np.random.default_rng(3).normal(size=(3, 11, 14)).astype(np.float32)


# -- perturbation -----------------------------------------------------------------------------------------


def test_regions_by_hand() -> None:
    relevance = np.zeros((2, 5, 7))
    relevance[0, 0, 0] = 1.0  # region 0 of 2 rows x 3 columns
    relevance[0, 2, 4], relevance[1, 3, 5] = 2.0, 1.5  # region 5
    relevance[1, 1, 2] = -1.0  # region 1
    relevance[:, 4, :] = 9.0  # beyond the grid
    relevance[:, :, 6] = 9.0
    assert region_order(relevance, 2).tolist() == [5, 0, 2, 3, 4, 1]
    assert region_order(relevance.sum(axis=0), 2).tolist() == [5, 0, 2, 3, 4, 1]
    with pytest.raises(OptionError, match="regions of 6 pixels do not fit into an image of 5 x 7"):
        region_order(relevance, 6)


@pytest.mark.parametrize("operator", OPERATORS)
@pytest.mark.parametrize("order", [None, [7, 0, 5, 11, 2, 1, 3, 4, 6, 8, 9, 10]])
def test_curves_against_a_slow_twin(network: Network, x: np.ndarray, operator: str, order: list[int] | None) -> None:
    """One image after the other, each perturbed anew from the first region to the k-th."""
    p = Perturbation(region=3, steps=9, draws=3, operator=operator, seed=5)
    assert network.preprocessing is not None
    bounds = network.preprocessing.bounds(network.input_shape)
    way = None if order is None else np.array(order)
    got = curve(network, x, 2, way, p, bounds, "y2")
    draws = 1 if order is not None and operator in ("constant", "blur", "flip") else 3
    assert got.shape == (draws, 10)
    for d in range(draws):
        rng = np.random.default_rng([5, d])
        chosen = rng.permutation(12) if order is None else order
        replaced = OPERATORS[operator](x, bounds, rng)
        for k in range(10):
            image = x.copy()
            for region in chosen[:k]:
                row, column = divmod(int(region), 4)
                for dy in range(3):
                    for dx in range(3):
                        image[:, 3 * row + dy, 3 * column + dx] = replaced[:, 3 * row + dy, 3 * column + dx]
            score = naive.forward(network, image[None].astype(np.float64))["y2"][0, 2]
            assert got[d, k] == pytest.approx(score, rel=1e-4, abs=1e-4)


def test_operators(x: np.ndarray) -> None:
    low, high = np.full_like(x, -2), np.full_like(x, 3)
    rng = np.random.default_rng(0)
    uniform = OPERATORS["uniform"](x, (low, high), rng)
    assert uniform.min() >= -2
    assert uniform.max() <= 3
    assert abs(uniform.mean() - 0.5) < 0.2
    np.testing.assert_allclose(OPERATORS["flip"](x, (low, high), rng), 1 - x)
    np.testing.assert_allclose(OPERATORS["constant"](x, (low, high), rng)[1], x[1].mean(), rtol=1e-5)
    mixed = OPERATORS["dirichlet"](x, (low, high), rng)
    for c in range(3):
        assert x[c].min() <= mixed[c].min() <= mixed[c].max() <= x[c].max()
    blurred = OPERATORS["blur"](x, (low, high), rng)
    g = np.exp(-(np.arange(-9, 10) ** 2) / 18.0)
    g /= g.sum()
    expected = sum(
        g[i] * g[j] * x[1, np.clip(4 + i - 9, 0, 10), np.clip(6 + j - 9, 0, 13)] for i in range(19) for j in range(19)
    )
    assert blurred[1, 4, 6] == pytest.approx(expected, rel=1e-4)
    flat = np.full_like(x, 2.5)
    np.testing.assert_allclose(OPERATORS["blur"](flat, (low, high), rng), flat, rtol=1e-5)


def test_aopc_by_hand() -> None:
    """1 / (L + 1) of the sum over k = 0..L: the first term is 0 and counts."""
    assert aopc(np.array([10.0, 7.0, 5.0, 5.0])) == pytest.approx((0 + 3 + 5 + 5) / 4)
    assert aopc(np.array([[10.0, 7.0], [10.0, 9.0]])) == pytest.approx((0 + 2) / 2)


@pytest.mark.parametrize("options", [{"region": 0}, {"steps": 0}, {"draws": 0}, {"operator": "nonsense"}])
def test_perturbations_that_cannot_be(options: dict) -> None:
    with pytest.raises(OptionError):
        Perturbation(**options)


# -- localisation and complexity --------------------------------------------------------------------------


def test_mass_and_rank_by_hand() -> None:
    relevance = np.array([[[4.0, -9.0, 1.0], [2.0, 0.0, 3.0]]])
    mask = np.array([[True, True, False], [False, False, True]])
    assert mass_accuracy(relevance, mask) == pytest.approx(7 / 10)
    assert rank_accuracy(relevance, mask) == pytest.approx(2 / 3)  # the best are 4, 3 and 2
    assert np.isnan(mass_accuracy(-np.ones((2, 2)), np.ones((2, 2), bool)))
    assert np.isnan(rank_accuracy(np.ones((2, 2)), np.zeros((2, 2), bool)))


VOC = """<annotation><size><width>20</width><height>10</height></size>
<object><name>cat</name><bndbox><xmin>3</xmin><ymin>2</ymin><xmax>6</xmax><ymax>5</ymax></bndbox></object>
<object><name>dog</name><bndbox><xmin>11</xmin><ymin>1</ymin><xmax>12</xmax><ymax>10.0</ymax></bndbox></object>
</annotation>"""


def test_boxes_and_masks_as_the_network_sees_them(tmp_path: Path) -> None:
    photo, boxes, mask = tmp_path / "p.png", tmp_path / "p.xml", tmp_path / "m.png"
    Image.new("RGB", (20, 10), "gray").save(photo)
    boxes.write_text(VOC)
    assert read_boxes(boxes) == [(2, 1, 6, 5), (10, 0, 12, 10)]
    drawn = np.zeros((10, 20), np.uint8)
    drawn[1:5, 2:6] = 255
    drawn[0:10, 10:12] = 1
    Image.fromarray(drawn).save(mask)
    preprocessing = Preprocessing(resize=("short", 10))
    for annotation in (boxes, mask):
        seen = mask_of(photo, annotation, preprocessing, (1, 3, 8, 8))  # the centre: rows 1..8, columns 6..13
        np.testing.assert_array_equal(seen, drawn[1:9, 6:14] > 0)
    larger = mask_of(photo, boxes, Preprocessing(resize=("short", 20)), (1, 3, 20, 40))
    np.testing.assert_array_equal(larger, np.kron(drawn > 0, np.ones((2, 2), bool)))
    Image.new("L", (19, 10)).save(mask)
    with pytest.raises(FileFormatError, match="19 x 10 pixels, its photo 20 x 10"):
        mask_of(photo, mask, preprocessing, (1, 3, 8, 8))


@pytest.mark.parametrize(
    "text",
    [
        "", "<annotation>", "<annotation/>", "no xml", VOC.replace("<xmin>3", "<xmin>three"),
        VOC.replace("xmin", "left"), VOC.replace("<xmin>3", "<xmin>9"), "<!DOCTYPE a [<!ENTITY x 'y'>]>" + VOC,
    ],
)  # fmt: skip
def test_annotations_that_are_none(tmp_path: Path, text: str) -> None:
    file = tmp_path / "a.xml"
    file.write_text(text)
    with pytest.raises(FileFormatError, match=r"a\.xml"):
        read_boxes(file)
    with pytest.raises(FileFormatError, match="cannot read"):
        read_boxes(tmp_path / "none.xml")


def test_complexity() -> None:
    rng = np.random.default_rng(0)
    flat, half, noise = np.zeros((1, 32, 32)), np.zeros((1, 32, 32)), rng.normal(size=(1, 32, 32))
    half[:, :16] = 1
    assert entropy(flat) == 0
    assert entropy(half) == pytest.approx(1)
    assert 6 < entropy(noise) <= 8
    assert file_size(flat) < file_size(half) + 20 < file_size(noise)


def test_intervals_cover_the_mean() -> None:
    rng = np.random.default_rng(1)
    covered = 0
    for _ in range(100):
        _, low, high = interval(rng.normal(2.0, 1.0, 40).tolist())
        covered += low <= 2.0 <= high
    assert 88 <= covered <= 100
    assert interval([3.0])[0] == 3.0
    assert np.isnan(interval([3.0])[1])
    assert interval([1.0, float("nan"), 3.0])[0] == 2.0


# -- records ----------------------------------------------------------------------------------------------


def settings(*names: str) -> Settings:
    methods = [caffe2lrp.composites.find(name) for name in names]
    return Settings(methods, "taylor", Perturbation(region=3, steps=4, draws=2))


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    pixels = np.random.default_rng(2).integers(0, 255, (11, 14, 3), np.uint8)
    Image.fromarray(pixels).save(tmp_path / "photo.png")
    return tmp_path / "photo.png"


def test_records_are_kept_and_not_made_twice(network: Network, photo: Path, tmp_path: Path) -> None:
    file = tmp_path / "records.jsonl"
    chosen = settings("alphabeta", "gradient")
    ran: list[int] = []
    evaluate(network, photo, None, chosen, Store(file, chosen.to_dict(network)), ran.append)
    assert sum(ran) == images_to_run(network, chosen) == 5 * (2 * 2 * 2 + 2)
    records = Store(file, chosen.to_dict(network)).records
    assert [r["method"] for r in records] == ["alphabeta", "gradient", "random"]
    text = file.read_text()
    more = settings("alphabeta", "epsilon", "gradient")
    evaluate(network, photo, None, more, Store(file, more.to_dict(network)), ran.append)
    assert file.read_text().startswith(text)
    assert [r["method"] for r in Store(file, more.to_dict(network)).records][3:] == ["epsilon"]
    other = Settings(chosen.methods, "taylor", Perturbation(region=3, steps=5, draws=2))
    with pytest.raises(OptionError, match=r"another steps \(4, not 5\).*--restart"):
        Store(file, other.to_dict(network))


def test_a_record_that_was_cut_off_is_made_again(network: Network, photo: Path, tmp_path: Path) -> None:
    file = tmp_path / "records.jsonl"
    chosen = settings("alphabeta", "gradient")
    evaluate(network, photo, None, chosen, Store(file, chosen.to_dict(network)))
    whole = file.read_text()
    file.write_text(whole[:-30])
    evaluate(network, photo, None, chosen, Store(file, chosen.to_dict(network)))
    assert file.read_text() == whole
    file.write_text("nonsense\n")
    with pytest.raises(FileFormatError, match="does not hold records"):
        Store(file, chosen.to_dict(network))


def test_records_hold_what_was_measured(network: Network, photo: Path, tmp_path: Path) -> None:
    chosen = settings("alphabeta")
    store = Store(tmp_path / "records.jsonl", chosen.to_dict(network))
    evaluate(network, photo, None, chosen, store)
    assert network.preprocessing is not None
    x = network.preprocessing(photo, network.input_shape)
    target = int(network.forward(x)["y2"].argmax())
    e = caffe2lrp.explain(network, x, target, composite="alphabeta")
    bounds = network.preprocessing.bounds(x.shape)
    order = region_order(e.relevance[0], 3)
    record, chance = store.records
    assert record["target"] == target
    for name, way in (("morf", order), ("lerf", order[::-1])):
        scores = curve(network, x[0], target, way, chosen.perturbation, bounds, "y2")
        np.testing.assert_allclose(record[name]["curve"], scores.mean(axis=0))
        assert record[name]["aopc"] == pytest.approx(aopc(scores))
    assert record["file_size"] == file_size(e.relevance[0])
    rows = {row["method"]: row for row in summarise(store.records)}
    row, other = rows["alphabeta"], rows["random"]
    assert row["abpc"][0] == pytest.approx(record["morf"]["aopc"] - record["lerf"]["aopc"])
    assert other["aopc"][0] == pytest.approx(chance["morf"]["aopc"])
    assert "abpc" not in other


# -- the command ------------------------------------------------------------------------------------------


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("COLUMNS", raising=False)  # tables for scripts are never cut
    return lambda *arguments: CliRunner().invoke(app, ["evaluate", *(str(a) for a in arguments)])


QUICK = ("--region", 4, "--steps", 6, "--draws", 2)


def test_the_command(run: Run, tmp_path: Path) -> None:
    images = [DIGITS / "digit_3.png", DIGITS / "digit_7.png"]
    methods = ["--rule", "alphabeta:beta=1", "--composite", "sensitivity"]
    result = run(*images, *methods, *QUICK, "--json")
    assert result.exit_code == 0, result.output
    report = json.loads(result.stdout)
    assert {row["method"] for row in report["methods"]} == {"alphabeta 1", "sensitivity", "random"}
    assert all(row["images"] == 2 for row in report["methods"])
    low, high = report["methods"][0]["aopc"][1:]
    assert low <= report["methods"][0]["aopc"][0] <= high
    assert [Path(f).name for f in report["files"]] == ["images.csv", "curves.csv", "curves.png"]
    rows = list(csv.DictReader((tmp_path / "evaluation" / "images.csv").open()))
    assert len(rows) == 6
    assert Image.open(tmp_path / "evaluation" / "curves.png").width > 900
    again = run(*images, *methods, *QUICK)
    assert "goes on with the 6 records" in again.stderr
    assert "alphabeta 1" in again.stdout
    assert (tmp_path / "evaluation" / "images.csv").read_text().count("\n") == 7
    fresh = run(*images, *methods, *QUICK, "--restart", "--seed", 3)
    assert fresh.exit_code == 0


def test_masks_without_perturbation(run: Run, tmp_path: Path) -> None:
    (tmp_path / "masks").mkdir()
    pixels = np.asarray(Image.open(DIGITS / "digit_3.png").convert("L"))
    Image.fromarray(np.where(pixels > 0, 255, 0).astype(np.uint8)).save(tmp_path / "masks" / "digit_3.png")
    result = run(DIGITS / "digit_3.png", "--rule", "alphabeta", "--no-perturb", "--objects", "masks", "--json")
    assert result.exit_code == 0, result.output
    (row,) = json.loads(result.stdout)["methods"]
    assert row["mass"][0] > 0.95, "relevance of a digit lies on its strokes"
    assert "aopc" not in row
    missing = run(DIGITS / "digit_4.png", "--no-perturb", "--objects", "masks", "--out", "o")
    assert missing.exit_code == 2
    assert "no boxes and no mask" in missing.stderr


def test_what_fails_does_not_lose_the_others(run: Run, tmp_path: Path) -> None:
    (tmp_path / "bad.png").write_text("no picture")
    result = run("bad.png", DIGITS / "digit_3.png", *QUICK)
    assert result.exit_code == 2
    assert "bad.png" in result.stderr
    assert "Traceback" not in result.output
    assert "epsilon_alpha2_beta1" in result.stdout
    assert run(DIGITS / "digit_3.png", "--region", 40, "--out", "p").exit_code == 2
