"""Sheets: input, heat map and overlay side by side, with captions and a colour bar."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike
from PIL import Image, ImageDraw, ImageFont

from caffe2lrp.errors import OptionError
from caffe2lrp.pictures.colormaps import DEFAULT_COLORMAP, colormap
from caffe2lrp.pictures.drawing import fit, heatmap, overlay, view_image

PANEL = 224  # panels are at least this long, in pixels, and
PANEL_MAX = 512  # at most this long
MARGIN = 24
GAP = 12
BAR = (168, 8)
INK, FAINT, RULE = "#1c1c1c", "#757575", "#d9d9d9"


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
    alpha: float = 0.9,
) -> Image.Image:
    """Draw explanations as a captioned sheet: input, relevance and overlay in each row, a colour bar below.

    Parameters
    ----------
    rows
        One row, or several: other images, classes or rules. Each is scaled on its own.
    title
        Heading of the sheet.
    cmap, channels, mode, percentile, alpha
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
    style = {"cmap": cmap, "channels": channels, "mode": mode, "percentile": percentile}
    panels = [_panels(row, alpha, style) for row in rows]
    column = max(panel.width for triple in panels for panel in triple)
    column = max(column, PANEL)  # tall images still leave room for their captions
    page = _Page(3 * column + 2 * GAP)
    if title:
        page.line(title, 20, INK, after=10)
    page.columns(("input", "relevance", "overlay"), column)
    for row, triple in zip(rows, panels, strict=True):
        page.pictures(triple, column)
        score = "" if row.score is None else _score(row.score)
        page.line(row.label, 15, INK, right=score, after=3 if row.detail else 16)
        if row.detail:
            page.line(row.detail, 12, FAINT, after=16)
    _colour_bar(page, cmap, mode, _scale_note(percentile, len(rows)))
    return page.finish()


def _panels(row: Row, alpha: float, style: dict[str, Any]) -> tuple[Image.Image, Image.Image, Image.Image]:
    view = view_image(row.view)
    heat = heatmap(row.relevance, **style)
    over = overlay(view, row.relevance, alpha, **style)
    longer = max(view.size)
    # Whole factors only, so that every pixel of a small image becomes a square of the same size.
    size = min(PANEL_MAX, longer * -(-PANEL // longer))
    return fit(view, size), fit(heat, size), fit(over, size)


def _score(score: float) -> str:
    return f"score {score:.3f}" if 0.001 <= abs(score) < 10000 else f"score {score:.3g}"


def _scale_note(percentile: float | None, rows: int) -> str:
    """What full colour stands for."""
    end = "the largest value" if percentile is None else f"percentile {percentile:g}"
    return f"full colour: {end}" + (" of each row" if rows > 1 else "")


class _Page:
    """A white page of fixed width that grows downwards; `finish` cuts it to its height."""

    def __init__(self, width: int) -> None:
        self.width = width
        self.y = MARGIN
        self._items: list[tuple[str, tuple]] = []

    def line(self, text: str, size: int, colour: str, *, right: str = "", after: int = 0) -> None:
        """A line of text, with `right` set flush right in the fainter ink."""
        font = _font(size)
        tail = _shorten(right, font, self.width // 2)
        room = self.width - (font.getlength(tail) + GAP if tail else 0)
        self.text(MARGIN, _shorten(text, font, room), font, colour)
        if tail:
            self.text(MARGIN + self.width - font.getlength(tail), tail, font, FAINT)
        self.y += _height(font) + after

    def columns(self, names: Sequence[str], width: int) -> None:
        """Headings of the columns."""
        font = _font(12)
        for i, name in enumerate(names):
            self.text(MARGIN + i * (width + GAP), name, font, FAINT)
        self.y += _height(font) + 5

    def pictures(self, panels: Sequence[Image.Image], width: int) -> None:
        """One picture per column."""
        for i, panel in enumerate(panels):
            self.paste(MARGIN + i * (width + GAP), panel)
        self.y += panels[0].height + 8

    def text(self, x: float, text: str, font: ImageFont.FreeTypeFont, colour: str) -> None:
        self._items.append(("text", (x, self.y, text, font, colour)))

    def paste(self, x: int, picture: Image.Image) -> None:
        self._items.append(("picture", (x, self.y, picture)))

    def finish(self) -> Image.Image:
        page = Image.new("RGB", (self.width + 2 * MARGIN, self.y + MARGIN), "white")
        draw = ImageDraw.Draw(page)
        for kind, item in self._items:
            if kind == "text":
                x, y, text, font, colour = item
                draw.text((round(x), y), text, font=font, fill=colour)
            else:
                x, y, picture = item
                page.paste(picture, (x, y))
                # A hairline, because white relevance on white paper has no edge.
                draw.rectangle((x - 1, y - 1, x + picture.width, y + picture.height), outline=RULE)
        return page


def _colour_bar(page: _Page, cmap: str, mode: str, note: str) -> None:
    """The colours and what they mean, flush right at the foot of the page."""
    colours = colormap(cmap)
    signed = colours.signed and mode == "symmetric"
    ramp = np.linspace(-1 if signed else 0, 1, BAR[0])
    bar = Image.fromarray(np.repeat(colours(ramp)[np.newaxis], BAR[1], axis=0))
    font = _font(12)
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
        page.y += _height(font)


def _font(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)  # comes with Pillow: no font files, the same letters on every machine
    assert isinstance(font, ImageFont.FreeTypeFont)
    return font


def _height(font: ImageFont.FreeTypeFont) -> int:
    ascent, descent = font.getmetrics()
    return ascent + descent


def _drawable(text: str) -> str:
    """`text` in letters that the built-in font has: it knows no accents; what has no Latin base stays an empty box."""
    base = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    return "".join(c if c.isprintable() else " " if c.isspace() else "\N{REPLACEMENT CHARACTER}" for c in base).strip()


def _shorten(text: str, font: ImageFont.FreeTypeFont, room: float) -> str:
    """One line of printable text, cut with an ellipsis to `room` pixels."""
    text = _drawable(text)
    if font.getlength(text) <= room:
        return text
    low, high = 0, len(text)
    while low < high:  # the longest beginning that fits
        middle = (low + high + 1) // 2
        if font.getlength(text[:middle].rstrip(" ,") + "…") <= room:
            low = middle
        else:
            high = middle - 1
    return text[:low].rstrip(" ,") + "…"
