"""The files that `explain` writes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from caffe2lrp.conservation import Account
from caffe2lrp.errors import OptionError
from caffe2lrp.pictures import Row, Strip, Style, channel_bars, layer_bars, montage, save_png, sheet
from caffe2lrp.pictures.drawing import SMALLEST


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


def write_layers(path: Path, account: Account, title: str) -> dict[str, str]:
    """Write relevance by layer."""
    return {"layers": str(save_png(layer_bars(account, title), f"{path}.layers.png"))}


def write_blob(path: Path, blob: str, relevance: np.ndarray, style: Style) -> dict[str, str]:
    """Write the relevance of an inner blob, (C, H, W) or (C,): the strongest channels, and the map, if any."""
    stem = f"{path}.{blob.replace('/', '_')}"
    files = {f"{blob} channels": str(save_png(channel_bars(relevance, title=blob), f"{stem}.channels.png"))}
    if relevance.ndim == 3 and relevance[0].size > 1:
        unblurred = replace(style, smooth=0.0)  # sigma is meant in pixels of the photo
        files[f"{blob} heatmap"] = str(save_png(unblurred.heatmap(relevance, _size(relevance)), f"{stem}.heatmap.png"))
    return files


def write_sheet(path: Path, rows: Sequence[Row], title: str, style: Style) -> None:
    """Write the sheet of all classes of a picture."""
    save_png(sheet(rows, title=title, **style.keywords()), path)


def write_montage(path: Path, strips: Sequence[Strip], names: Sequence[str], title: str, style: Style) -> None:
    """Write the montage of all pictures and rules."""
    page = montage(
        strips,
        names,
        title=title,
        cmap=style.cmap,
        mode=style.mode,
        percentile=style.percentile,
        smooth=style.smooth,
    )
    save_png(page, path)


def _size(relevance: np.ndarray) -> int:
    longer = max(relevance.shape[-2:])
    return longer * max(1, -(-SMALLEST // longer))
