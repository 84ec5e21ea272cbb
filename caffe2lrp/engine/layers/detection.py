"""PriorBox, DetectionOutput and ProposalLayer. Relevance starts below them, at class scores."""

from __future__ import annotations

import numpy as np

from caffe2lrp.engine.backward import RelevancePlan
from caffe2lrp.engine.plan import ForwardPlan
from caffe2lrp.engine.registry import forward, gradient, relevance
from caffe2lrp.errors import ModelError
from caffe2lrp.ir import Layer
from caffe2lrp.kernels import detection
from caffe2lrp.layers.detection import DetectionOutput, PriorBox, ProposalLayer


@forward(PriorBox)
def _prior_box(plan: ForwardPlan, layer: Layer) -> None:
    """The values are there before the program runs."""
    assert isinstance(layer.params, PriorBox)
    plan.constant(layer, layer.params.values([x.shape for x in plan.inputs(layer)]))


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
    least = -np.inf if p.confidence_threshold is None else p.confidence_threshold
    top_k = p.candidates([x.shape for x in inputs])

    def run() -> None:
        with np.errstate(over="ignore"):
            found = detection.decode(offsets, priors, units if p.variance_encoded_in_target else variances, p.code_type)
        for n in range(images):
            rows[n, :, 0] = n
            detection.detections(
                found[n], scores[n], rows[n, :, 1:],
                background=p.background, confidence=least, top_k=top_k, threshold=p.nms_threshold, eta=p.eta,
            )  # fmt: skip

    plan.program.add_python(run, layer.name)


@forward(ProposalLayer)
def _proposal(plan: ForwardPlan, layer: Layer) -> None:
    p = layer.params
    assert isinstance(p, ProposalLayer)
    scores, offsets, picture = plan.inputs(layer)
    regions = plan.output(layer)
    kept = plan.output(layer, 1) if len(layer.outputs) == 2 else plan.new((len(regions), 1))
    anchors = p.anchors(scores.shape).astype(plan.dtype)

    def run() -> None:
        likely = scores[0, scores.shape[1] // 2 :].transpose(1, 2, 0).reshape(-1)
        moved = offsets[0].transpose(1, 2, 0).reshape(-1, 4)
        with np.errstate(over="ignore"):
            kept[:, 0] = detection.proposals(
                anchors, moved, likely, picture.reshape(-1), regions,
                least=p.min_size, candidates=p.candidates, threshold=p.threshold,
            )  # fmt: skip

    plan.program.add_python(run, layer.name)


@relevance(PriorBox, DetectionOutput, ProposalLayer)
@gradient(PriorBox, DetectionOutput, ProposalLayer)
def _no_relevance(plan: RelevancePlan, layer: Layer) -> None:
    hint = ""
    if isinstance(layer.params, DetectionOutput):
        hint = f", for example with layer='{layer.inputs[1]}', and name a class of a box as the target"
    raise ModelError(f"{layer}: detections are sorted and picked out, which passes no relevance; start below it{hint}")
