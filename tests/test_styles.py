"""How maps are drawn: smoothed, as contours, in grids, as bars, and in notebooks."""

from __future__ import annotations

import io
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from PIL import Image

import caffe2lrp
from caffe2lrp.conservation import Account, Entry
from caffe2lrp.errors import OptionError
from caffe2lrp.explanation import Explanation
from caffe2lrp.pictures import Style, bars, channel_bars, colormap, grid, heatmap, layer_bars, overlay, sheet, smoothed
from caffe2lrp.pictures.bars import AGAINST, FOR, channel_sums, strongest_channels
from caffe2lrp.pictures.contours import levels
from caffe2lrp.pictures.explained import caption
from caffe2lrp.pictures.sheet import Row

# -- zennit's maps between their named colours ------------------------------------------------------------------

NODES = {
    "hot": (0, "000 f00 ff0 fff"),
    "cold": (0, "000 00f 0ff"),
    "gray": (0, "000 fff"),
    "wred": (0, "fff f00"),
    "wblue": (0, "fff 00f"),
    "bwr": (-1, "00f fff", "fff f00"),
    "coldnhot": (-1, "0ff 00f 000", "000 f00 ff0 fff"),
}


@pytest.mark.parametrize("name", NODES)
def test_colours_are_spread_evenly(name: str) -> None:
    low, *parts = NODES[name]
    for start, part in zip(range(int(low), 1), parts, strict=True):
        colours = [[17 * int(c, 16) for c in colour] for colour in part.split()]
        x = np.linspace(start, start + 1, 101)
        places = np.linspace(start, start + 1, len(colours))
        expected = np.stack([np.interp(x, places, plane) for plane in np.transpose(colours)], axis=-1)
        np.testing.assert_allclose(colormap(name)(x), np.floor(expected + 1e-6), atol=1)


# -- smoothing --------------------------------------------------------------------------------------------------


def test_smoothing_by_hand() -> None:
    single = np.zeros((1, 9))
    single[0, 4] = 1
    w = np.exp(-0.5 * np.arange(-2, 3) ** 2 / 0.25)  # sigma 0.5 reaches 2 pixels
    np.testing.assert_allclose(smoothed(single, 0.5)[0, 2:7], w / w.sum())
    corner = np.array([[1.0, 0, 0, 0]])
    mirrored = (w[2] + w[1], w[3] + w[4], w[4], 0)
    np.testing.assert_allclose(smoothed(corner, 0.5)[0] * w.sum(), [mirrored[0], w[3] + w[4], w[4], 0], atol=1e-12)


def test_smoothing_is_that_of_scipy_and_keeps_the_sum() -> None:
    ndimage = pytest.importorskip("scipy.ndimage")
    x = np.random.default_rng(0).normal(size=(5, 7))
    for sigma in (0.3, 1.0, 2.5, 9.0):  # also where the Gaussian is wider than the map
        np.testing.assert_allclose(smoothed(x, sigma), ndimage.gaussian_filter(x, sigma, mode="reflect"), atol=1e-12)
        np.testing.assert_allclose(smoothed(x, sigma).sum(), x.sum())


def test_smoothing_odd_maps() -> None:
    x = np.array([[1.0, np.nan], [np.inf, 2.0]])
    np.testing.assert_array_equal(smoothed(x, 0), x)
    np.testing.assert_allclose(smoothed(x, 1.0).sum(), 3)
    for wrong in (-1.0, np.nan, np.inf):
        with pytest.raises(OptionError, match="smoothing"):
            smoothed(x, wrong)


# -- contours ---------------------------------------------------------------------------------------------------


def test_levels() -> None:
    assert levels(3, False) == [0.25, 0.5, 0.75]
    assert levels(1, True) == [-0.5, 0.5]
    for wrong in (0, -1, 33):
        with pytest.raises(OptionError, match="contours"):
            levels(wrong, True)


def test_contours_lie_where_relevance_has_their_value() -> None:
    view = np.full((9, 21, 3), 128, np.uint8)
    ramp = np.tile(np.linspace(-1, 1, 21), (9, 1))  # column k is (k - 10) / 10
    drawn = np.asarray(overlay(view, ramp, 1.0, contours=1, size=840)).astype(int)
    assert drawn.shape == (360, 840, 3)
    painted = np.flatnonzero((drawn[180] != 128).any(axis=-1))
    middles = [(5 + 0.5) * 40, (15 + 0.5) * 40]  # -0.5 and 0.5, in the middles of their columns
    assert np.abs(painted[:, np.newaxis] - middles).min(axis=1).max() <= 6, "nothing else is drawn"
    left, right = (drawn[180, int(x)] for x in middles)
    np.testing.assert_allclose(left, colormap("blue-white-red")(-0.7), atol=3)
    np.testing.assert_allclose(right, colormap("blue-white-red")(0.7), atol=3)


def test_contours_keep_the_photo() -> None:
    view = np.random.default_rng(0).integers(0, 256, (5, 7, 3), np.uint8)
    relevance = np.random.default_rng(1).normal(size=(3, 5, 7))
    np.testing.assert_array_equal(np.asarray(overlay(view, relevance, 0.0, contours=3)), view)
    np.testing.assert_array_equal(np.asarray(overlay(view, np.zeros((5, 7)), contours=3)), view)
    assert (np.asarray(overlay(view, relevance, contours=3)) != view).any()
    negative = -np.abs(relevance.sum(axis=0))
    np.testing.assert_array_equal(np.asarray(overlay(view, negative, mode="positive", contours=2)), view)
    line = np.asarray(overlay(view[:1], relevance[:, :1], contours=2))
    np.testing.assert_array_equal(line, view[:1])


# -- styles -----------------------------------------------------------------------------------------------------


def test_a_style_is_the_same_everywhere() -> None:
    view = np.random.default_rng(0).integers(0, 256, (14, 21, 3), np.uint8)
    relevance = np.random.default_rng(1).normal(size=(3, 14, 21))
    style = Style("hot", mode="positive", percentile=90, smooth=1.5, alpha=0.4)
    heat = heatmap(relevance, "hot", mode="positive", percentile=90, smooth=1.5)
    np.testing.assert_array_equal(np.asarray(style.heatmap(relevance)), np.asarray(heat))
    page = np.asarray(sheet(Row(view, relevance), **style.keywords()))
    for panel in (style.heatmap(relevance, 231), style.overlay(view, relevance, 231)):
        wanted = np.asarray(panel)
        assert wanted.shape == (154, 231, 3)
        views = np.lib.stride_tricks.sliding_window_view(page, wanted.shape)[:, :, 0]
        corner = (views[..., :3, :3, :] == wanted[:3, :3]).all(axis=(-3, -2, -1))
        assert any((views[y, x] == wanted).all() for y, x in np.argwhere(corner)), "on the sheet as it is"


@pytest.mark.parametrize(
    "wrong",
    [{"cmap": "x"}, {"mode": "x"}, {"percentile": 0}, {"smooth": -1}, {"alpha": 2}, {"contours": -1}, {"contours": 99}],
)
def test_styles_are_checked_before_the_work(wrong: dict[str, Any]) -> None:
    with pytest.raises(OptionError):
        Style(**wrong).check()
    Style().check()


# -- grids and bars ---------------------------------------------------------------------------------------------


def test_a_grid_holds_its_pictures() -> None:
    pictures = [Image.new("RGB", (30 + n, 20 + n), (200, n, 0)) for n in range(5)]
    page = np.asarray(grid(pictures, [[f"number {n}", "detail"] for n in range(5)], columns=3, title="five"))
    corners = []
    for n, picture in enumerate(pictures):
        ys, xs = np.nonzero((page == (200, n, 0)).all(axis=-1))
        assert (np.ptp(xs) + 1, np.ptp(ys) + 1) == picture.size
        corners.append((int(xs.min()), int(ys.min())))
    (x0, y0), (x1, y1), (x2, _), (x3, y3), _ = corners
    assert (y0, x3) == (y1, x0)
    assert x1 - x0 == x2 - x1 == 34 + 12
    assert y3 > y0 + 22
    assert (page[y0 + 24 : y3 - 2, x0 : x0 + 30] < 128).any(), "a caption between the rows"


def test_grids_that_cannot_be() -> None:
    picture = Image.new("RGB", (3, 2))
    for arguments in (([], []), ([picture], []), ([picture], [["a"], ["b"]])):
        with pytest.raises(OptionError):
            grid(*arguments)
    with pytest.raises(OptionError, match="column"):
        grid([picture], [["a"]], columns=0)


def test_channels_by_hand() -> None:
    relevance = np.array([[[1.0, 2]], [[-5, 1]], [[0, 3]], [[0.5, 0]]])
    assert channel_sums(relevance).tolist() == [3, -4, 3, 0.5]
    assert strongest_channels(relevance, 3) == [1, 0, 2]
    assert channel_bars(relevance, 2).mode == "RGB"


def colour(text: str) -> list[int]:
    return list(bytes.fromhex(text[1:]))


def test_bars_have_the_length_of_their_values() -> None:
    page = np.asarray(bars(["a", "b", "c"], [4.0, -2.0, 1.0], "title")).astype(int)
    red = (page == colour(FOR)).all(axis=-1).sum(axis=1)
    blue = (page == colour(AGAINST)).all(axis=-1).sum(axis=1)
    lengths = [int(red[: np.flatnonzero(blue)[0]].max()), int(blue.max()), int(red[np.flatnonzero(blue)[-1] :].max())]
    np.testing.assert_allclose(np.array(lengths) / lengths[0], [1, 1 / 2, 1 / 4], atol=0.02)
    with pytest.raises(OptionError):
        bars([], [])
    with pytest.raises(OptionError):
        bars(["a"], [1.0, 2.0])


def test_layers_without_rules_have_no_bars() -> None:
    relu = Entry("relu", "ReLU", "", 1, 1, 0, 0, 0)
    with pytest.raises(OptionError):
        layer_bars(Account(1, (relu,), 1))
    one = layer_bars(Account(1, (relu, Entry("fc", "InnerProduct", "z", 1, 0.5, 0.5, 0, 0)), 0.5))
    two = layer_bars(Account(1, (Entry("a", "InnerProduct", "z", 1, 1, 0, 0, 0),) * 2, 1))
    assert one.height < two.height


# -- notebooks --------------------------------------------------------------------------------------------------


def explanation(count: int = 1, **changes: Any) -> Explanation:
    relevance = np.random.default_rng(0).normal(size=(count, 3, 5, 7))
    made = Explanation(
        relevance=relevance,
        score=np.arange(1.0, count + 1),
        target=[[n % 3] for n in range(count)],
        outputs=np.zeros((count, 3)),
        rule="epsilon 1",
    )
    return replace(made, **changes)


def test_an_explanation_draws_itself() -> None:
    e = explanation()
    np.testing.assert_array_equal(np.asarray(e.heatmap()), np.asarray(heatmap(e.relevance, percentile=99.5)))
    assert e.heatmap(cmap="hot", smooth=1, size=70).size == (70, 50)
    batch = explanation(3)
    np.testing.assert_array_equal(
        np.asarray(batch.heatmap(1, cmap="bwr")), np.asarray(heatmap(batch.relevance[1], "bwr", percentile=99.5))
    )
    page = batch.heatmap()
    assert page.width == 3 * 224 + 2 * 12 + 2 * 24
    for wrong in (3, -4):
        with pytest.raises(OptionError, match="from 0 to 2"):
            batch.heatmap(wrong)


def test_notebooks_show_a_picture_with_its_caption() -> None:
    def shown(e: Explanation) -> Image.Image:
        data = e._repr_png_()
        assert data is not None
        return Image.open(io.BytesIO(data))

    assert shown(explanation()).width == 448 + 48
    few, many = shown(explanation(16)), shown(explanation(40))
    assert many.width == few.width
    assert 0 < many.height - few.height < 60, "16 of 40, with a title that says so"
    assert explanation(relevance=np.zeros((2, 4)))._repr_png_() is None
    with pytest.raises(OptionError, match="no heat map"):
        explanation(relevance=np.zeros((2, 4))).heatmap()


def test_captions() -> None:
    e = explanation(2)
    assert caption(e, 1) == ["target 1", "score 2.000, epsilon 1"]
    e = explanation(2, labels=["cat", "dog", "2"], target=[[0, 2], [1]], against=[[1], []])
    assert caption(e, 0)[0] == "0 cat + class 2 against 1 dog"
    assert caption(e, 1)[0] == "1 dog"
    assert caption(explanation(target=[list(range(9))]), 0)[0] == "9 values together"
    assert caption(explanation(target=[[], []]), 0) == ["epsilon 1"]


def test_labels_come_from_the_network() -> None:
    from caffe2lrp.layers.inner_product import InnerProduct
    from tests.layer_cases import chain

    network = chain((1, 3, 5, 7), InnerProduct(4), InnerProduct(2))
    network.labels = ("cat", "dog")
    x = np.ones((1, 3, 5, 7))
    assert caffe2lrp.explain(network, x, 1).labels == ("cat", "dog")
    assert caffe2lrp.explain(network, x, 1, layer="y0").labels is None
