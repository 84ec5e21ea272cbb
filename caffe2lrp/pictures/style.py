"""How relevance is drawn: the same for heat map, overlay, sheet, montage and report of an explanation."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from numpy.typing import ArrayLike
from PIL import Image

from caffe2lrp.pictures.colormaps import DEFAULT_COLORMAP
from caffe2lrp.pictures.drawing import heatmap, overlay


@dataclass(frozen=True)
class Style:
    """The keywords that the drawing functions share.

    Attributes
    ----------
    cmap, channels, mode, percentile, smooth
        As for `heatmap`. The default percentile lets the few strongest pixels saturate.
    alpha, contours
        As for `overlay`.
    """

    cmap: str = DEFAULT_COLORMAP
    channels: str = "sum"
    mode: str = "symmetric"
    percentile: float | None = 99.5
    smooth: float = 0.0
    alpha: float = 0.9
    contours: int = 0

    def check(self) -> None:
        """Raise `OptionError` now for what drawing would raise it for later."""
        self.overlay(Image.new("RGB", (1, 1)), [[0.0]])

    def heatmap(self, relevance: ArrayLike, size: int | None = None) -> Image.Image:
        """The heat map of one image's relevance; see `heatmap`."""
        keywords = self.keywords()
        del keywords["alpha"], keywords["contours"]
        return heatmap(relevance, size=size, **keywords)

    def overlay(self, view: ArrayLike | Image.Image, relevance: ArrayLike, size: int | None = None) -> Image.Image:
        """One image's relevance over the photo; see `overlay`."""
        return overlay(view, relevance, size=size, **self.keywords())

    def keywords(self) -> dict[str, Any]:
        """All of them, as keywords of `overlay` and `sheet`."""
        return asdict(self)
