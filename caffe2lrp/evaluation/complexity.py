"""How complex a map is, as measured by Samek et al. 2017: simpler maps have less noise."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from caffe2lrp.pictures import normalise, to_map


def grey(relevance: np.ndarray) -> np.ndarray:
    """The map as a grey picture, uint8 (H, W): 0 for the most negative, 128 for no, 255 for the highest relevance."""
    return np.rint(127.5 + 127.5 * normalise(to_map(relevance))).astype(np.uint8)


def file_size(relevance: np.ndarray) -> int:
    """Bytes of the grey map as PNG."""
    buffer = io.BytesIO()
    Image.fromarray(grey(relevance)).save(buffer, "PNG", optimize=True)
    return buffer.tell()


def entropy(relevance: np.ndarray) -> float:
    """Shannon entropy of the 256 grey values of the map, in bits per pixel."""
    counts = np.bincount(grey(relevance).reshape(-1), minlength=256)
    p = counts[counts > 0] / counts.sum()
    return float(-(p * np.log2(p)).sum()) + 0.0
