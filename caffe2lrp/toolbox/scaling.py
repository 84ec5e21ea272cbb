"""ImageMagick's resizing, with which the demonstrators read their images."""

from __future__ import annotations

import numpy as np
from PIL import Image

WHITE = 65535
"""The demonstrators' ImageMagick has 16 bits a channel."""


def fitted(size: tuple[int, int], longer: int) -> tuple[int, int]:
    """Width and height of an image whose longer side is to become `longer`.

    The demonstrators round both sides, and ImageMagick fits the image into that box once more with its aspect ratio,
    so that the longer side may become one pixel shorter: 640 x 426 gives 255 x 170.
    """
    width, height = size
    factor = longer / max(width, height)
    box = (max(1, int(width * factor + 0.5)), max(1, int(height * factor + 0.5)))
    if box[0] * height >= box[1] * width:
        return max(1, int(width * box[1] / height + 0.5)), box[1]
    return box[0], max(1, int(height * box[0] / width + 0.5))


def resized(photo: Image.Image, size: tuple[int, int], *, soft: bool = False) -> np.ndarray:
    """Resize as ImageMagick 6 does without further options.

    Parameters
    ----------
    photo
        Mode RGB or L, 8 bits.
    size
        Width and height.
    soft
        Use the Mitchell filter also where the image gets smaller: ImageMagick does so for images with a palette, some
        grey ones and transparent ones. Otherwise Lanczos is used there, and Mitchell for larger images.

    Returns
    -------
    numpy.ndarray
        float64, (height, width, channels), values in 0..255 in steps of 1/257.
    """
    x, y = size[0] / photo.width, size[1] / photo.height
    first = (size[0], photo.height) if x > y else (photo.width, size[1])
    passes = () if size == photo.size else (first, size)
    pixels = np.atleast_3d(np.asarray(photo))
    planes = [_resized(pixels[..., c], passes, soft or x * y > 1) for c in range(pixels.shape[2])]
    return np.stack(planes, axis=-1).astype(np.float64) / WHITE * 255


def _resized(plane: np.ndarray, passes: tuple[tuple[int, int], ...], mitchell: bool) -> np.ndarray:
    """One channel, a direction at a time; each pass ends in whole numbers of 16 bits."""
    plane = plane * np.float32(WHITE / 255)
    for width, height in passes:
        if mitchell:
            plane = _mitchell(plane.shape[0], height) @ plane @ _mitchell(plane.shape[1], width).T
        else:
            plane = np.asarray(Image.fromarray(plane).resize((width, height), Image.Resampling.LANCZOS))
        plane = np.clip(np.floor(plane + np.float32(0.5)), 0, WHITE)
    return plane


def _mitchell(before: int, after: int) -> np.ndarray:
    """Weights (after, before) of the cubic filter of Mitchell and Netravali (1988) with B = C = 1/3."""
    if before == after:
        return np.eye(after, dtype=np.float32)
    scale = max(before / after, 1)
    centre = (np.arange(after)[:, np.newaxis] + 0.5) * before / after
    x = np.abs(np.arange(before) + 0.5 - centre) / scale
    inner = (7 * x**3 - 12 * x**2 + 16 / 3) / 6
    outer = (-7 / 3 * x**3 + 12 * x**2 - 20 * x + 32 / 3) / 6
    weights = np.where(x < 1, inner, np.where(x < 2, outer, 0))
    return (weights / weights.sum(axis=1, keepdims=True)).astype(np.float32)
