"""Explanations as pictures, in notebooks and by `Explanation.heatmap`."""

from __future__ import annotations

from collections.abc import Sequence

from PIL import Image

from caffe2lrp.errors import OptionError
from caffe2lrp.explanation import Explanation
from caffe2lrp.pictures.drawing import to_png
from caffe2lrp.pictures.grid import grid
from caffe2lrp.pictures.sheet import PANEL, panel_size, score_text
from caffe2lrp.pictures.style import Style

SHOWN = 16
"""A notebook shows at most so many images of a batch."""
_NAMED = 3
"""Of more targets than this the number is told."""


def draw(explanation: Explanation, image: int | None, size: int | None, style: Style) -> Image.Image:
    """See `Explanation.heatmap`."""
    if not _drawable(explanation):
        raise OptionError(
            f"relevance of shape {explanation.relevance.shape} is not that of images (N, C, H, W): it has no heat map"
        )
    count = len(explanation.relevance)
    if image is None and count > 1:
        return _page(explanation, range(count), size, style)
    index = image or 0
    if not -count <= index < count:
        raise OptionError(f"image {index} does not exist: there are {count}, from 0 to {count - 1}")
    return style.heatmap(explanation.relevance[index], size)


def png(explanation: Explanation) -> bytes | None:
    """A page of the first images as PNG, None where relevance is not that of images."""
    if not _drawable(explanation):
        return None
    count = len(explanation.relevance)
    size = 2 * PANEL if count == 1 else None
    return to_png(_page(explanation, range(min(count, SHOWN)), size, Style()))


def _drawable(explanation: Explanation) -> bool:
    return explanation.relevance.ndim == 4 and explanation.relevance.size > 0


def _page(explanation: Explanation, images: Sequence[int], size: int | None, style: Style) -> Image.Image:
    pictures = [style.heatmap(explanation.relevance[n]) for n in images]
    size = size or panel_size(pictures[0])
    pictures = [style.heatmap(explanation.relevance[n], size) for n in images]
    more = len(explanation.relevance) - len(images)
    return grid(
        pictures,
        [caption(explanation, n) for n in images],
        title=f"the first {len(images)} of {len(images) + more} images" if more else "",
        style=style,
    )


def caption(explanation: Explanation, image: int) -> list[str]:
    """What was explained of an image: the classes, then score and rule."""
    if len(explanation.target) != len(explanation.relevance):  # sequences: an entry for each step
        return [explanation.rule]
    what = _names(explanation, explanation.target[image])
    if explanation.against is not None and explanation.against[image]:
        what += f" against {_names(explanation, explanation.against[image])}"
    return [what, f"{score_text(float(explanation.score[image]))}, {explanation.rule}"]


def _names(explanation: Explanation, targets: Sequence[int]) -> str:
    if len(targets) > _NAMED:
        return f"{len(targets)} values together"
    labels = explanation.labels
    if labels is None:  # perhaps no classes, but values of an inner blob
        names = [f"target {t}" for t in targets]
    else:
        names = [f"class {t}" if labels[t] == str(t) else f"{t} {labels[t]}" for t in targets]
    return " + ".join(names) or "nothing"
