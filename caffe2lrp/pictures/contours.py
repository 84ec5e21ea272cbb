"""Contours: lines of equal relevance over the photo."""

from __future__ import annotations

import math

import numpy as np
from PIL import Image, ImageDraw

from caffe2lrp.errors import OptionError
from caffe2lrp.pictures.colormaps import Colormap

MOST = 32
_FINER = 4
"""Lines are drawn this much larger and averaged, so that they have smooth edges."""
_WIDTH = 1 / 180
"""Of the picture's longer side."""


def levels(count: int, signed: bool) -> list[float]:
    """The heights of the lines: `count` equal steps between 0 and 1, and of signed maps their negatives.

    Raises
    ------
    OptionError
        If there are none or too many.
    """
    if not 1 <= count <= MOST:
        raise OptionError(f"contours are lines at 1 to {MOST} levels, not {count}")
    steps = [k / (count + 1) for k in range(1, count + 1)]
    return [-step for step in reversed(steps)] + steps if signed else steps


def draw_contours(
    photo: Image.Image, values: np.ndarray, colours: Colormap, count: int, alpha: float = 1.0
) -> Image.Image:
    """Draw contours over a photo.

    Parameters
    ----------
    photo
        Mode RGB, of any size.
    values
        Map in [-1, 1], (H, W), spread over the photo: values belong to the middles of its fields.
    colours
        Each line has the colour of its level, deepened so that the lowest can be seen, on a pale edge.
    count
        Number of levels, see `levels`.
    alpha
        Opacity of the lines.

    Returns
    -------
    PIL.Image.Image
        Mode RGB, of the photo's size. A map with less than two rows or columns has no lines.
    """
    from contourpy import contour_generator  # comes with matplotlib

    heights = levels(count, colours.signed)
    if min(values.shape) < 2:
        return photo
    size = (photo.width * _FINER, photo.height * _FINER)
    ink, cover = Image.new("RGB", size), Image.new("L", size)
    draw, mark = ImageDraw.Draw(ink), ImageDraw.Draw(cover)
    scale = np.array([size[0] / values.shape[1], size[1] / values.shape[0]])
    width = max(2, round(_WIDTH * max(size)))
    generator = contour_generator(z=values)
    lines = [(height, generator.lines(height)) for height in heights]
    for edge in (True, False):  # all edges first: no line is cut by the edge of another
        for height, curves in lines:
            shade = math.copysign(0.4 + 0.6 * abs(height), height)
            colour = (255, 255, 255) if edge else tuple(int(c) for c in colours(shade))
            for curve in curves:
                points = [(x, y) for x, y in (np.asarray(curve) + 0.5) * scale]
                thick = width + 2 * edge * (width // 2)
                draw.line(points, fill=colour, width=thick)
                mark.line(points, fill=255, width=thick)
    covered = np.asarray(cover.reduce(_FINER), np.float64)[..., np.newaxis] / 255
    lines_alone = np.asarray(ink.reduce(_FINER), np.float64)  # black, so nothing, between the lines
    mixed = (1 - alpha * covered) * np.asarray(photo, np.float64) + alpha * lines_alone
    return Image.fromarray(np.clip(np.rint(mixed), 0, 255).astype(np.uint8))
