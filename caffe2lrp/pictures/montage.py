"""Montages: photos in rows, rules in columns."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from PIL import Image

from caffe2lrp.errors import OptionError
from caffe2lrp.pictures.colormaps import DEFAULT_COLORMAP
from caffe2lrp.pictures.drawing import fit
from caffe2lrp.pictures.page import GAP, INK, Page
from caffe2lrp.pictures.sheet import colour_bar, panel_size, scale_note, score_text


@dataclass(frozen=True, eq=False)
class Strip:
    """One row: a photo and its heat maps, drawn one pixel per value.

    Attributes
    ----------
    view
        What the network saw.
    heatmaps
        One for each column (`heatmap`).
    label
        What was explained.
    score
        Its score.
    """

    view: Image.Image
    heatmaps: Sequence[Image.Image]
    label: str = ""
    score: float | None = None


def montage(
    strips: Sequence[Strip],
    names: Sequence[str],
    *,
    title: str = "",
    cmap: str = DEFAULT_COLORMAP,
    mode: str = "symmetric",
    percentile: float | None = None,
    smooth: float = 0.0,
) -> Image.Image:
    """Draw photos x rules on one page.

    Parameters
    ----------
    strips
        The rows.
    names
        Headings of the heat maps' columns.
    title
        Heading of the page.
    cmap, mode, percentile, smooth
        What the heat maps were drawn with, for the colour bar.

    Returns
    -------
    PIL.Image.Image
        Mode RGB.

    Raises
    ------
    OptionError
        If there is nothing to show, or a row has not one heat map for each column.
    """
    if not strips or not names:
        raise OptionError("a montage needs at least one row and one column")
    if any(len(strip.heatmaps) != len(names) for strip in strips):
        raise OptionError(f"each row of this montage needs {len(names)} heat maps")
    sizes = [panel_size(strip.view) for strip in strips]
    panels = [
        [fit(picture, size) for picture in (strip.view, *strip.heatmaps)]
        for strip, size in zip(strips, sizes, strict=True)
    ]
    column = max(panel.width for row in panels for panel in row)
    page = Page((column + GAP) * (len(names) + 1) - GAP)
    if title:
        page.line(title, 20, INK, after=10)
    page.columns(("input", *names), column)
    for strip, row in zip(strips, panels, strict=True):
        page.pictures(row, column)
        page.line(strip.label, 15, INK, right="" if strip.score is None else score_text(strip.score), after=16)
    colour_bar(page, cmap, mode, scale_note(percentile, len(strips) * len(names), smooth))
    return page.finish()
