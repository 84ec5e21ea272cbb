"""A white page that pictures and lines of text are put on, from the top down."""

from __future__ import annotations

import unicodedata
from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

MARGIN = 24
GAP = 12
INK, FAINT, RULE = "#1c1c1c", "#757575", "#d9d9d9"


class Page:
    """A white page of fixed width that grows downwards; `finish` cuts it to its height."""

    def __init__(self, width: int) -> None:
        self.width = width
        self.y = MARGIN
        self._items: list[tuple[str, tuple]] = []

    def line(self, text: str, size: int, colour: str, *, right: str = "", after: int = 0) -> None:
        """A line of text, with `right` set flush right in the fainter ink."""
        font = font_of(size)
        tail = shorten(right, font, self.width // 2)
        room = self.width - (font.getlength(tail) + GAP if tail else 0)
        self.text(MARGIN, shorten(text, font, room), font, colour)
        if tail:
            self.text(MARGIN + self.width - font.getlength(tail), tail, font, FAINT)
        self.y += line_height(font) + after

    def columns(self, names: Sequence[str], width: int) -> None:
        """Headings of the columns."""
        font = font_of(12)
        for i, name in enumerate(names):
            self.text(MARGIN + i * (width + GAP), name, font, FAINT)
        self.y += line_height(font) + 5

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


def font_of(size: int) -> ImageFont.FreeTypeFont:
    font = ImageFont.load_default(size)  # comes with Pillow: no font files, the same letters on every machine
    assert isinstance(font, ImageFont.FreeTypeFont)
    return font


def line_height(font: ImageFont.FreeTypeFont) -> int:
    ascent, descent = font.getmetrics()
    return ascent + descent


def _drawable(text: str) -> str:
    """`text` in letters that the built-in font has: it knows no accents; what has no Latin base stays an empty box."""
    base = "".join(c for c in unicodedata.normalize("NFKD", text) if not unicodedata.combining(c))
    return "".join(c if c.isprintable() else " " if c.isspace() else "\N{REPLACEMENT CHARACTER}" for c in base).strip()


def shorten(text: str, font: ImageFont.FreeTypeFont, room: float) -> str:
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
