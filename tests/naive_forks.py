"""Naive twins of the layer types of Caffe's forks; a part of `tests.naive`, which says how they are called."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np

Array = np.ndarray
Weights = Mapping[str, Array]


def share(R: Array, z: Array, epsilon: float) -> Array:
    """R / (z + epsilon sign z), and 0 where that denominator is 0."""
    bottom = z + np.where(z < 0, -epsilon, epsilon)
    return np.where(bottom == 0, 0.0, R / np.where(bottom == 0, 1.0, bottom))


# -- values in another order ------------------------------------------------------------------------------


def permute(params: Any, weights: Weights, inputs: list[Array]) -> list[Array]:
    """Axis i of the output is axis order[i] of the input; axes that are not named keep their order behind."""
    rest = [axis for axis in range(inputs[0].ndim) if axis not in params.order]
    return [inputs[0].transpose([*params.order, *rest])]


def permute_back(params: Any, weights: Weights, inputs: list[Array], arriving: list[Array]) -> list[Array]:
    """Every value back to where it was: found by permuting the numbers of the places."""
    places = permute(params, weights, [np.arange(inputs[0].size).reshape(inputs[0].shape)])[0]
    out = np.zeros(inputs[0].size)
    out[places.ravel()] = arriving[0].ravel()
    return [out.reshape(inputs[0].shape)]


def shuffle(params: Any, weights: Weights, inputs: list[Array]) -> list[Array]:
    """Channel c of the output is channel (c mod group) * (C / group) + c // group of the input."""
    channels = inputs[0].shape[1]
    size = channels // params.group
    return [inputs[0][:, [c % params.group * size + c // params.group for c in range(channels)]]]


def shuffle_back(params: Any, weights: Weights, inputs: list[Array], arriving: list[Array]) -> list[Array]:
    """The inverse: channel (c mod group) * (C / group) + c // group gets what arrives at c."""
    size = inputs[0].shape[1] // params.group
    out = np.zeros(inputs[0].shape)
    for c in range(inputs[0].shape[1]):
        out[:, c % params.group * size + c // params.group] = arriving[0][:, c]
    return [out]


# -- normalisation ----------------------------------------------------------------------------------------


def _scale_of_channels(weights: Weights, x: Array) -> Array:
    scale = np.asarray(weights["scale"], np.float64).reshape(-1)
    return np.broadcast_to(scale.reshape(-1, *[1] * (x.ndim - 2)), x.shape[1:])


def normalize(params: Any, weights: Weights, inputs: list[Array]) -> list[Array]:
    """scale x / sqrt(sum of x^2 + epsilon), the sum over all of an image or over the channels of a pixel."""
    (x,) = inputs
    axes = tuple(range(1, x.ndim)) if params.across_spatial else (1,)
    return [_scale_of_channels(weights, x) * x / np.sqrt((x**2).sum(axis=axes, keepdims=True) + params.epsilon)]


def normalize_gradient(params: Any, weights: Weights, inputs: list[Array], arriving: list[Array]) -> list[Array]:
    """The Jacobian of each vector: diag(scale) (I / norm - x x^T / norm^3)."""
    (x,), (g,) = inputs, arriving
    out = np.zeros(x.shape)
    scale = np.broadcast_to(_scale_of_channels(weights, x), x.shape)
    flat = [a.reshape(len(x), x.shape[1], -1) for a in (x, g, scale, out)]
    for n in range(len(x)):
        pixels = flat[0].shape[2]
        groups = [np.s_[n, :, :]] if params.across_spatial else [np.s_[n, :, i] for i in range(pixels)]
        for place in groups:
            v, h, s = (a[place].ravel() for a in flat[:3])
            norm = math.sqrt(v @ v + params.epsilon)
            jacobian = np.diag(s) @ (np.eye(v.size) / norm - np.outer(v, v) / norm**3)
            flat[3][place] = (jacobian.T @ h).reshape(flat[3][place].shape)
    return [flat[3].reshape(x.shape)]


def bn(params: Any, weights: Weights, inputs: list[Array]) -> list[Array]:
    """scale (x - mean) / sqrt(variance + epsilon) + bias per channel; without statistics scale x + bias."""
    a, b = _bn_affine(params, weights, inputs[0])
    return [a * inputs[0] + b]


def _bn_affine(params: Any, weights: Weights, x: Array) -> tuple[Array, Array]:
    w = {k: np.asarray(v, np.float64).reshape(-1, *[1] * (x.ndim - 2)) for k, v in weights.items()}
    if not params.statistics:
        return w["scale"], w["bias"]
    deviation = np.sqrt(w["variance"] + params.epsilon)
    return w["scale"] / deviation, w["bias"] - w["scale"] * w["mean"] / deviation


def bn_gradient(params: Any, weights: Weights, inputs: list[Array], arriving: list[Array]) -> list[Array]:
    return [arriving[0] * _bn_affine(params, weights, inputs[0])[0]]


def bn_relevance(
    params: Any, weights: Weights, inputs: list[Array], arriving: list[Array], epsilon: float = 0.0
) -> list[Array]:
    """Epsilon rule on y = a x + b; the share of b is lost."""
    a, b = _bn_affine(params, weights, inputs[0])
    return [a * inputs[0] * share(arriving[0], a * inputs[0] + b, epsilon)]


# -- element-wise functions ---------------------------------------------------------------------------------


def _sigmoid(t: Array) -> Array:
    return 1 / (1 + np.exp(-np.clip(t, -700, 700)))


def _swish_slope(beta: float, x: Array) -> Array:
    s = _sigmoid(beta * x)
    return s + beta * x * s * (1 - s)


ELEMENTWISE: dict[str, tuple[Any, Any]] = {
    "Clip": (
        lambda p, x: np.minimum(np.maximum(x, p.low), p.high),
        lambda p, x: (x >= p.low) & (x <= p.high),
    ),
    "Swish": (lambda p, x: x * _sigmoid(p.beta * x), lambda p, x: _swish_slope(p.beta, x)),
    "HardSigmoid": (
        lambda p, x: np.clip(p.alpha * x + p.beta, 0, 1),
        lambda p, x: np.where((p.alpha * x + p.beta > 0) & (p.alpha * x + p.beta < 1), p.alpha, 0),
    ),
    "HardSwish": (
        lambda p, x: x * np.clip(x + 3, 0, 6) / 6,
        lambda p, x: np.where(x <= -3, 0, np.where(x >= 3, 1, (2 * x + 3) / 6)),
    ),
}
"""Function and derivative: (params, x) -> array."""


# -- larger images ------------------------------------------------------------------------------------------


def _unpool_owners(params: Any, x: Array, mask: Array) -> dict[tuple[int, ...], tuple[int, ...]]:
    """Output place -> the input place whose value it has: the last one that names it."""
    size = params.output_shapes([x.shape, mask.shape])[0][2:]
    owners = {}
    for place in np.ndindex(x.shape):
        pixel = math.trunc(mask[place])
        if 0 <= pixel < math.prod(size):
            owners[(*place[:2], pixel // size[1], pixel % size[1])] = place
    return owners


def upsample(params: Any, weights: Weights, inputs: list[Array]) -> list[Array]:
    """By a mask, or each pixel repeated."""
    if len(inputs) == 1:
        return [np.kron(inputs[0], np.ones(params.scale))]
    y = np.zeros(params.output_shapes([x.shape for x in inputs])[0])
    for target, source in _unpool_owners(params, *inputs).items():
        y[target] = inputs[0][source]
    return [y]


def upsample_back(params: Any, weights: Weights, inputs: list[Array], arriving: list[Array]) -> list[Array]:
    """Each output's own to its one input."""
    out = np.zeros(inputs[0].shape)
    if len(inputs) == 1:
        for n, c, y, x in np.ndindex(arriving[0].shape):
            out[n, c, y // params.scale[0], x // params.scale[1]] += arriving[0][n, c, y, x]
        return [out]
    for target, source in _unpool_owners(params, *inputs).items():
        out[source] = arriving[0][target]
    return [out, np.zeros(inputs[1].shape)]


def interp_matrix(size: int, out: int, crop: tuple[int, int]) -> Array:
    """(out, size) weights of one axis: the corners of what is left after cropping lie on each other."""
    left = size - sum(crop)
    matrix = np.zeros((out, size))
    for k in range(out):
        place = k * (left - 1) / (out - 1) if out > 1 else 0.0
        for i in range(left):
            matrix[k, crop[0] + i] = max(0.0, 1 - abs(place - i))
    return matrix


def _interp_matrices(params: Any, shape: tuple[int, ...]) -> tuple[Array, Array]:
    (target,) = params.output_shapes([shape])
    rows, columns = (interp_matrix(shape[i], target[i], params.crop) for i in (2, 3))
    return rows, columns


def interp(params: Any, weights: Weights, inputs: list[Array]) -> list[Array]:
    """Rows and columns by a matrix each."""
    rows, columns = _interp_matrices(params, inputs[0].shape)
    return [np.einsum("pi,ncij,qj->ncpq", rows, inputs[0], columns)]


def interp_gradient(params: Any, weights: Weights, inputs: list[Array], arriving: list[Array]) -> list[Array]:
    rows, columns = _interp_matrices(params, inputs[0].shape)
    return [np.einsum("pi,ncpq,qj->ncij", rows, arriving[0], columns)]


def interp_relevance(
    params: Any, weights: Weights, inputs: list[Array], arriving: list[Array], epsilon: float = 0.0
) -> list[Array]:
    """R_i = sum_j w_ij x_i / z_j R_j with the explicit matrix of the layer."""
    rows, columns = _interp_matrices(params, inputs[0].shape)
    matrix = np.kron(rows, columns)
    out = np.zeros(inputs[0].shape)
    for n, c in np.ndindex(inputs[0].shape[:2]):
        x = inputs[0][n, c].ravel()
        s = share(arriving[0][n, c].ravel(), matrix @ x, epsilon)
        out[n, c] = (x * (matrix.T @ s)).reshape(out.shape[2:])
    return [out]


# -- a x + y, regions ------------------------------------------------------------------------------------------


def _factors(a: Array, x: Array) -> Array:
    return np.broadcast_to(a.reshape(*x.shape[:2], *[1] * (x.ndim - 2)), x.shape)


def axpy(params: Any, weights: Weights, inputs: list[Array]) -> list[Array]:
    a, x, y = inputs
    return [_factors(a, x) * x + y]


def axpy_gradient(params: Any, weights: Weights, inputs: list[Array], arriving: list[Array]) -> list[Array]:
    (a, x, _), (g,) = inputs, arriving
    return [(g * x).reshape(*x.shape[:2], -1).sum(axis=2).reshape(a.shape), g * _factors(a, x), g]


def axpy_relevance(
    params: Any, weights: Weights, inputs: list[Array], arriving: list[Array], epsilon: float = 0.0
) -> list[Array]:
    """Epsilon rule on the terms a x and y; of the first both factors get half."""
    a, x, y = inputs
    product = _factors(a, x) * x
    s = share(arriving[0], product + y, epsilon)
    half = product * s / 2
    return [half.reshape(*x.shape[:2], -1).sum(axis=2).reshape(a.shape), half, y * s]


def _round(value: float) -> int:
    """C's round: halves away from 0."""
    return int(math.copysign(math.floor(abs(value) + 0.5), value))


def _cells(params: Any, x: Array, regions: Array) -> Any:
    """(output place, image, rows, columns) of each cell of each region."""
    scale = float(np.float32(params.spatial_scale))
    for row, region in enumerate(regions.reshape(-1, 5)):
        left, top, right, bottom = (_round(float(v) * scale) for v in region[1:])
        extent = max(bottom - top + 1, 1), max(right - left + 1, 1)
        for cell in np.ndindex(*params.pooled):
            edges = []
            for k, length, parts, begin, size in zip(
                cell, extent, params.pooled, (top, left), x.shape[2:], strict=True
            ):
                step = length / parts
                ends = (math.floor(k * step) + begin, math.ceil((k + 1) * step) + begin)
                edges.append(range(min(max(ends[0], 0), size), min(max(ends[1], 0), size)))
            yield (row, *cell), int(region[0]), edges[0], edges[1]


def _winner(x: Array, n: int, c: int, rows: range, columns: range) -> tuple[int, int] | None:
    places = [(i, j) for i in rows for j in columns]
    return max(places, key=lambda place: x[n, c, place[0], place[1]]) if places else None


def roi_pooling(params: Any, weights: Weights, inputs: list[Array]) -> list[Array]:
    """The largest value of each cell, 0 where it has no pixel."""
    x, regions = inputs
    y = np.zeros((len(regions), x.shape[1], *params.pooled))
    for (row, p, q), n, rows, columns in _cells(params, x, regions):
        for c in range(x.shape[1]):
            winner = _winner(x, n, c, rows, columns)
            y[row, c, p, q] = x[n, c, winner[0], winner[1]] if winner else 0
    return [y]


def roi_pooling_back(params: Any, weights: Weights, inputs: list[Array], arriving: list[Array]) -> list[Array]:
    """All to the first maximum of each cell in row-major order."""
    x, regions = inputs
    out = np.zeros(x.shape)
    for (row, p, q), n, rows, columns in _cells(params, x, regions):
        for c in range(x.shape[1]):
            winner = _winner(x, n, c, rows, columns)
            if winner:
                out[n, c, winner[0], winner[1]] += arriving[0][row, c, p, q]
    return [out, np.zeros(regions.shape)]


# -- SSD ---------------------------------------------------------------------------------------------------------


def prior_box(params: Any, weights: Weights, inputs: list[Array]) -> list[Array]:
    """Loops over pixels, sizes and ratios; single precision where Caffe has it, sizes cut to whole numbers."""
    f = np.float32
    height, width = inputs[0].shape[2:]
    image_h, image_w = params.image or inputs[1].shape[2:]
    step_h, step_w = params.step or (f(image_h) / f(height), f(image_w) / f(width))
    ratios = [1.0]
    for ratio in params.aspect_ratios:
        if not any(abs(ratio - other) < 1e-6 for other in ratios):
            ratios.append(ratio)
            if params.flip:
                ratios.append(1 / ratio)
    boxes = []
    for h in range(height):
        for w in range(width):
            x, y = (float((f(k) + f(params.offset)) * f(s)) for k, s in ((w, step_w), (h, step_h)))
            sizes = []
            for i, smallest in enumerate(params.min_sizes):
                base = float(int(smallest))
                sizes.append((base, base))
                if params.max_sizes:
                    base = math.sqrt(int(smallest) * int(params.max_sizes[i]))
                    sizes.append((base, base))
                sizes += [(base * math.sqrt(r), base / math.sqrt(r)) for r in ratios if abs(r - 1) >= 1e-6]
            for a, b in ((float(f(wide)), float(f(high))) for wide, high in sizes):
                box = [(x - a / 2) / image_w, (y - b / 2) / image_h, (x + a / 2) / image_w, (y + b / 2) / image_h]
                boxes.append([min(max(v, 0.0), 1.0) for v in box] if params.clip else box)
    variance = params.variance * 4 if len(params.variance) == 1 else params.variance
    return [np.array([np.ravel(boxes), np.ravel([variance] * len(boxes))], np.float64)[None]]


def _decoded(params: Any, offset: Array, prior: Array, variance: Array) -> list[float]:
    x0, y0, x1, y1 = prior
    w, h = x1 - x0, y1 - y0
    v = [1.0] * 4 if params.variance_encoded_in_target else variance
    t = [a * b for a, b in zip(v, offset, strict=True)]
    if params.code_type == "CORNER":
        return [x0 + t[0], y0 + t[1], x1 + t[2], y1 + t[3]]
    if params.code_type == "CORNER_SIZE":
        return [x0 + t[0] * w, y0 + t[1] * h, x1 + t[2] * w, y1 + t[3] * h]
    cx, cy = t[0] * w + (x0 + x1) / 2, t[1] * h + (y0 + y1) / 2
    bw, bh = math.exp(t[2]) * w, math.exp(t[3]) * h
    return [cx - bw / 2, cy - bh / 2, cx + bw / 2, cy + bh / 2]


def _iou(a: list[float], b: list[float]) -> float:
    def area(box: list[float]) -> float:
        return 0.0 if box[2] < box[0] or box[3] < box[1] else (box[2] - box[0]) * (box[3] - box[1])

    w, h = min(a[2], b[2]) - max(a[0], b[0]), min(a[3], b[3]) - max(a[1], b[1])
    return w * h / (area(a) + area(b) - w * h) if w > 0 and h > 0 else 0.0


def detection_output(params: Any, weights: Weights, inputs: list[Array]) -> list[Array]:
    """SSD's steps one by one; each image has its rows, and those that are left over are (image, -1, ...)."""
    images, boxes = len(inputs[0]), inputs[2].shape[2] // 4
    rows = params.output_shapes([x.shape for x in inputs])[0][2] // images
    own = 1 if params.share_location else params.num_classes
    offsets = inputs[0].reshape(images, boxes, own, 4)
    scores = inputs[1].reshape(images, boxes, params.num_classes)
    priors, variances = inputs[2].reshape(2, boxes, 4)
    least = -math.inf if params.confidence_threshold is None else params.confidence_threshold
    out = np.full((images, rows, 7), -1.0)
    for n in range(images):
        out[n, :, 0] = n
        found = []
        for label in range(params.num_classes):
            if label == params.background:
                continue
            order = sorted((-scores[n, b, label], b) for b in range(boxes) if scores[n, b, label] > least)
            order = order if params.top_k < 0 else order[: params.top_k]
            kept: list[list[float]] = []
            threshold = params.nms_threshold
            for minus, b in order:
                box = _decoded(params, offsets[n, b, 0 if own == 1 else label], priors[b], variances[b])
                if all(_iou(box, other) <= threshold for other in kept):
                    kept.append(box)
                    found.append((minus, label, len(kept), box))
                    if params.eta < 1 and threshold > 0.5:
                        threshold *= params.eta
        if params.keep_top_k >= 0:
            found = sorted(found, key=lambda entry: entry[0])[: params.keep_top_k]
        for i, (minus, label, _, box) in enumerate(sorted(found, key=lambda entry: entry[1:3])):
            out[n, i, 1:] = [label, -minus, *box]
    return [out.reshape(1, 1, -1, 7)]


def proposal_layer(params: Any, weights: Weights, inputs: list[Array]) -> list[Array]:
    """py-faster-rcnn's steps for one image; rows that are left over are 0."""
    scores, offsets, picture = inputs[0][0], inputs[1][0], inputs[2].ravel()
    shapes = []  # width and height of the boxes
    for ratio in params.ratios:
        w = np.round(math.sqrt(params.base_size**2 / ratio))
        shapes += [(w * s, np.round(w * ratio) * s) for s in params.scales]
    found = []
    for y, x in np.ndindex(scores.shape[1:]):
        for a, (w, h) in enumerate(shapes):
            dx, dy, dw, dh = offsets[4 * a : 4 * a + 4, y, x]
            # The box's first pixel is (base - w) / 2 off the corner of the base; its middle, half a box further.
            cx = x * params.feat_stride + (params.base_size - 1) / 2 + 0.5 + dx * w
            cy = y * params.feat_stride + (params.base_size - 1) / 2 + 0.5 + dy * h
            w2, h2 = math.exp(dw) * w / 2, math.exp(dh) * h / 2
            ends = (picture[1] - 1, picture[0] - 1) * 2
            box = [max(min(v, e), 0.0) for v, e in zip((cx - w2, cy - h2, cx + w2, cy + h2), ends, strict=True)]
            if min(box[2] - box[0], box[3] - box[1]) + 1 >= params.min_size * picture[2]:
                found.append((-scores[len(shapes) + a, y, x], len(found), box))
    kept: list[tuple[float, list[float]]] = []
    for minus, _, box in sorted(found)[: params.candidates]:
        wide = [*box[:2], box[2] + 1, box[3] + 1]
        if all(_iou(wide, [*b[:2], b[2] + 1, b[3] + 1]) <= params.threshold for _, b in kept):
            kept.append((-minus, box))
    rows = params.output_shapes([x.shape for x in inputs])[0][0]
    regions, values = np.zeros((rows, 5)), np.zeros((rows, 1))
    for row, (score, box) in enumerate(kept[:rows]):
        regions[row, 1:], values[row] = box, score
    return [regions, values] if params.scores else [regions]


def _pass(params: Any, weights: Weights, inputs: list[Array], arriving: list[Array], **options: Any) -> list[Array]:
    return [arriving[0]]


def _elementwise(name: str) -> tuple[Any, Any]:
    function, slope = ELEMENTWISE[name]
    return (
        lambda p, w, inputs: [function(p, inputs[0])],
        lambda p, w, inputs, arriving: [arriving[0] * slope(p, inputs[0])],
    )


FORWARD: dict[str, Any] = {
    "Permute": permute,
    "ShuffleChannel": shuffle,
    "Normalize": normalize,
    "BN": bn,
    **{name: _elementwise(name)[0] for name in ELEMENTWISE},
    "Upsample": upsample,
    "Interp": interp,
    "Axpy": axpy,
    "ROIPooling": roi_pooling,
    "PriorBox": prior_box,
    "DetectionOutput": detection_output,
    "ProposalLayer": proposal_layer,
}
GRADIENT: dict[str, Any] = {
    "Permute": permute_back,
    "ShuffleChannel": shuffle_back,
    "Normalize": normalize_gradient,
    "BN": bn_gradient,
    **{name: _elementwise(name)[1] for name in ELEMENTWISE},
    "Upsample": upsample_back,
    "Interp": interp_gradient,
    "Axpy": axpy_gradient,
    "ROIPooling": roi_pooling_back,
}
RELEVANCE: dict[str, Any] = {
    "Permute": permute_back,
    "ShuffleChannel": shuffle_back,
    "Normalize": _pass,
    "BN": bn_relevance,
    **dict.fromkeys(ELEMENTWISE, _pass),
    "Upsample": upsample_back,
    "Interp": interp_relevance,
    "Axpy": axpy_relevance,
    "ROIPooling": roi_pooling_back,
}
HEADS = frozenset({"PriorBox", "DetectionOutput", "ProposalLayer"})
"""Types through which neither relevance nor a gradient passes."""
