"""Colour maps, heat maps, overlays and sheets."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from caffe2lrp.errors import Caffe2LrpError, OptionError
from caffe2lrp.pictures import (
    COLORMAPS,
    DEFAULT_COLORMAP,
    Row,
    colormap,
    heatmap,
    normalise,
    overlay,
    save_png,
    sheet,
    to_map,
)


def relevance(height: int = 5, width: int = 7, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=(3, height, width))


# -- colour maps -----------------------------------------------------------------------------------


def ramp(t: np.ndarray, width: float) -> np.ndarray:
    return np.clip(t, 0, width) / width


def toolbox(name: str, x: np.ndarray) -> np.ndarray:
    """The formulas of the LRP Toolbox for values in [-1, 1], as fractions."""
    p, n, z = np.maximum(x, 0), np.maximum(-x, 0), np.zeros_like(x)
    planes = {
        "gray-red": (
            np.where(x >= 0, 0.8 + 0.2 * x, 0.8 + 0.8 * x),
            np.where(x >= 0, 0.8 - 0.8 * x, 0.8 + 0.8 * x),
            np.where(x >= 0, 0.8 - 0.8 * x, 0.8 - 0.2 * x),
        ),
        "gray-red2": (
            0.9 - 0.5 * ramp(p - 0.3, 0.7),
            0.9 - 0.5 * ramp(p, 0.3) - 0.4 * ramp(p - 0.3, 0.7),
            0.9 - 0.5 * ramp(p, 0.3) - 0.4 * ramp(p - 0.3, 0.7),
        ),
        "black-green": (z, p, n),
        "blue-black-yellow": (p, p, n),
        "black-firered": (
            ramp(p, 0.25) + ramp(n - 0.5, 0.5),
            ramp(p - 0.25, 0.25) + ramp(n - 0.25, 0.25),
            ramp(p - 0.5, 0.5) + ramp(n, 0.25),
        ),
    }[name]
    return np.stack(planes, axis=-1)


@pytest.mark.parametrize("name", ["gray-red", "gray-red2", "black-green", "blue-black-yellow", "black-firered"])
def test_toolbox_maps_follow_its_formulas(name: str) -> None:
    x = np.linspace(-1, 1, 401)
    expected = (toolbox(name, x) * 255 + 1e-9).astype(int)
    # Truncation may fall to either side where a formula hits a whole number.
    assert np.abs(colormap(name)(x).astype(int) - expected).max() <= 1
    assert (colormap(name)(x) == expected).mean() > 0.98


@pytest.mark.parametrize(
    ("name", "low", "zero", "high"),
    [
        ("gray", "000000", "000000", "ffffff"),
        ("wred", "ffffff", "ffffff", "ff0000"),
        ("wblue", "ffffff", "ffffff", "0000ff"),
        ("hot", "000000", "000000", "ffffff"),
        ("cold", "000000", "000000", "00ffff"),
        ("coldnhot", "00ffff", "000000", "ffffff"),
        ("bwr", "0000ff", "ffffff", "ff0000"),
        ("france", "0055a4", "ffffff", "ef4135"),
        ("seismic", "0000d0", "d0d0d0", "d00000"),
        ("coolio", "00d0d0", "d0d0d0", "d000d0"),
        ("coleus", "00d000", "d0d0d0", "d000d0"),
    ],
)
def test_zennit_maps(name: str, low: str, zero: str, high: str) -> None:
    assert [bytes(c).hex() for c in colormap(name)([-1, 0, 1])] == [low, zero, high]


@pytest.mark.parametrize("name", COLORMAPS)
def test_every_map(name: str) -> None:
    colours = colormap(name)
    x = np.linspace(-1, 1, 2001).reshape(3, 667)
    painted = colours(x)
    assert painted.shape == (3, 667, 3)
    assert painted.dtype == np.uint8
    assert colours.signed == bool((colours(-1.0) != colours(0.0)).any())
    steps = np.abs(np.diff(painted.reshape(-1, 3).astype(int), axis=0))
    assert steps.max() <= 2, "colours jump"
    np.testing.assert_array_equal(colours([-5, 5, np.inf, np.nan]), colours([-1, 1, 1, 0]))


def test_default_map_is_white_at_zero_red_above_blue_below() -> None:
    (r1, _, b1), white, (r2, _, b2) = colormap(DEFAULT_COLORMAP)([-0.5, 0, 0.5]).astype(int)
    assert white.tolist() == [255, 255, 255]
    assert b1 - r1 > 80
    assert r2 - b2 > 80


def test_matplotlib_maps() -> None:
    import matplotlib

    x = np.linspace(-1, 1, 11)
    for name in ("viridis", "matplotlib:seismic"):
        theirs = matplotlib.colormaps[name.removeprefix("matplotlib:")]((x + 1) / 2, bytes=True)[:, :3]
        assert np.abs(colormap(name)(x).astype(int) - theirs).max() <= 1
    assert colormap("seismic")(0.0).tolist() != colormap("matplotlib:seismic")(0.0).tolist()


def test_unknown_maps_suggest_near_ones() -> None:
    with pytest.raises(OptionError, match=r"did you mean .*black-firered"):
        colormap("black-fired")
    with pytest.raises(OptionError, match="viridis"):
        colormap("viridi")
    with pytest.raises(OptionError, match="blue-white-red"):
        heatmap(relevance(), "!")


def test_matplotlib_is_imported_only_when_needed() -> None:
    code = "import sys, caffe2lrp.pictures as p; p.heatmap([[1.0]]); sys.exit('matplotlib' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# -- maps ------------------------------------------------------------------------------------------


def test_joining_channels() -> None:
    r = relevance()
    np.testing.assert_allclose(to_map(r[np.newaxis]), r[0] + r[1] + r[2])
    np.testing.assert_allclose(to_map(r, "l2"), np.sqrt((r**2).sum(0)))
    np.testing.assert_allclose(to_map(r, "max"), np.abs(r).max(0))
    np.testing.assert_array_equal(to_map(r[0].astype(np.float32)), r[0].astype(np.float32))
    for wrong in (r[np.newaxis].repeat(2, 0), r[0, 0], np.zeros((3, 0, 2)), np.array([["a"]])):
        with pytest.raises(OptionError):
            to_map(wrong)
    with pytest.raises(OptionError, match="l2"):
        to_map(r, "mean")


def test_normalising() -> None:
    x = np.array([[-4.0, 0.0, 1.0, 2.0]])
    np.testing.assert_array_equal(normalise(x), [[-1, 0, 0.25, 0.5]])
    np.testing.assert_array_equal(normalise(x, "positive"), [[0, 0, 0.5, 1]])
    np.testing.assert_array_equal(normalise(x, percentile=50), [[-1, 0, 1 / 1.5, 1]])
    for wrong in ({"mode": "both"}, {"percentile": 0}, {"percentile": 101}, {"percentile": float("nan")}):
        with pytest.raises(OptionError):
            normalise(x, **wrong)


@pytest.mark.filterwarnings("error")
def test_normalising_odd_maps() -> None:
    np.testing.assert_array_equal(normalise(np.zeros((2, 3))), np.zeros((2, 3)))
    np.testing.assert_array_equal(normalise(-np.ones((2, 3)), "positive"), np.zeros((2, 3)))
    np.testing.assert_array_equal(normalise([np.nan, np.inf, -np.inf, 2, -4]), [0, 1, -1, 0.5, -1])
    np.testing.assert_array_equal(normalise([np.nan, np.inf]), [0, 1])
    np.testing.assert_array_equal(normalise([5e-324, -5e-324]), [1, -1])
    np.testing.assert_array_equal(normalise([1e308, -1e308]), [1, -1])
    sparse = np.zeros(1000)
    sparse[0] = 3
    assert normalise(sparse, percentile=99).max() == 1
    assert to_map(np.full((2, 1, 1), [[np.inf]]) * [[[1]], [[-1]]]).shape == (1, 1)


# -- pictures --------------------------------------------------------------------------------------


def test_heatmap_is_colours_of_the_normalised_map() -> None:
    r = relevance()
    picture = heatmap(r, "coldnhot", mode="positive", channels="l2", percentile=90)
    expected = colormap("coldnhot")(normalise(to_map(r, "l2"), "positive", 90))
    np.testing.assert_array_equal(np.asarray(picture), expected)
    assert picture.mode == "RGB"


def test_heatmap_size_repeats_pixels() -> None:
    r = relevance()
    small, large = np.asarray(heatmap(r)), np.asarray(heatmap(r, size=21))
    np.testing.assert_array_equal(large, small.repeat(3, 0).repeat(3, 1))
    assert heatmap(r, size=3).size == (3, 2)
    with pytest.raises(OptionError):
        heatmap(r, size=0)


@pytest.mark.parametrize("cmap", ["blue-white-red", "black-green", "hot", "coleus"])
def test_overlay_shows_photo_where_nothing_is_relevant(cmap: str) -> None:
    view = np.full((1, 4, 3), 100, np.uint8)
    view[0, 1] = 200
    out = np.asarray(overlay(view, [[0.0, 0.0, 1.0, -1.0]], cmap=cmap)).astype(int)
    assert np.ptp(out[0, :2], axis=-1).max() == 0, "no colour without relevance"
    assert out[0, 1, 0] - out[0, 0, 0] == 60, "contrast of the faded photo"
    strongest = colormap(cmap)(1.0).astype(int)
    assert np.abs(out[0, 2] - strongest).max() <= 0.1 * 255 + 1
    if cmap == "hot":
        np.testing.assert_array_equal(out[0, 3], out[0, 0])
    else:
        assert np.abs(out[0, 3] - out[0, 2]).max() > 30


def test_overlay_opacity_and_errors() -> None:
    r = relevance()
    view = np.zeros((5, 7, 3), np.uint8)
    invisible = np.asarray(overlay(view, r, alpha=0))
    np.testing.assert_array_equal(invisible, np.asarray(overlay(Image.fromarray(view), np.zeros((5, 7)))))
    with pytest.raises(OptionError, match="alpha"):
        overlay(view, r, alpha=1.5)
    with pytest.raises(OptionError, match="5 x 7"):
        overlay(np.zeros((7, 5, 3), np.uint8), r)
    for wrong in (view.astype(float), view[..., :2], view[0, 0], view[:0]):
        with pytest.raises(OptionError, match="view"):
            overlay(wrong, r)


def row(height: int = 28, width: int = 28, **text: object) -> Row:
    view = np.random.default_rng(1).integers(0, 256, (height, width, 3), np.uint8)
    return Row(view, relevance(height, width), **text)  # type: ignore[arg-type]


def test_sheet_holds_three_enlarged_panels() -> None:
    one = row(28, 28)
    page = np.asarray(sheet(one, percentile=None))
    wanted = [np.asarray(one.view), np.asarray(heatmap(one.relevance)), np.asarray(overlay(one.view, one.relevance))]
    top = next(y for y in range(100) if (page[y : y + 8, 24:32] == wanted[0][0, 0]).all())
    for i, panel in enumerate(wanted):
        left = 24 + i * (224 + 12)
        np.testing.assert_array_equal(page[top : top + 224, left : left + 224], panel.repeat(8, 0).repeat(8, 1))
    assert page.shape[1] == 2 * 24 + 3 * 224 + 2 * 12


@pytest.mark.parametrize(("height", "width"), [(1, 1), (2, 40), (40, 2), (224, 224), (900, 300)])
def test_sheet_of_any_size(height: int, width: int) -> None:
    page = np.asarray(sheet([row(height, width, label="a"), row(28, 28)]))
    assert 3 * 224 < page.shape[1] <= 3 * 512 + 100
    for edge in (page[:10], page[-10:], page[:, :10], page[:, -10:]):
        assert (edge == 255).all(), "the margin is empty"


def test_sheet_text() -> None:
    long = "tench, Tinca tinca, " * 40
    page = np.asarray(sheet(row(label=long, score=0.5, detail=long), title=long))
    assert (page[:, -23:] == 255).all(), "long text stays inside the margin"
    odd = "naïve 日本語 \u202e\ud800\0\n\t🐈 e\u0301"
    assert sheet(row(label=odd, score=float("nan"), detail=odd), title=odd).mode == "RGB"
    plain, scored = sheet(row(label="cat")), sheet(row(label="cat", score=0.25))
    assert plain.tobytes() != scored.tobytes()
    assert sheet(row(label="na\u00efve")).tobytes() == sheet(row(label="naive")).tobytes(), "accents are dropped"


def test_sheet_colour_bar() -> None:
    def distinct(page: Image.Image) -> set[tuple[int, ...]]:
        foot = np.asarray(page)[-60:].reshape(-1, 3)
        return {tuple(c) for c in foot.tolist()}

    blue, red = (tuple(c) for c in colormap("bwr")([-1, 1]).tolist())
    signed = distinct(sheet(row(), cmap="bwr"))
    positive = distinct(sheet(row(), cmap="bwr", mode="positive"))
    assert {blue, red} <= signed
    assert red in positive
    assert blue not in positive


def test_sheet_needs_rows() -> None:
    with pytest.raises(OptionError, match="row"):
        sheet([])


# -- files -----------------------------------------------------------------------------------------


def test_saved_pictures_are_deterministic(tmp_path: Path) -> None:
    a = save_png(sheet(row(label="cat"), title="t"), tmp_path / "a.png")
    b = save_png(sheet(row(label="cat"), title="t"), str(tmp_path / "b.PNG"))
    assert a.read_bytes() == b.read_bytes()
    np.testing.assert_array_equal(np.asarray(Image.open(a)), np.asarray(sheet(row(label="cat"), title="t")))


def test_unwritable_paths(tmp_path: Path) -> None:
    picture = heatmap(relevance())
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "file").touch()
    for name, message in {
        "missing/a.png": "no folder",
        "folder.png": "cannot write",
        "file/a.png": "cannot write",
        "a.jpg": "a.png",
        "a": "a.png",
        "a\0.png": "cannot write",
    }.items():
        with pytest.raises(Caffe2LrpError, match=message):
            save_png(picture, tmp_path / name)
