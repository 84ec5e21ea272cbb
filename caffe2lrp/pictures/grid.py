"""Grids: any pictures side by side, each with its caption."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image

from caffe2lrp.errors import OptionError
from caffe2lrp.pictures.page import FAINT, GAP, INK, MARGIN, Page, font_of, line_height, shorten
from caffe2lrp.pictures.sheet import colour_bar, scale_note
from caffe2lrp.pictures.style import Style

_BAR = 400
"""Narrower pages have no colour bar."""


def grid(
    pictures: Sequence[Image.Image],
    captions: Sequence[Sequence[str]],
    *,
    columns: int = 4,
    title: str = "",
    style: Style | None = None,
) -> Image.Image:
    """Put pictures on one page, row by row.

    Parameters
    ----------
    pictures
        The pictures, drawn as large as they are.
    captions
        Lines of text below each; the first is darker.
    columns
        Pictures in a row.
    title
        Heading of the page.
    style
        What the pictures were drawn with, for a colour bar; None draws no bar.

    Returns
    -------
    PIL.Image.Image
        Mode RGB.

    Raises
    ------
    OptionError
        If there are no pictures or columns, or not one caption for each picture.
    """
    if not pictures or columns < 1:
        raise OptionError("a grid needs at least one picture and one column")
    if len(captions) != len(pictures):
        raise OptionError(f"{len(captions)} captions were given for {len(pictures)} pictures")
    columns = min(columns, len(pictures))
    width = max(picture.width for picture in pictures)
    page = Page(columns * (width + GAP) - GAP)
    if title:
        page.line(title, 20, INK, after=10)
    for first in range(0, len(pictures), columns):
        row = slice(first, first + columns)
        places = [MARGIN + i * (width + GAP) for i in range(len(pictures[row]))]
        for x, picture in zip(places, pictures[row], strict=True):
            page.paste(x, picture)
        page.y += max(picture.height for picture in pictures[row]) + 6
        for i in range(max(len(lines) for lines in captions[row])):
            font = font_of(12 if i else 14)
            for x, lines in zip(places, captions[row], strict=True):
                if i < len(lines):
                    page.text(x, shorten(lines[i], font, width), font, FAINT if i else INK)
            page.y += line_height(font) + 2
        page.y += 12
    if style is not None and page.width >= _BAR:
        colour_bar(page, style.cmap, style.mode, scale_note(style.percentile, len(pictures), style.smooth))
    return page.finish()
