"""How much relevance lies on the object: mass and rank accuracy (Arras et al. 2022, "CLEVR-XAI")."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
from PIL import Image, ImageDraw

from caffe2lrp.errors import FileFormatError
from caffe2lrp.preprocessing import Preprocessing, read_image

_LARGEST = 1 << 20
"""An annotation is a few kilobytes; more is no annotation."""


def mass_accuracy(relevance: np.ndarray, mask: np.ndarray) -> float:
    """Part of the positive relevance that lies inside.

    Parameters
    ----------
    relevance
        (C, H, W) or (H, W); channels are summed.
    mask
        bool, (H, W).

    Returns
    -------
    float
        0..1; NaN where nothing is positive.
    """
    values = np.maximum(_summed(relevance), 0)
    total = values.sum()
    return float(values[mask].sum() / total) if total > 0 else float("nan")


def rank_accuracy(relevance: np.ndarray, mask: np.ndarray) -> float:
    """Part of the K most relevant pixels that lie inside, K being the size of the mask; NaN for an empty mask."""
    k = int(mask.sum())
    if k == 0:
        return float("nan")
    best = np.argsort(-_summed(relevance).reshape(-1), kind="stable")[:k]
    return float(mask.reshape(-1)[best].mean())


def _summed(relevance: np.ndarray) -> np.ndarray:
    return relevance.sum(axis=0, dtype=np.float64) if relevance.ndim == 3 else relevance.astype(np.float64)


def read_boxes(path: str | os.PathLike[str]) -> list[tuple[int, int, int, int]]:
    """Boxes of a PASCAL VOC annotation.

    Returns
    -------
    list of tuple
        (left, top, right, bottom) in pixels of the photo, from 0, right and bottom exclusive; VOC counts from 1.

    Raises
    ------
    FileFormatError
        If it cannot be read or is no such annotation.
    """
    file = Path(path)
    try:
        data = file.read_bytes()
    except OSError as error:
        raise FileFormatError(f"cannot read '{file}': {error.strerror or error}") from None
    if len(data) > _LARGEST or b"<!ENTITY" in data:
        raise FileFormatError(f"'{file}' is not a PASCAL VOC annotation")
    try:
        root = ElementTree.fromstring(data)
        boxes = [[round(float(box.findtext(side, ""))) for side in ("xmin", "ymin", "xmax", "ymax")]
                 for box in root.iterfind("object/bndbox")]  # fmt: skip
    except (ElementTree.ParseError, ValueError) as error:
        raise FileFormatError(f"'{file}' is not a PASCAL VOC annotation: {error}") from None
    if not boxes or any(right < left or bottom < top for left, top, right, bottom in boxes):
        raise FileFormatError(f"'{file}' holds no boxes (annotation/object/bndbox), or boxes of negative size")
    return [(left - 1, top - 1, right, bottom) for left, top, right, bottom in boxes]


def mask_of(photo: Path, annotation: Path, preprocessing: Preprocessing, shape: tuple[int, ...]) -> np.ndarray:
    """The mask as the network sees it: drawn on the photo's pixels, then resized and cropped as the photo.

    Parameters
    ----------
    photo
        The photo.
    annotation
        PASCAL VOC XML, or an image of the photo's size that is not black where the object is.
    preprocessing
        Of the network.
    shape
        Input shape of the network.

    Returns
    -------
    numpy.ndarray
        bool, (H, W).
    """
    size = read_image(photo).size
    if annotation.suffix.lower() == ".xml":
        drawn = Image.new("RGB", size)
        draw = ImageDraw.Draw(drawn)
        for left, top, right, bottom in read_boxes(annotation):
            draw.rectangle((left, top, right - 1, bottom - 1), fill="white")
    else:
        drawn = read_image(annotation)
        if drawn.size != size:
            raise FileFormatError(
                f"the mask '{annotation}' has {drawn.width} x {drawn.height} pixels, its photo {size[0]} x {size[1]}"
            )
    view = replace(preprocessing, interpolation="nearest").prepare(drawn, shape).view
    return view.max(axis=2) > 0
