"""The files that `explain` writes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

from caffe2lrp.errors import OptionError
from caffe2lrp.pictures import Row, Strip, heatmap, montage, overlay, save_png, sheet
from caffe2lrp.pictures.drawing import fit

PERCENTILE = 99.5  # as on the sheet, so that all pictures of an explanation have the same colours
SMALLEST = 224
"""Smaller pictures are enlarged to at least this many pixels, by a whole factor: pixels stay squares."""


def draw(relevance: np.ndarray, cmap: str) -> Image.Image:
    """The heat map, one pixel per value."""
    return heatmap(relevance, cmap, percentile=PERCENTILE)


def write_pictures(path: Path, view: np.ndarray, relevance: np.ndarray, cmap: str) -> dict[str, str]:
    """Write heat map and overlay; `path` is their common beginning."""
    pictures = {
        "heatmap": draw(relevance, cmap),
        "overlay": overlay(view, relevance, cmap=cmap, percentile=PERCENTILE),
    }
    return {kind: str(save_png(_enlarged(picture), f"{path}.{kind}.png")) for kind, picture in pictures.items()}


def write_array(path: Path, relevance: np.ndarray) -> dict[str, str]:
    """Write the relevance itself, (C, H, W)."""
    file = f"{path}.npy"
    try:
        np.save(file, relevance)
    except OSError as error:
        raise OptionError(f"cannot write '{file}': {error.strerror or error}") from None
    return {"array": file}


def write_sheet(path: Path, rows: Sequence[Row], title: str, cmap: str) -> None:
    """Write the sheet of all classes of a picture."""
    save_png(sheet(rows, title=title, cmap=cmap, percentile=PERCENTILE), path)


def write_montage(path: Path, strips: Sequence[Strip], names: Sequence[str], title: str, cmap: str) -> None:
    """Write the montage of all pictures and rules."""
    save_png(montage(strips, names, title=title, cmap=cmap, percentile=PERCENTILE), path)


def _enlarged(picture: Image.Image) -> Image.Image:
    longer = max(picture.size)
    return fit(picture, longer * max(1, -(-SMALLEST // longer)))
