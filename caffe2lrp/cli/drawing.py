"""The files that `explain` writes."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from caffe2lrp.errors import OptionError
from caffe2lrp.pictures import Row, Strip, Style, montage, save_png, sheet

SMALLEST = 224
"""Smaller pictures are enlarged to at least this many pixels, by a whole factor: pixels stay squares."""


def write_pictures(path: Path, view: np.ndarray, relevance: np.ndarray, style: Style) -> dict[str, str]:
    """Write heat map and overlay; `path` is their common beginning."""
    size = _size(relevance)
    pictures = {
        "heatmap": style.heatmap(relevance, size),
        "overlay": style.overlay(view, relevance, size),
    }
    return {kind: str(save_png(picture, f"{path}.{kind}.png")) for kind, picture in pictures.items()}


def write_array(path: Path, relevance: np.ndarray) -> dict[str, str]:
    """Write the relevance itself, (C, H, W)."""
    file = f"{path}.npy"
    try:
        np.save(file, relevance)
    except OSError as error:
        raise OptionError(f"cannot write '{file}': {error.strerror or error}") from None
    return {"array": file}


def write_sheet(path: Path, rows: Sequence[Row], title: str, style: Style) -> None:
    """Write the sheet of all classes of a picture."""
    save_png(sheet(rows, title=title, **style.keywords()), path)


def write_montage(path: Path, strips: Sequence[Strip], names: Sequence[str], title: str, style: Style) -> None:
    """Write the montage of all pictures and rules."""
    scale = {"cmap": style.cmap, "mode": style.mode, "percentile": style.percentile, "smooth": style.smooth}
    save_png(montage(strips, names, title=title, **scale), path)


def _size(relevance: np.ndarray) -> int:
    longer = max(relevance.shape[-2:])
    return longer * max(1, -(-SMALLEST // longer))
