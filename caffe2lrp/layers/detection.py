"""Boxes: the ends of SSD, and the regions that Faster R-CNN proposes."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import numpy as np

from caffe2lrp.layers.base import LayerParams, Shape, ShapeError, count, register


@register
@dataclass(frozen=True)
class PriorBox(LayerParams):
    """Boxes of several sizes and shapes around each pixel of a blob: (1, 2, 4 * boxes), corners and variances.

    The second input is the picture, whose size counts if `image` is not given. The values of the inputs do not count.

    Attributes
    ----------
    min_sizes, max_sizes
        In pixels of the picture. Caffe cuts off what is behind the decimal point (prior_box_layer.cpp).
    aspect_ratios
        Beside 1, which is always there.
    flip
        Whether the inverse of each aspect ratio is used, too.
    clip
        Whether boxes are cut off at the edges of the picture.
    variance
        One number, or one for each coordinate.
    image
        Height and width of the picture.
    step
        Distance (vertical, horizontal) of the boxes; None is the picture's size over the blob's.
    offset
        Of the first centre, in steps.
    """

    type = "PriorBox"
    input_count = (1, 2)

    min_sizes: tuple[float, ...]
    max_sizes: tuple[float, ...] = ()
    aspect_ratios: tuple[float, ...] = ()
    flip: bool = True
    clip: bool = False
    variance: tuple[float, ...] = (0.1,)
    image: tuple[int, int] | None = None
    step: tuple[float, float] | None = None
    offset: float = 0.5

    def ratios(self) -> list[float]:
        """All aspect ratios but 1, each once, in Caffe's order."""
        found = [1.0]
        for ratio in self.aspect_ratios:
            if all(abs(ratio - other) >= 1e-6 for other in found):
                found += [ratio, 1 / ratio] if self.flip else [ratio]
        return found[1:]

    def boxes_per_pixel(self) -> int:
        """Boxes around each pixel."""
        return len(self.min_sizes) * (1 + len(self.ratios())) + len(self.max_sizes)

    def sizes(self) -> list[tuple[float, float]]:
        """Width and height of the boxes around each pixel, in Caffe's order."""
        sizes = []
        for i, size in enumerate(map(int, self.min_sizes)):
            middle = float(size)
            sizes.append((middle, middle))
            if self.max_sizes:
                middle = math.sqrt(size * int(self.max_sizes[i]))
                sizes.append((middle, middle))
            sizes += [(middle * math.sqrt(ratio), middle / math.sqrt(ratio)) for ratio in self.ratios()]
        return sizes

    def values(self, inputs: list[Shape]) -> np.ndarray:
        """The output, (1, 2, 4 * boxes), in double precision; centres and sizes are rounded as in Caffe."""
        single = np.float32
        grid, image = inputs[0][2:], self.image or inputs[1][2:]
        step = self.step or tuple(float(single(a) / single(b)) for a, b in zip(image, grid, strict=True))
        y, x = (
            (np.arange(n) + single(self.offset)).astype(single) * single(s) for n, s in zip(grid, step, strict=True)
        )
        centres = np.stack(np.broadcast_arrays(x[None, :, None], y[:, None, None]), axis=-1).astype(np.float64)
        half = np.array(self.sizes(), single).astype(np.float64) / 2
        boxes = np.concatenate([centres - half, centres + half], axis=-1) / np.array([image[1], image[0]] * 2, float)
        if self.clip:
            boxes = boxes.clip(0, 1)
        variances = np.broadcast_to(np.array(self.variance), (boxes.size // 4, 4))
        return np.stack([boxes.reshape(-1), variances.reshape(-1)])[None]

    def output_shapes(self, inputs: list[Shape]) -> list[Shape]:
        if any(len(shape) != 4 for shape in inputs):
            raise ShapeError(f"needs images (N, C, H, W), but its inputs have the shapes {inputs}")
        if self.image is None and len(inputs) == 1:
            raise ShapeError("needs the picture as second input, or its size in img_size or img_h and img_w")
        return [(1, 2, inputs[0][2] * inputs[0][3] * self.boxes_per_pixel() * 4)]


@register
@dataclass(frozen=True)
class DetectionOutput(LayerParams):
    """Detections (1, 1, N * rows, 7): image, label, confidence, left, top, right, bottom, in parts of the picture.

    How many detections there are depends on the picture, but a blob has one shape: each image has `rows` rows, and
    those that are left over hold (image, -1, -1, -1, -1, -1, -1), which Caffe writes where it finds nothing. Without
    them the rows are Caffe's.

    Inputs are offsets (N, boxes * 4 * classes that have own ones), confidences (N, boxes * num_classes) and PriorBox's
    output.

    Attributes
    ----------
    num_classes
        Classes, with the background.
    share_location
        Whether all classes share the offsets.
    background
        Label of the background, or -1.
    nms_threshold
        Overlap (intersection over union) beyond which the less confident of two boxes of a class goes.
    top_k
        Most confident boxes of each class that are looked at, -1 for all.
    eta
        Factor of the threshold after each box that stays, while it is above 0.5.
    code_type
        What the offsets are of: corners, centre and size, or corners in parts of the size.
    variance_encoded_in_target
        Whether offsets are in units of the box and not of its variance.
    keep_top_k
        Most confident detections of each image that stay, -1 for all.
    confidence_threshold
        Confidence that a detection exceeds, or None.
    """

    type = "DetectionOutput"
    input_count = (3, 3)

    num_classes: int
    share_location: bool = True
    background: int = 0
    nms_threshold: float = 0.3
    top_k: int = -1
    eta: float = 1.0
    code_type: Literal["CORNER", "CENTER_SIZE", "CORNER_SIZE"] = "CORNER"
    variance_encoded_in_target: bool = False
    keep_top_k: int = -1
    confidence_threshold: float | None = None

    def boxes(self, inputs: list[Shape]) -> int:
        """Number of prior boxes."""
        return inputs[2][2] // 4

    def candidates(self, inputs: list[Shape]) -> int:
        """Boxes of a class that are looked at, at most."""
        boxes = self.boxes(inputs)
        return boxes if self.top_k < 0 else min(self.top_k, boxes)

    def rows(self, inputs: list[Shape]) -> int:
        """Rows of the output for each image."""
        classes = self.num_classes - (0 <= self.background < self.num_classes)
        most = classes * self.candidates(inputs)
        return most if self.keep_top_k < 0 else min(self.keep_top_k, most)

    def output_shapes(self, inputs: list[Shape]) -> list[Shape]:
        offsets, confidences, priors = inputs
        if len(priors) != 3 or priors[1] != 2 or priors[2] % 4:
            raise ShapeError(f"its third input {priors} is no output of a PriorBox layer")
        boxes = self.boxes(inputs)
        own = 1 if self.share_location else self.num_classes
        for name, shape, each in (("offsets", offsets, 4 * own), ("confidences", confidences, self.num_classes)):
            if not shape or count(shape, 1) != boxes * each:
                raise ShapeError(f"its {name} have the shape {shape}, but {boxes} boxes need {each} each")
        if offsets[0] != confidences[0]:
            raise ShapeError(f"offsets {offsets} and confidences {confidences} are of different numbers of images")
        return [(1, 1, offsets[0] * self.rows(inputs), 7)]


@register
@dataclass(frozen=True)
class ProposalLayer(LayerParams):
    """Regions (rows, 5) that are likely to hold something, for ROIPooling: py-faster-rcnn's layer written in Python.

    How many there are depends on the picture, but a blob has one shape: rows that are left over are 0, a region of
    one pixel in the corner. Without them the rows are those of py-faster-rcnn. Inputs are scores (1, 2 A, H, W), of
    which the second half counts, offsets (1, 4 A, H, W) to A boxes at each pixel, and the picture's height, width and
    scale (1, 3).

    Attributes
    ----------
    feat_stride
        Pixels of the picture for a pixel of the scores.
    scales, ratios
        Sizes (in units of `base_size`) and ratios of height to width of the boxes at each pixel.
    base_size
        Side of the smallest box, in pixels.
    min_size
        Least side of a region in the picture before it was scaled.
    candidates, most
        Most likely boxes that are looked at, and that are kept.
    threshold
        Overlap beyond which the less likely of two boxes goes.
    scores
        Whether there is a second output, the scores (rows, 1).
    """

    type = "ProposalLayer"
    input_count = (3, 3)

    feat_stride: int = 16
    scales: tuple[float, ...] = (8.0, 16.0, 32.0)
    ratios: tuple[float, ...] = (0.5, 1.0, 2.0)
    base_size: int = 16
    min_size: float = 16.0
    candidates: int = 6000
    most: int = 300
    threshold: float = 0.7
    scores: bool = False

    def anchors(self, shape: Shape) -> np.ndarray:
        """Boxes (H * W * A, 4) for scores (1, 2 A, H, W), in double precision."""
        middle = 0.5 * (self.base_size - 1)
        boxes = []
        for ratio in self.ratios:
            width = np.round(np.sqrt(self.base_size**2 / ratio))
            for scale in self.scales:
                half = 0.5 * (scale * np.array([width, np.round(width * ratio)]) - 1)
                boxes.append([*(middle - half), *(middle + half)])
        y, x = np.mgrid[: shape[2], : shape[3]] * self.feat_stride
        shifts = np.stack([x, y, x, y], axis=-1).reshape(-1, 1, 4)
        return (shifts + np.array(boxes)).reshape(-1, 4)

    def output_shapes(self, inputs: list[Shape]) -> list[Shape]:
        scores, offsets, picture = inputs
        each = len(self.scales) * len(self.ratios)
        if len(scores) != 4 or scores[:2] != (1, 2 * each) or offsets != (1, 4 * each, *scores[2:]):
            raise ShapeError(
                f"scores {scores} and offsets {offsets} are not (1, {2 * each}, H, W) and (1, {4 * each}, H, W), as "
                f"{each} boxes at each pixel of one image need"
            )
        if not picture or picture[0] != 1 or count(picture, 1) < 3:
            raise ShapeError(f"its third input {picture} does not hold height, width and scale of one image")
        rows = min(self.most, self.candidates, each * count(scores, 2))
        return [(rows, 5), (rows, 1)] if self.scores else [(rows, 5)]
