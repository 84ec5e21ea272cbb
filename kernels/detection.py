"""Boxes: decoding, and the suppression of boxes that overlap. Plain NumPy, as the work is small.

A box is (left, top, right, bottom), in parts of the picture (SSD) or in pixels (Faster R-CNN).
"""

from __future__ import annotations

import numpy as np


def decode(offsets: np.ndarray, priors: np.ndarray, variances: np.ndarray, code: str) -> np.ndarray:
    """Boxes (N, boxes, classes, 4) out of offsets of the same shape to priors (boxes, 4)."""
    low, high = priors[:, None, :2], priors[:, None, 2:]
    moved, size = offsets * variances[:, None], high - low
    if code == "CORNER":
        return priors[:, None] + moved
    if code == "CORNER_SIZE":
        return priors[:, None] + moved * np.concatenate([size, size], axis=-1)
    centre = moved[..., :2] * size + (low + high) / 2
    half = np.exp(moved[..., 2:]) * size / 2
    return np.concatenate([centre - half, centre + half], axis=-1)


def overlaps(box: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Intersection over union of a box with others (K, 4); 0 where they do not meet."""
    sides = np.minimum(box[2:], others[:, 2:]) - np.maximum(box[:2], others[:, :2])
    common = sides[:, 0] * sides[:, 1]
    meet = (sides > 0).all(axis=1)
    union = _area(box[None]) + _area(others) - common
    return np.divide(common, union, out=np.zeros_like(common), where=meet)


def _area(boxes: np.ndarray) -> np.ndarray:
    """Areas; a box that ends before it begins has none."""
    sides = boxes[:, 2:] - boxes[:, :2]
    area: np.ndarray = np.where((sides < 0).any(axis=1), 0, sides[:, 0] * sides[:, 1])
    return area.astype(boxes.dtype)


def suppress(boxes: np.ndarray, threshold: float, eta: float = 1.0, most: int | None = None) -> list[int]:
    """Which of the boxes (K, 4), in falling order of confidence, stay: those that overlap none before too much."""
    kept: list[int] = []
    for i, box in enumerate(boxes):
        if len(kept) == most:
            break
        if kept and overlaps(box, boxes[kept]).max() > threshold:
            continue
        kept.append(i)
        if eta < 1 and threshold > 0.5:
            threshold *= eta
    return kept


def detections(
    boxes: np.ndarray,
    scores: np.ndarray,
    out: np.ndarray,
    *,
    background: int,
    confidence: float,
    top_k: int,
    threshold: float,
    eta: float,
) -> None:
    """Detections of one image, by label.

    Parameters
    ----------
    boxes
        (boxes, classes or 1, 4).
    scores
        (boxes, classes).
    out
        Rows (label, confidence, box); if there are more detections, the most confident ones stay, and rows that are
        left over are -1.
    background
        Class that is passed over.
    confidence
        What scores must exceed.
    top_k
        Most confident boxes of each class that are looked at.
    threshold, eta
        Of `suppress`.
    """
    out[:] = -1
    found: list[tuple[int, int]] = []  # (label, box)
    for label in range(scores.shape[1]):
        if label == background:
            continue
        order = np.argsort(-scores[:, label], kind="stable")
        order = order[scores[order, label] > confidence][:top_k]
        own = boxes[:, label if boxes.shape[1] > 1 else 0]
        found += [(label, int(order[k])) for k in suppress(own[order], threshold, eta)]
    if len(found) > len(out):
        values = np.array([scores[box, label] for label, box in found])
        found = [found[k] for k in np.sort(np.argsort(-values, kind="stable")[: len(out)])]
    for row, (label, box) in zip(out, found, strict=False):
        row[0], row[1], row[2:] = label, scores[box, label], boxes[box, label if boxes.shape[1] > 1 else 0]


def proposals(
    anchors: np.ndarray,
    offsets: np.ndarray,
    scores: np.ndarray,
    picture: np.ndarray,
    out: np.ndarray,
    *,
    least: float,
    candidates: int,
    threshold: float,
) -> np.ndarray:
    """Regions of a picture into rows (0, box) of `out`; rows that are left over are 0. The scores of the rows.

    Parameters
    ----------
    anchors, offsets
        Boxes in pixels, last pixel included, and how they are moved and stretched, (boxes, 4).
    scores
        (boxes,).
    picture
        Height, width and scale.
    least
        Least side of a region, times the scale.
    candidates
        Most likely boxes that are looked at.
    threshold
        Of `suppress`.
    """
    sides = anchors[:, 2:] - anchors[:, :2] + 1
    centre = offsets[:, :2] * sides + anchors[:, :2] + sides / 2
    half = np.exp(offsets[:, 2:]) * sides / 2
    last = np.array([picture[1] - 1, picture[0] - 1] * 2, anchors.dtype)
    boxes = np.maximum(np.minimum(np.concatenate([centre - half, centre + half], axis=1), last), 0)
    large = (boxes[:, 2:] - boxes[:, :2] + 1 >= least * picture[2]).all(axis=1)
    order = np.flatnonzero(large)
    order = order[np.argsort(-scores[order], kind="stable")][:candidates]
    ends = np.array([0, 0, 1, 1], anchors.dtype)  # of the last pixel
    chosen = order[suppress(boxes[order] + ends, threshold, most=len(out))]
    out[:] = 0
    out[: len(chosen), 1:] = boxes[chosen]
    kept = np.zeros(len(out), scores.dtype)
    kept[: len(chosen)] = scores[chosen]
    return kept
