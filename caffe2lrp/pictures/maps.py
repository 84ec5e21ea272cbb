"""From a relevance blob to the numbers that are coloured: one value per pixel, smoothed, scaled to [-1, 1]."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike

from caffe2lrp.errors import OptionError


def to_map(relevance: ArrayLike, channels: str = "sum") -> np.ndarray:
    """Join the channels of a relevance blob into one value per pixel.

    Parameters
    ----------
    relevance
        Relevance of one image, (C, H, W), (1, C, H, W) or, already joined, (H, W).
    channels
        "sum" keeps the sign and the total relevance; "l2" is the Euclidean norm over the channels, "max" the largest
        absolute value. The latter two, for sensitivities, have no sign; they leave an (H, W) map as it is.

    Returns
    -------
    numpy.ndarray
        float64, (H, W).

    Raises
    ------
    OptionError
        If the array is not the relevance of one image, or `channels` is unknown.
    """
    if channels not in ("sum", "l2", "max"):
        raise OptionError(f"unknown way to join channels '{channels}'; possible: sum, l2, max")
    try:
        values = np.asarray(relevance, np.float64)
    except (TypeError, ValueError):
        raise OptionError("relevance is not an array of real numbers") from None
    if values.ndim == 4 and values.shape[0] == 1:
        values = values[0]
    if values.ndim not in (2, 3) or values.size == 0:
        hint = "; take the images one by one" if values.ndim == 4 else ""
        raise OptionError(f"relevance of one image has the shape (C, H, W) or (H, W), not {values.shape}{hint}")
    if values.ndim == 2:
        return values
    with np.errstate(invalid="ignore", over="ignore"):  # inf - inf; `normalise` deals with the outcome
        if channels == "l2":
            return np.sqrt(np.square(values).sum(axis=0))
        return np.abs(values).max(axis=0) if channels == "max" else values.sum(axis=0)


def smoothed(values: ArrayLike, sigma: float) -> np.ndarray:
    """Blur a map with a Gaussian; its sum stays as it is.

    Parameters
    ----------
    values
        Map, (H, W).
    sigma
        Standard deviation in pixels; 0 leaves the map as it is. The Gaussian is cut at 4 sigma. What is not finite
        counts as 0.

    Returns
    -------
    numpy.ndarray
        float64, (H, W). Beyond the border the map is taken to be mirrored (the edge pixel repeated), so that nothing
        is lost.

    Raises
    ------
    OptionError
        If `sigma` is negative or no number.
    """
    if not (sigma >= 0 and math.isfinite(sigma)):
        raise OptionError(f"smoothing is a standard deviation in pixels of at least 0, not {sigma}")
    x = np.asarray(values, np.float64)
    if sigma == 0:
        return x
    x = np.where(np.isfinite(x), x, 0)  # one NaN would blot out the map
    return _gaussian(x.shape[0], sigma) @ x @ _gaussian(x.shape[1], sigma).T


def _gaussian(length: int, sigma: float) -> np.ndarray:
    """The matrix that blurs a line of that many values; its rows and its columns add up to 1."""
    reach = int(4 * sigma + 0.5)
    offsets = np.arange(-reach, reach + 1)
    weights = np.exp(-0.5 * (offsets / sigma) ** 2)
    weights /= weights.sum()
    source = (np.arange(length)[:, np.newaxis] + offsets) % (2 * length)  # a line and its mirror image, repeated
    source = np.minimum(source, 2 * length - 1 - source)
    matrix = np.zeros((length, length))
    np.add.at(matrix, (np.arange(length)[:, np.newaxis], source), weights)
    return matrix


def normalise(values: ArrayLike, mode: str = "symmetric", percentile: float | None = None) -> np.ndarray:
    """Scale a map to [-1, 1], keeping zero at zero.

    Parameters
    ----------
    values
        Map of any shape. NaN becomes 0, and infinities become the ends of the scale.
    mode
        "symmetric" divides by the largest absolute value; "positive" sets negative values to 0 and divides by the
        largest value.
    percentile
        In (0, 100]: divide by this percentile of the (absolute) values in place of the largest, and clip what exceeds
        it, so that a few extreme pixels do not make the rest pale.

    Returns
    -------
    numpy.ndarray
        float64, same shape, in [-1, 1] or, if "positive", in [0, 1]. A map of zeros stays one.

    Raises
    ------
    OptionError
        If `mode` or `percentile` cannot be used.
    """
    if mode not in ("symmetric", "positive"):
        raise OptionError(f"unknown normalisation '{mode}'; possible: symmetric, positive")
    if percentile is not None and not 0 < percentile <= 100:
        raise OptionError(f"percentile must be above 0 and at most 100, not {percentile}")
    x = np.nan_to_num(np.asarray(values, np.float64), nan=0.0, posinf=np.inf, neginf=-np.inf)
    if mode == "positive":
        x = np.maximum(x, 0)
    strengths = np.abs(x[np.isfinite(x)])
    top = float(strengths.max(initial=0.0))
    if percentile is not None and strengths.size:
        # Of a map that is mostly zero the percentile is zero; then the largest value serves.
        top = float(np.percentile(strengths, percentile)) or top
    with np.errstate(over="ignore"):
        return np.clip(x / (top or 1.0), -1, 1)
