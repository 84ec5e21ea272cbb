"""The Toolbox's pictures: those of the demonstrators, of ``apply_heatmap.py`` and of ``render.py``."""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image

from caffe2lrp.errors import OptionError
from caffe2lrp.pictures import Colormap, colormap, save_png, to_map
from caffe2lrp.pictures.colormaps import to_bytes
from caffe2lrp.pictures.drawing import view_image

OWN_MAPS = ("gray-red", "gray-red2", "black-green", "black-firered", "blue-black-yellow")
"""The Toolbox's own colour maps; all other names are matplotlib's."""
MODES = ("normal", "alpha", "overlay")
AGGREGATES = {"sum": "sum", "l2": "l2", "linf": "max"}

_BY_LARGEST = ("gray-red", "black-green", "blue-black-yellow")
"""Maps that are scaled by the largest value, where the others are by the largest magnitude."""


def demonstrator_heatmap(relevance: ArrayLike) -> Image.Image:
    """The ``_heatmap.png`` of the demonstrators: yellow for positive and blue for negative relevance.

    Parameters
    ----------
    relevance
        (C, H, W). Its mean over the channels is divided by its largest value.

    Returns
    -------
    PIL.Image.Image
        Mode RGB; black where nothing is positive. Negative relevance beyond the largest value is shown in full blue,
        where the Toolbox's 16 bits run over.
    """
    values = to_map(relevance) / len(np.asarray(relevance))
    largest = max(0.0, float(values.max()))
    x = np.clip(values / largest, -1, 1) if largest > 0 else np.zeros_like(values)
    positive, negative = np.maximum(x, 0), np.maximum(-x, 0)
    return Image.fromarray(np.rint(np.stack([positive, positive, negative], axis=-1) * 255).astype(np.uint8))


def aggregate(relevance: ArrayLike, how: str = "sum") -> np.ndarray:
    """Join channels as ``apply_heatmap.py`` does.

    Parameters
    ----------
    relevance
        (C, H, W).
    how
        "sum", "l2" (Euclidean norm) or "linf" (largest magnitude).

    Returns
    -------
    numpy.ndarray
        (H, W).

    Raises
    ------
    OptionError
        If `how` is something else.
    """
    if how not in AGGREGATES:
        raise OptionError(f"unknown aggregation '{how}'; possible: {', '.join(AGGREGATES)}")
    return to_map(relevance, AGGREGATES[how])


def colours(relevance: np.ndarray, cmap: str) -> np.ndarray:
    """Colour relevance by one of the Toolbox's maps or of matplotlib's.

    Parameters
    ----------
    relevance
        (H, W).
    cmap
        gray-red, black-green and blue-black-yellow divide by the largest value (by the largest magnitude where nothing
        is positive); what is then beyond -1 gets the colour of -1. black-firered and matplotlib's maps divide by the
        largest magnitude. gray-red2 shows positive relevance only, and drops what is more than ten times the
        variance.

    Returns
    -------
    numpy.ndarray
        float64, (H, W, 3), red, green, blue in [0, 1].

    Raises
    ------
    OptionError
        If there is no such map.
    """
    values = np.nan_to_num(np.asarray(relevance, np.float64), nan=0.0)
    if cmap == "gray-red2":
        values = np.where((values > 10 * values.var()) | (values < 0), 0, values)
    scale = max(0.0, float(values.max())) if cmap in _BY_LARGEST else 0.0
    scale = scale or float(np.abs(values).max())
    x = values / scale if scale > 0 else values
    return find_cmap(cmap).fractions(x)


def find_cmap(name: str) -> Colormap:
    """One of `OWN_MAPS`, else matplotlib's map of this name.

    Raises
    ------
    OptionError
        If there is no such map.
    """
    return colormap(name if name in OWN_MAPS else f"matplotlib:{name.removeprefix('matplotlib:')}")


def paint(
    relevance: ArrayLike,
    cmap: str = "black-firered",
    *,
    mode: str = "normal",
    image: ArrayLike | Image.Image | None = None,
    gamma: float = 0.5,
    blur: int = 0,
) -> Image.Image:
    """Draw relevance as ``apply_heatmap.py`` does.

    Parameters
    ----------
    relevance
        (H, W), see `aggregate`.
    cmap
        See `colours`; not used in mode "alpha".
    mode
        "normal": the colours. "alpha": the image times (R+ / max R)^gamma. "overlay": colours over the image, with the
        opacity (\\|R\\| / max \\|R\\|)^gamma.
    image
        For the latter two, the image that was explained: uint8, (H, W, 3), or a PIL image.
    gamma
        At least 0.
    blur
        Size of a Gaussian that the picture is blurred with, odd; its deviation is OpenCV's for this size. 0 is none.

    Returns
    -------
    PIL.Image.Image
        Mode RGB.

    Raises
    ------
    OptionError
        If an option cannot be used or the image has another size.
    """
    values = np.nan_to_num(np.asarray(relevance, np.float64), nan=0.0)
    if values.ndim != 2 or values.size == 0:
        raise OptionError(f"relevance to paint has the shape (H, W), not {values.shape}; join its channels first")
    if mode not in MODES:
        raise OptionError(f"unknown mode '{mode}'; possible: {', '.join(MODES)}")
    if not (math.isfinite(gamma) and gamma >= 0):
        raise OptionError(f"gamma must be at least 0, not {gamma}")
    if mode == "normal":
        picture = colours(values, cmap)
    else:
        photo = _photo(image, mode, values.shape)
        strength = np.maximum(values, 0) if mode == "alpha" else np.abs(values)
        opacity = _to_one(strength)[..., np.newaxis] ** gamma
        picture = opacity * photo
        if mode == "overlay":
            picture = opacity * colours(values, cmap) + (1 - opacity) * photo
    return Image.fromarray(to_bytes(_blurred(picture, blur)))


def hm_to_rgb(
    relevance: ArrayLike,
    x: ArrayLike | None = None,
    *,
    scaling: int = 3,
    shape: Sequence[int] = (),
    sigma: float = 2,
    cmap: str = "jet",
    normalize: bool = True,
) -> np.ndarray:
    """Draw relevance as ``render.hm_to_rgb`` does: enlarged, with the outlines of the input in black.

    Parameters
    ----------
    relevance
        (H, W), or of any shape if `shape` is given or it makes a square.
    x
        An input of the same size, whose edges (Canny 1986) are drawn.
    scaling
        Each value becomes a square of so many pixels.
    shape
        (H, W) that relevance and input are brought to; else a square.
    sigma
        Of the Gaussian in the search for edges, in pixels of the enlarged input.
    cmap
        One of `OWN_MAPS` or a map of matplotlib.
    normalize
        False gives the values to matplotlib's map as they are; zero to one is its range. The Toolbox's own maps divide
        in any case.

    Returns
    -------
    numpy.ndarray
        float64, (scaling H, scaling W, 3), in [0, 1].

    Raises
    ------
    OptionError
        If shapes do not fit, an option cannot be used, or scikit-image, which finds the edges, is not there.
    """
    if scaling < 1 or scaling != int(scaling):
        raise OptionError(f"scaling must be a whole number of at least 1, not {scaling}")
    values = _enlarged(relevance, shape, int(scaling))
    picture = colours(values, cmap) if normalize or cmap in OWN_MAPS else find_cmap(cmap).fractions(2 * values - 1)
    if x is None:
        return picture
    outlined = _enlarged(x, shape, int(scaling))
    if outlined.shape != values.shape:
        raise OptionError(f"the input gives {outlined.shape} pixels, but the relevance {values.shape}")
    return picture * ~_edges(outlined, sigma)[..., np.newaxis]


def save_image(pictures: Sequence[np.ndarray], path: str | os.PathLike[str], gap: int = 2) -> np.ndarray:
    """Join pictures of one height side by side, with black gaps, and write them as ``render.save_image`` does.

    Parameters
    ----------
    pictures
        (H, W_i, 3), in [0, 1].
    path
        A PNG file.
    gap
        Width of the gaps in pixels.

    Returns
    -------
    numpy.ndarray
        What was written, uint8, (H, W, 3).

    Raises
    ------
    OptionError
        If there are no pictures, their heights differ, or the file cannot be written.
    """
    arrays = [np.asarray(picture, np.float64) for picture in pictures]
    if not arrays or any(a.ndim != 3 or a.shape[::2] != (arrays[0].shape[0], 3) for a in arrays):
        raise OptionError(f"pictures of one shape (H, ., 3) can be joined, not {[a.shape for a in arrays]}")
    between = np.zeros((arrays[0].shape[0], gap, 3))
    row = [part for array in arrays for part in (between, array)][1:]
    joined = to_bytes(np.concatenate(row, axis=1))
    save_png(Image.fromarray(joined), Path(path))
    return joined


def _photo(image: ArrayLike | Image.Image | None, mode: str, shape: tuple[int, ...]) -> np.ndarray:
    if image is None:
        raise OptionError(f"mode '{mode}' needs the image that was explained")
    photo = np.asarray(view_image(image), np.float64) / 255
    if photo.shape[:2] != shape:
        raise OptionError(f"the image has {photo.shape[:2]} pixels, but the relevance {shape}; use what the net saw")
    return photo


def _to_one(strength: np.ndarray) -> np.ndarray:
    top = strength.max()
    return strength / top if top > 0 else strength


def _blurred(picture: np.ndarray, size: int) -> np.ndarray:
    """OpenCV's GaussianBlur with a deviation by size: separable, and mirrored at the border without its last line."""
    if size == 0:
        return picture
    if size < 0 or size % 2 == 0 or size // 2 >= min(picture.shape[:2]):
        raise OptionError(f"blur must be 0 or an odd number of pixels that the picture has twice, not {size}")
    half = size // 2
    small = {1: [1], 3: [1, 2, 1], 5: [1, 4, 6, 4, 1], 7: [2, 7, 14, 18, 14, 7, 2]}  # OpenCV's table
    deviation = 0.3 * (half - 1) + 0.8
    weights = np.array(small.get(size, np.exp(-(np.arange(-half, half + 1) ** 2) / (2 * deviation**2))), np.float64)
    weights /= weights.sum()
    for axis in (0, 1):
        border = [(half, half) if a == axis else (0, 0) for a in range(3)]
        windows = np.lib.stride_tricks.sliding_window_view(np.pad(picture, border, "reflect"), size, axis)
        picture = windows @ weights
    return picture


def _enlarged(values: ArrayLike, shape: Sequence[int], scaling: int) -> np.ndarray:
    array = np.asarray(values, np.float64)
    side = math.isqrt(array.size)
    wanted = tuple(shape) or (array.shape if array.ndim == 2 else (side, side))
    if len(wanted) != 2 or math.prod(wanted) != array.size:
        raise OptionError(f"an array of shape {array.shape} makes no picture of shape {wanted}; give its shape (H, W)")
    return array.reshape(wanted).repeat(scaling, axis=0).repeat(scaling, axis=1)


def _edges(image: np.ndarray, sigma: float) -> np.ndarray:
    try:
        from skimage.feature import canny
    except ImportError:
        raise OptionError("outlines need scikit-image: pip install scikit-image") from None
    return canny(image, sigma=sigma)
