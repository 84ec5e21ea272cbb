"""PriorBox and DetectionOutput, the ends of SSD. Relevance starts below them, at class scores."""

from __future__ import annotations

import math

import numpy as np

from caffe2lrp.engine.backward import RelevancePlan
from caffe2lrp.engine.plan import ForwardPlan
from caffe2lrp.engine.registry import forward, gradient, relevance
from caffe2lrp.errors import ModelError
from caffe2lrp.ir import Layer
from caffe2lrp.kernels import detection
from caffe2lrp.layers.base import Shape
from caffe2lrp.layers.detection import DetectionOutput, PriorBox


def prior_values(params: PriorBox, inputs: list[Shape]) -> np.ndarray:
    """The output of a PriorBox layer, (1, 2, 4 * boxes), in double precision; it depends on shapes only."""
    grid = (inputs[0][2], inputs[0][3])
    image = params.image or (inputs[1][2], inputs[1][3])
    step = params.step or (np.float32(image[0]) / grid[0], np.float32(image[1]) / grid[1])
    boxes = detection.prior_boxes(grid, image, step, params.offset, _sizes(params))
    if params.clip:
        boxes = boxes.clip(0, 1)
    variance = np.broadcast_to(np.array(params.variance), (boxes.size // 4, 4))
    return np.stack([boxes.reshape(-1), variance.reshape(-1)])[None]


def _sizes(params: PriorBox) -> list[tuple[float, float]]:
    """Width and height of the boxes around each pixel, in Caffe's order."""
    sizes = []
    for i, size in enumerate(map(int, params.min_sizes)):
        sizes.append((float(size), float(size)))
        middle = float(size)
        if params.max_sizes:
            middle = math.sqrt(size * int(params.max_sizes[i]))
            sizes.append((middle, middle))
        sizes += [(middle * math.sqrt(ratio), middle / math.sqrt(ratio)) for ratio in params.ratios()]
    return sizes


@forward(PriorBox)
def _prior_box(plan: ForwardPlan, layer: Layer) -> None:
    """The values are there before the program runs."""
    assert isinstance(layer.params, PriorBox)
    np.copyto(
        plan.output(layer), prior_values(layer.params, [x.shape for x in plan.inputs(layer)]), casting="same_kind"
    )


@forward(DetectionOutput)
def _detection_output(plan: ForwardPlan, layer: Layer) -> None:
    p = layer.params
    assert isinstance(p, DetectionOutput)
    inputs = plan.inputs(layer)
    images, boxes = inputs[0].shape[0], inputs[2].shape[2] // 4
    offsets, scores = inputs[0].reshape(images, boxes, -1, 4), inputs[1].reshape(images, boxes, -1)
    priors, variances = inputs[2][0].reshape(2, boxes, 4)
    rows = plan.output(layer).reshape(images, -1, 7)
    units = np.ones_like(variances)
    settings = {
        "background": p.background,
        "confidence": -np.inf if p.confidence_threshold is None else p.confidence_threshold,
        "top_k": p.candidates([x.shape for x in inputs]),
        "threshold": p.nms_threshold,
        "eta": p.eta,
        "keep": rows.shape[1],
    }

    def run() -> None:
        with np.errstate(over="ignore"):
            found = detection.decode(offsets, priors, units if p.variance_encoded_in_target else variances, p.code_type)
        for n in range(images):
            rows[n, :, 0] = n
            detection.detections(found[n], scores[n], **settings, out=rows[n, :, 1:])

    plan.program.add_python(run, layer.name)


@relevance(PriorBox, DetectionOutput)
@gradient(PriorBox, DetectionOutput)
def _no_relevance(plan: RelevancePlan, layer: Layer) -> None:
    hint = ""
    if isinstance(layer.params, DetectionOutput):
        hint = f", for example with layer='{layer.inputs[1]}', and name a class of a box as the target"
    raise ModelError(f"{layer}: detections are sorted and picked out, which passes no relevance; start below it{hint}")
