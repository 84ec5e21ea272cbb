"""Random and chosen cases of the layer types of Caffe's forks; a part of `tests.layer_cases`."""

from __future__ import annotations

import math
from typing import Any

from hypothesis import strategies as st

from caffe2lrp.layers import axpy, batch_norm, clipped, detection, normalize, permute, regions, upsample
from caffe2lrp.layers.base import LayerParams
from caffe2lrp.layers.pooling import Pooling

Shape = tuple[int, ...]
Case = tuple[LayerParams, list[Shape]]
SIZES = st.sampled_from([1, 2, 3, 5])


def blobs(least: int, most: int = 4) -> st.SearchStrategy[Shape]:
    return st.lists(SIZES, min_size=least, max_size=most).map(tuple)


@st.composite
def permutations(draw: st.DrawFn) -> Case:
    shape = draw(blobs(1, 5))
    order = draw(st.permutations(range(len(shape))))
    return permute.Permute(tuple(order[: draw(st.integers(0, len(order)))])), [shape]


@st.composite
def shuffles(draw: st.DrawFn) -> Case:
    shape = list(draw(blobs(2)))
    group = draw(SIZES)
    shape[1] *= group
    return permute.ShuffleChannel(group), [tuple(shape)]


@st.composite
def interps(draw: st.DrawFn) -> Case:
    crop = draw(st.tuples(st.integers(0, 1), st.integers(0, 2)))
    size = [draw(st.integers(1, 6)) + sum(crop) for _ in range(2)]
    if draw(st.booleans()):
        params = upsample.Interp(draw(st.tuples(st.integers(1, 9), st.integers(1, 9))), crop=crop)
    else:
        params = upsample.Interp(None, draw(st.integers(1, 3)), draw(st.integers(1, 4)), crop)
    return params, [(draw(st.integers(1, 2)), draw(st.integers(1, 3)), *size)]


@st.composite
def upsamples(draw: st.DrawFn) -> Case:
    shape = draw(blobs(4))
    scale = draw(st.tuples(st.integers(1, 3), st.integers(1, 3)))
    if draw(st.booleans()):
        return upsample.Upsample(scale), [shape]
    if draw(st.booleans()):
        return upsample.Upsample(size=draw(st.tuples(st.integers(1, 4), st.integers(1, 4)))), [shape, shape]
    cut = tuple(int(s == 2 and n > 1 and draw(st.booleans())) for s, n in zip(scale, shape[2:], strict=True))
    return upsample.Upsample(scale, None, (cut[0], cut[1])), [shape, shape]


@st.composite
def axpys(draw: st.DrawFn) -> Case:
    shape = draw(blobs(2))
    a = draw(st.sampled_from([shape[:2], (*shape[:2], *[1] * (len(shape) - 2))]))
    return axpy.Axpy(), [a, shape, shape]


@st.composite
def roi_poolings(draw: st.DrawFn) -> Case:
    """Grids of powers of two, of which single and double precision see the same cells."""
    pooled = draw(st.tuples(st.sampled_from([1, 2, 4]), st.sampled_from([1, 2, 4])))
    shape = (draw(st.integers(1, 3)), draw(st.integers(1, 3)), draw(st.integers(1, 7)), draw(st.integers(1, 7)))
    scale = draw(st.sampled_from([0.5, 2.0, 3.0]))
    return regions.ROIPooling(pooled, scale), [shape, draw(st.sampled_from([(3, 5), (1, 5, 1, 1)]))]


@st.composite
def prior_boxes(draw: st.DrawFn) -> Case:
    small = tuple(draw(st.lists(st.sampled_from([2.0, 7.5, 10.0]), min_size=1, max_size=2)))
    params = detection.PriorBox(
        small,
        tuple(s * 2 + 1 for s in small) if draw(st.booleans()) else (),
        tuple(draw(st.lists(st.sampled_from([1.0, 2.0, 3.0, 0.5]), max_size=3))),
        draw(st.booleans()),
        draw(st.booleans()),
        draw(st.sampled_from([(0.1,), (0.1, 0.1, 0.2, 0.2)])),
        draw(st.sampled_from([None, (30, 20)])),
        draw(st.sampled_from([None, (4.0, 3.0)])),
        draw(st.sampled_from([0.5, 0.0])),
    )
    shapes = [draw(blobs(4)), (1, 3, 17, 23)]
    return params, shapes if params.image is None or draw(st.booleans()) else shapes[:1]


@st.composite
def detection_outputs(draw: st.DrawFn) -> Case:
    classes, boxes, images = draw(st.integers(1, 4)), draw(st.integers(1, 12)), draw(st.integers(1, 2))
    params = detection.DetectionOutput(
        classes,
        draw(st.booleans()),
        draw(st.sampled_from([-1, 0] if classes > 1 else [-1])),
        draw(st.sampled_from([0.0, 0.3, 0.7])),
        draw(st.sampled_from([-1, 2, 5])),
        draw(st.sampled_from([1.0, 0.6])),
        draw(st.sampled_from(["CORNER", "CENTER_SIZE", "CORNER_SIZE"])),
        draw(st.booleans()),
        draw(st.sampled_from([-1, 1, 3])),
        draw(st.sampled_from([None, 0.25])),
    )
    own = 1 if params.share_location else classes
    return params, [(images, boxes * own * 4), (images, boxes * classes), (1, 2, boxes * 4)]


@st.composite
def proposals(draw: st.DrawFn) -> Case:
    params = detection.ProposalLayer(
        draw(st.integers(4, 9)),
        tuple(draw(st.sampled_from([(0.5,), (0.5, 1.5)]))),
        tuple(draw(st.sampled_from([(1.0,), (0.5, 1.0, 2.0)]))),
        16,
        draw(st.sampled_from([0.05, 0.2])),
        draw(st.sampled_from([5, 6000])),
        draw(st.sampled_from([3, 300])),
        draw(st.sampled_from([0.3, 0.7])),
        draw(st.booleans()),
    )
    each, size = len(params.scales) * len(params.ratios), draw(st.tuples(st.integers(1, 4), st.integers(1, 5)))
    picture = draw(st.sampled_from([(1, 3), (1, 3, 1, 1)]))
    return params, [(1, 2 * each, *size), (1, 4 * each, *size), picture]


def _of(params: st.SearchStrategy[Any], least: int = 1) -> st.SearchStrategy[Case]:
    return st.tuples(params, blobs(least).map(lambda shape: [shape]))


CASES: dict[str, st.SearchStrategy[Case]] = {
    "Permute": permutations(),
    "ShuffleChannel": shuffles(),
    "Normalize": _of(st.builds(normalize.Normalize, st.booleans(), st.booleans(), st.sampled_from([0.01, 0.5])), 2),
    "BN": _of(st.builds(batch_norm.BN, st.booleans(), st.sampled_from([1e-5, 0.1])), 2),
    "Clip": _of(st.sampled_from([clipped.Clip(), clipped.Clip(-0.5, 0.25), clipped.Clip(0.0, math.inf)])),
    "Swish": _of(st.builds(clipped.Swish, st.sampled_from([1.0, 0.3, -2.0]))),
    "HardSigmoid": _of(st.builds(clipped.HardSigmoid, st.sampled_from([0.25, 0.75]), st.sampled_from([0.5, 0.125]))),
    "HardSwish": _of(st.just(clipped.HardSwish())),
    "Upsample": upsamples(),
    "Interp": interps(),
    "Axpy": axpys(),
    "ROIPooling": roi_poolings(),
    "PriorBox": prior_boxes(),
    "DetectionOutput": detection_outputs(),
    "ProposalLayer": proposals(),
}

CHOSEN: dict[str, list[Case]] = {
    "Permute": [
        (permute.Permute((0, 2, 3, 1)), [(2, 3, 5, 7)]),  # SSD
        (permute.Permute((3, 1)), [(2, 3, 5, 7)]),
        (permute.Permute((0, 2, 1, 3, 4)), [(2, 3, 5, 2, 3)]),
    ],
    "ShuffleChannel": [(permute.ShuffleChannel(3), [(2, 15, 7, 2)])],
    "Normalize": [
        (normalize.Normalize(False, False), [(2, 3, 5, 7)]),  # SSD
        (normalize.Normalize(True, False), [(3, 2, 5, 1)]),
        (normalize.Normalize(False, True), [(2, 7)]),
    ],
    "Pooling": [
        (Pooling("MAX", (2, 2), (2, 2), mask=True), [(2, 3, 6, 5)]),  # SegNet
        (Pooling("MAX", (3, 2), (2, 1), (1, 1), mask=True), [(2, 3, 7, 5)]),
        (Pooling("MAX", (1, 2), (4, 5), mask=True), [(1, 1, 6, 8)]),  # with a last window beyond the image
        (Pooling("MAX", None, mask=True), [(2, 3, 5, 4)]),
    ],
    "Interp": [
        (upsample.Interp((33, 17)), [(2, 3, 5, 3)]),
        (upsample.Interp(None, 1, 8), [(1, 2, 5, 4)]),  # DeepLab
        (upsample.Interp(None, 2, 1), [(1, 2, 9, 6)]),
        (upsample.Interp((1, 1)), [(1, 2, 3, 4)]),
        (upsample.Interp((3, 4)), [(1, 2, 3, 4)]),
    ],
    "Axpy": [(axpy.Axpy(), [(2, 3, 1, 1), (2, 3, 5, 7), (2, 3, 5, 7)])],
    "Upsample": [(upsample.Upsample((2, 2), None, (1, 0)), [(2, 3, 3, 5), (2, 3, 3, 5)])],
    "DetectionOutput": [
        (
            detection.DetectionOutput(5, True, 0, 0.45, 20, 1.0, "CENTER_SIZE", False, 10, 0.01),
            [(2, 160), (2, 200), (1, 2, 160)],
        ),
    ],
}
