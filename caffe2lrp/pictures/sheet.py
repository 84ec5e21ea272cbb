"""Sheets: input, heat map and overlay side by side, with captions and a colour bar."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image

from caffe2lrp.errors import OptionError
from caffe2lrp.pictures.colormaps import DEFAULT_COLORMAP, colormap
from caffe2lrp.pictures.drawing import fit, view_image
from caffe2lrp.pictures.page import FAINT, GAP, INK, MARGIN, Page, font_of, line_height
from caffe2lrp.pictures.style import Style

PANEL = 224  # panels are at least this long, in pixels, and
PANEL_MAX = 512  # at most this long
BAR = (168, 8)


@dataclass(frozen=True, eq=False)
class Row:
    """One row of a sheet: one image, explained for one class by one rule.

    Attributes
    ----------
    view
        What the network saw, uint8 (H, W, 3) or (H, W), or a PIL image.
    relevance
        Relevance of that image, (C, H, W), (1, C, H, W) or (H, W).
    label
        Name of the class.
    score
        Its score, a probability or what the layer before the softmax gives.
    detail
        A second, smaller line of text, for example the rule.
    """

    view: ArrayLike | Image.Image
    relevance: ArrayLike
    label: str = ""
    score: float | None = None
    detail: str = ""


def sheet(
    rows: Row | Sequence[Row],
    *,
    title: str = "",
    cmap: str = DEFAULT_COLORMAP,
    channels: str = "sum",
    mode: str = "symmetric",
    percentile: float | None = 99.5,
    smooth: float = 0.0,
    alpha: float = 0.9,
    contours: int = 0,
) -> Image.Image:
    """Draw explanations as a captioned sheet: input, relevance and overlay in each row, a colour bar below.

    Parameters
    ----------
    rows
        One row, or several: other images, classes or rules. Each is scaled on its own.
    title
        Heading of the sheet.
    cmap, channels, mode, percentile, smooth, alpha, contours
        As for `heatmap` and `overlay`. The default percentile lets the few strongest pixels saturate; the sheet says
        so at its foot.

    Returns
    -------
    PIL.Image.Image
        Mode RGB. Small images are enlarged by repeating pixels; text that is too long ends in an ellipsis.

    Raises
    ------
    OptionError
        If there are no rows, or an option or array cannot be used.
    """
    rows = [rows] if isinstance(rows, Row) else list(rows)
    if not rows:
        raise OptionError("a sheet needs at least one row")
    style = Style(cmap, channels, mode, percentile, smooth, alpha, contours)
    panels = [_panels(row, style) for row in rows]
    column = max(panel.width for triple in panels for panel in triple)
    column = max(column, PANEL)  # tall images still leave room for their captions
    page = Page(3 * column + 2 * GAP)
    if title:
        page.line(title, 20, INK, after=10)
    page.columns(("input", "relevance", "overlay"), column)
    for row, triple in zip(rows, panels, strict=True):
        page.pictures(triple, column)
        score = "" if row.score is None else score_text(row.score)
        page.line(row.label, 15, INK, right=score, after=3 if row.detail else 16)
        if row.detail:
            page.line(row.detail, 12, FAINT, after=16)
    colour_bar(page, cmap, mode, scale_note(percentile, len(rows), smooth))
    return page.finish()


def _panels(row: Row, style: Style) -> tuple[Image.Image, Image.Image, Image.Image]:
    view = view_image(row.view)
    size = panel_size(view)
    return fit(view, size), style.heatmap(row.relevance, size), style.overlay(view, row.relevance, size)


def panel_size(view: Image.Image) -> int:
    """Length of a panel's longer side: whole factors, so that pixels of small images become squares of one size."""
    longer = max(view.size)
    return min(PANEL_MAX, longer * -(-PANEL // longer))


def score_text(score: float) -> str:
    """A score in few digits."""
    return f"score {score:.3f}" if 0.001 <= abs(score) < 10000 else f"score {score:.3g}"


def scale_note(percentile: float | None, count: int, smooth: float = 0.0) -> str:
    """What full colour stands for, in that many pictures, and whether they are blurred."""
    end = "the largest value" if percentile is None else f"percentile {percentile:g}"
    blurred = f", smoothed by {smooth:g} pixels" if smooth else ""
    return f"full colour: {end}" + (" of each picture" if count > 1 else "") + blurred


def colour_bar(page: Page, cmap: str, mode: str, note: str) -> None:
    """The colours and what they mean, flush right at the foot of the page."""
    colours = colormap(cmap)
    signed = colours.signed and mode == "symmetric"
    ramp = np.linspace(-1 if signed else 0, 1, BAR[0])
    bar = Image.fromarray(np.repeat(colours(ramp)[np.newaxis], BAR[1], axis=0))
    font = font_of(12)
    left, right = "against" if signed else "0", "for the class"
    x = MARGIN + page.width - round(font.getlength(right)) - GAP // 2 - BAR[0]
    page.y += 4
    page.text(MARGIN, note, font, FAINT)
    page.text(x - GAP // 2 - font.getlength(left), left, font, FAINT)
    page.text(x + BAR[0] + GAP // 2, right, font, FAINT)
    page.y += 4
    page.paste(x, bar)
    page.y += BAR[1] + 3
    if signed:
        page.text(x + (BAR[0] - font.getlength("0")) / 2, "0", font, FAINT)
        page.y += line_height(font)
