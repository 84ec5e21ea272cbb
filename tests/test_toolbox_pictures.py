"""The LRP Toolbox's pictures, against its formulas written out pixel by pixel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib
import numpy as np
import pytest
from PIL import Image

from caffe2lrp.errors import OptionError
from caffe2lrp.toolbox.pictures import (
    OWN_MAPS,
    aggregate,
    colours,
    demonstrator_heatmap,
    hm_to_rgb,
    paint,
    save_image,
)

R = np.random.default_rng(4).normal(0.1, 1, (5, 7))
PHOTO = np.random.default_rng(5).integers(0, 256, (5, 7, 3), np.uint8)


def cut(t: float, width: float) -> float:
    return min(max(t, 0), width) / width


def own_colour(name: str, value: float, values: np.ndarray) -> tuple[float, float, float]:
    """One pixel of the Toolbox's own maps, section 8 of its description."""
    if name == "black-firered":
        x = value / np.abs(values).max()
        return (
            cut(x, 0.25) + cut(-x - 0.5, 0.5),
            cut(x - 0.25, 0.25) + cut(-x - 0.25, 0.25),
            cut(x - 0.5, 0.5) + cut(-x, 0.25),
        )
    if name == "gray-red2":
        kept = [0.0 if v > 10 * values.var() or v < 0 else v for v in values.flat]
        x = 0.0 if value > 10 * values.var() or value < 0 else value / max(kept)
        low = 0.9 - 0.5 * cut(x, 0.3) - 0.4 * cut(x - 0.3, 0.7)
        return 0.9 - 0.5 * cut(x - 0.3, 0.7), low, low
    t = value / values.max()
    if name == "gray-red":
        t = min(max(t, -1), 1)
        return (0.8 + 0.2 * t, 0.8 - 0.8 * t, 0.8 - 0.8 * t) if value >= 0 else (0.8 + 0.8 * t,) * 2 + (0.8 - 0.2 * t,)
    if value < 0:
        return 0.0, 0.0, min(-t, 1)  # the Toolbox does not cut it
    return (0.0, t, 0.0) if name == "black-green" else (t, t, 0.0)


def expected_colours(name: str, values: np.ndarray) -> np.ndarray:
    if name in OWN_MAPS:
        return np.array([[own_colour(name, v, values) for v in row] for row in values])
    x = (values / np.abs(values).max() + 1) / 2
    return np.array([[matplotlib.colormaps[name](float(v))[:3] for v in row] for row in x])


def truncated(picture: np.ndarray) -> np.ndarray:
    return (picture * 255 + 1e-9).astype(int)


def assert_pixels(found: Image.Image, expected: np.ndarray) -> None:
    """The same pixels; rounding may fall to the other side of a whole number here and there."""
    difference = np.abs(np.asarray(found).astype(int) - truncated(expected))
    assert found.mode == "RGB"
    assert difference.max() <= 1
    assert (difference == 0).mean() > 0.95


@pytest.mark.parametrize("sign", [1, -1])
@pytest.mark.parametrize("name", [*OWN_MAPS, "afmhot", "jet", "seismic", "bwr", "viridis"])
def test_colour_maps(name: str, sign: int) -> None:
    values = R * sign
    np.testing.assert_allclose(colours(values, name), expected_colours(name, values), atol=1e-12)
    assert_pixels(paint(values, name), expected_colours(name, values))


def test_strong_negative_relevance_ends_in_full_blue() -> None:
    assert colours(np.array([[1.0, -3.0]]), "blue-black-yellow").tolist() == [[[1, 1, 0], [0, 0, 1]]]


@pytest.mark.parametrize("name", [*OWN_MAPS, "jet"])
@pytest.mark.parametrize("values", [np.zeros((2, 3)), -np.ones((2, 3)), np.full((2, 3), np.nan)])
def test_maps_without_positive_values(name: str, values: np.ndarray) -> None:
    with np.errstate(all="raise"):
        found = colours(values, name)
    assert found.shape == (2, 3, 3)
    assert np.isfinite(found).all()
    assert found.min() >= 0
    assert found.max() <= 1
    if name in ("black-green", "blue-black-yellow") and values[0, 0] < 0:
        assert (found == [0, 0, 1]).all()


@pytest.mark.parametrize("gamma", [0.5, 1, 2.2])
def test_alpha_and_overlay(gamma: float) -> None:
    photo = PHOTO / 255
    alpha = (np.maximum(R, 0) / R.max())[..., None] ** gamma
    assert_pixels(paint(R, mode="alpha", image=PHOTO, gamma=gamma), photo * alpha)
    a = (np.abs(R) / np.abs(R).max())[..., None] ** gamma
    for name in ("gray-red", "seismic"):
        expected = a * expected_colours(name, R) + (1 - a) * photo
        assert_pixels(paint(R, name, mode="overlay", image=Image.fromarray(PHOTO), gamma=gamma), expected)


def test_overlay_of_nothing_is_the_image() -> None:
    np.testing.assert_array_equal(paint(np.zeros((5, 7)), mode="overlay", image=PHOTO), PHOTO)
    assert not np.asarray(paint(np.zeros((5, 7)), mode="alpha", image=PHOTO)).any()


@pytest.mark.parametrize("size", [1, 3, 5, 7, 9])
def test_blur(size: int) -> None:
    values = np.random.default_rng(1).normal(size=(8, 11))
    small = {1: [1], 3: [0.25, 0.5, 0.25], 5: [0.0625, 0.25, 0.375, 0.25, 0.0625]}
    small[7] = [0.03125, 0.109375, 0.21875, 0.28125, 0.21875, 0.109375, 0.03125]
    half = size // 2
    sigma = 0.3 * ((size - 1) * 0.5 - 1) + 0.8
    weights = small.get(size) or [np.exp(-(d**2) / (2 * sigma**2)) for d in range(-half, half + 1)]
    weights = np.array(weights) / np.sum(weights)
    sharp, expected = expected_colours("jet", values), np.zeros((8, 11, 3))
    for y in range(8):
        for x in range(11):
            for i, wy in enumerate(weights):
                for j, wx in enumerate(weights):
                    v, u = abs(y + i - half), abs(x + j - half)
                    expected[y, x] += wy * wx * sharp[min(v, 14 - v), min(u, 20 - u)]
    assert_pixels(paint(values, "jet", blur=size), expected)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"cmap": "nonsense"}, "unknown colour map"),
        ({"mode": "multiply"}, "unknown mode 'multiply'; possible: normal, alpha, overlay"),
        ({"mode": "alpha"}, "needs the image"),
        ({"mode": "overlay", "image": PHOTO[:4]}, "use what the net saw"),
        ({"mode": "alpha", "image": PHOTO, "gamma": -1.0}, "gamma must be at least 0"),
        ({"blur": 4}, "blur must be 0 or an odd number"),
        ({"blur": 11}, "blur must be 0 or an odd number"),
        ({"blur": -1}, "blur must be 0 or an odd number"),
    ],
)
def test_options_that_cannot_be_used(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(OptionError, match=message):
        paint(R, **changes)


def test_channels_are_joined_before() -> None:
    with pytest.raises(OptionError, match="join its channels"):
        paint(R[np.newaxis])
    relevance = np.random.default_rng(3).normal(size=(3, 5, 7))
    np.testing.assert_allclose(aggregate(relevance), relevance[0] + relevance[1] + relevance[2])
    np.testing.assert_allclose(aggregate(relevance, "l2"), np.linalg.norm(relevance, axis=0))
    np.testing.assert_allclose(aggregate(relevance, "linf"), np.linalg.norm(relevance, ord=np.inf, axis=0))
    with pytest.raises(OptionError, match="possible: sum, l2, linf"):
        aggregate(relevance, "max")


# -- demonstrators -------------------------------------------------------------------------------------


@pytest.mark.parametrize("shift", [0.3, -1.0])
def test_demonstrator_heatmap(shift: float) -> None:
    relevance = np.random.default_rng(2).normal(shift, 1, (3, 5, 7))
    v = relevance.sum(axis=0) / 3
    m = max(0.0, v.max())
    expected = np.zeros((5, 7, 3))
    for place, value in np.ndenumerate(v):
        if m > 0:
            expected[place] = (value / m, value / m, 0) if value >= 0 else (0, 0, min(1, -value / m))
    found = np.asarray(demonstrator_heatmap(relevance))
    np.testing.assert_array_equal(found, np.rint(expected * 255))


def test_demonstrator_heatmap_is_black_if_nothing_is_positive() -> None:
    assert not np.asarray(demonstrator_heatmap(-np.ones((3, 2, 2)))).any()


# -- render.py -----------------------------------------------------------------------------------------


def test_hm_to_rgb_enlarges_and_colours() -> None:
    found = hm_to_rgb(R)
    assert found.shape == (15, 21, 3)
    for name in ("jet", "gray-red2"):
        expected = np.kron(expected_colours(name, R), np.ones((2, 2, 1)))
        np.testing.assert_allclose(hm_to_rgb(R, scaling=2, cmap=name), expected, atol=1e-12)
    np.testing.assert_array_equal(hm_to_rgb(R.ravel(), shape=(5, 7)), found)
    square = np.arange(9.0)
    np.testing.assert_array_equal(hm_to_rgb(square), hm_to_rgb(square.reshape(3, 3)))
    fractions = np.array([[0.0, 0.3], [0.5, 1.0]])
    expected = matplotlib.colormaps["jet"](fractions)[..., :3]
    np.testing.assert_allclose(hm_to_rgb(fractions, scaling=1, normalize=False), expected)


def test_hm_to_rgb_blackens_edges() -> None:
    feature = pytest.importorskip("skimage.feature")
    x = np.zeros((12, 16))
    x[3:9, 4:12] = 1
    values = np.random.default_rng(0).normal(size=x.shape)
    plain, outlined = hm_to_rgb(values, scaling=3), hm_to_rgb(values, x, scaling=3, sigma=2)
    edges = feature.canny(np.kron(x, np.ones((3, 3))), sigma=2)
    assert 60 < edges.sum() < 200  # once around a rectangle of 18 x 24
    assert not outlined[edges].any()
    np.testing.assert_array_equal(outlined[~edges], plain[~edges])


def test_hm_to_rgb_says_what_does_not_fit() -> None:
    with pytest.raises(OptionError, match="makes no picture"):
        hm_to_rgb(np.arange(10.0))
    with pytest.raises(OptionError, match="makes no picture"):
        hm_to_rgb(R, shape=(5, 6))
    with pytest.raises(OptionError, match="the input gives"):
        hm_to_rgb(R, np.zeros((4, 7)))
    with pytest.raises(OptionError, match="scaling must be"):
        hm_to_rgb(R, scaling=0)


def test_save_image_joins_with_black_gaps(tmp_path: Path) -> None:
    a, b = hm_to_rgb(R, scaling=1), hm_to_rgb(R[:, :4], scaling=1)
    joined = save_image([a, b], tmp_path / "a.png")
    np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / "a.png")), joined)
    expected = np.concatenate([truncated(a), np.zeros((5, 2, 3)), truncated(b)], axis=1)
    np.testing.assert_array_equal(joined, expected)
    for wrong in ([], [a, a[:4]], [a[..., 0]]):
        with pytest.raises(OptionError, match="can be joined"):
            save_image(wrong, tmp_path / "b.png")
