"""PriorBox, DetectionOutput and ProposalLayer.

Prior boxes depend on sizes only and are a constant. Detections are ONNX's NonMaxSuppression between two sortings: the
most confident boxes of each class go in, and of all that stay the most confident ones come out, by label.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from caffe2lrp.converters.onnx.graph import GraphBuilder
from caffe2lrp.converters.onnx.registry import emits
from caffe2lrp.errors import ModelError
from caffe2lrp.ir import Layer
from caffe2lrp.layers.detection import DetectionOutput, PriorBox, ProposalLayer


@emits(PriorBox, single=True)
def _prior_box(graph: GraphBuilder, layer: Layer) -> None:
    assert isinstance(layer.params, PriorBox)
    values = layer.params.values([graph.shape(blob) for blob in layer.inputs])
    boxes = graph.constant(values, f"{layer.name}.boxes")
    graph.node("Identity", [boxes], graph.outputs(layer), layer=layer)


@emits(DetectionOutput, single=True)
def _detection_output(graph: GraphBuilder, layer: Layer) -> None:
    p = layer.params
    assert isinstance(p, DetectionOutput)
    if p.eta < 1:
        raise ModelError(f"{layer}: no ONNX operator lowers the threshold of overlap as it goes (eta {p.eta:g})")
    _Detections(graph, layer, p).emit()


class _Boxes:
    """Short ways to write nodes of a layer, and what both kinds of detectors do."""

    def __init__(self, graph: GraphBuilder, layer: Layer) -> None:
        self.graph, self.layer = graph, layer

    def node(self, op: str, *inputs: str, **attributes: Any) -> str:
        return self.graph.node(op, inputs, layer=self.layer, **attributes)

    def whole(self, name: str, *values: int) -> str:
        return self.graph.constant(list(values), f"{self.layer.name}.{name}")

    def real(self, name: str, value: float) -> str:
        return self.graph.constant(np.array(value), f"{self.layer.name}.{name}")

    def shaped(self, x: str, *shape: int) -> str:
        return self.node("Reshape", x, self.whole("shape", *shape))

    def top(self, x: str, k: int, axis: int, largest: int = 1) -> tuple[str, str]:
        """The k largest (smallest) values in falling (rising) order, and where they were."""
        outputs = [self.graph.tensor(f"{self.layer.name}/{name}") for name in ("values", "places")]
        self.graph.node(
            "TopK", [x, self.whole("k", k)], outputs, layer=self.layer, axis=axis, largest=largest, sorted=1
        )
        return outputs[0], outputs[1]

    def half(self, x: str, which: int, axis: int) -> str:
        """The first or the last two of four coordinates."""
        start, stop = 2 * which, 2 * which + 2
        return self.node(
            "Slice", x, self.whole("start", start), self.whole("stop", stop), self.whole("coordinates", axis)
        )

    def suppressed(
        self, scores: str, boxes: str, lists: int, candidates: int, threshold: float, least: float | None = None
    ) -> str:
        """Whether each candidate (lists, candidates) stays, by its score and box (lists, candidates, 4)."""
        overlap = np.array([min(threshold, 1.0)], np.float32)
        inputs = [
            self.shaped(boxes, lists, candidates, 4),
            self.shaped(scores, lists, 1, candidates),
            self.whole("most", candidates),
            self.graph.raw_constant(overlap, f"{self.layer.name}.overlap"),
        ]
        if least is not None:
            confidence = np.array([least], np.float32)
            inputs.append(self.graph.raw_constant(confidence, f"{self.layer.name}.confidence"))
        chosen = self.node("NonMaxSuppression", *inputs)  # (list, 0, candidate) of each that stays
        places = self.node("Gather", chosen, self.whole("columns", 0, 2), axis=1)
        nothing = self.graph.raw_constant(np.zeros((lists, candidates), np.int64), f"{self.layer.name}.nothing")
        count = self.node("Slice", self.node("Shape", chosen), self.whole("first", 0), self.whole("second", 1))
        ones = self.node("Expand", self.whole("one", 1), count)
        marked = self.node("ScatterND", nothing, places, ones)
        return self.graph.cast(marked, np.dtype(bool), self.layer)


class _Detections(_Boxes):
    """One DetectionOutput layer: its sizes, and the steps. Images are N, classes without the background K."""

    def __init__(self, graph: GraphBuilder, layer: Layer, params: DetectionOutput) -> None:
        super().__init__(graph, layer)
        self.params = params
        shapes = [graph.shape(blob) for blob in layer.inputs]
        self.images, self.boxes = shapes[0][0], params.boxes(shapes)
        self.candidates, self.rows = params.candidates(shapes), params.rows(shapes)
        self.labels = [label for label in range(params.num_classes) if label != params.background]

    def emit(self) -> None:
        """All steps."""
        scores, boxes = self.best_of_each_class()
        p, n, classes = self.params, self.images, len(self.labels)
        lists = n * classes
        stays = self.suppressed(scores, boxes, lists, self.candidates, p.nms_threshold, p.confidence_threshold)
        stays = self.shaped(stays, n, classes, self.candidates)
        least = self.real("least", -np.inf)
        slots = classes * self.candidates
        kept = self.shaped(self.node("Where", stays, scores, least), n, slots)
        # The most confident ones of an image; their slots, in rising order, are sorted by label and confidence.
        values, slot = self.top(kept, self.rows, axis=1)
        none = self.whole("none", slots)
        slot = self.node("Where", self.node("Greater", values, least), slot, none)
        slot, _ = self.top(slot, self.rows, axis=1, largest=0)
        exists = self.node("Less", slot, none)
        slot = self.node("Min", slot, self.whole("last", slots - 1))
        at = self.shaped(slot, n, self.rows, 1)
        rank = self.node("Div", at, self.whole("candidates", self.candidates))
        label = self.node(
            "Gather", self.graph.constant(np.array(self.labels, float), f"{self.layer.name}.labels"), rank
        )
        score = self.node("GatherND", self.shaped(kept, n, slots, 1), at, batch_dims=1)
        box = self.node("GatherND", self.shaped(boxes, n, slots, 4), at, batch_dims=1)
        row = self.node("Concat", label, score, box, axis=2)
        row = self.node("Where", self.shaped(exists, n, self.rows, 1), row, self.real("empty", -1.0))
        image = np.broadcast_to(np.arange(n, dtype=float)[:, None, None], (n, self.rows, 1))
        numbers = self.graph.constant(np.ascontiguousarray(image), f"{self.layer.name}.images")
        found = self.node("Concat", numbers, row, axis=2)
        shape = self.whole("shape", 1, 1, n * self.rows, 7)
        self.graph.node("Reshape", [found, shape], self.graph.outputs(self.layer), layer=self.layer)

    def best_of_each_class(self) -> tuple[str, str]:
        """Scores (N, K, candidates) in falling order, and their boxes (N, K, candidates, 4)."""
        confidences = self.shaped(self.graph.inputs(self.layer)[1], self.images, self.boxes, self.params.num_classes)
        scores = self.node("Transpose", confidences, perm=(0, 2, 1))
        scores, places = self.top(self.of_labels(scores), self.candidates, axis=2)
        decoded = self.decoded()
        at = self.shaped(places, self.images, len(self.labels), self.candidates, 1)
        if self.params.share_location:
            shared = self.shaped(decoded, self.images, self.boxes, 4)
            return scores, self.node("GatherND", shared, at, batch_dims=1)
        own = self.of_labels(self.node("Transpose", decoded, perm=(0, 2, 1, 3)))
        return scores, self.node("GatherND", own, at, batch_dims=2)

    def of_labels(self, x: str) -> str:
        """Without the background, which is one of axis 1."""
        if len(self.labels) == self.params.num_classes:
            return x
        return self.node("Gather", x, self.whole("labels", *self.labels), axis=1)

    def decoded(self) -> str:
        """Boxes (N, boxes, own or 1, 4) out of the offsets to the prior boxes."""
        p, graph = self.params, self.graph
        offsets = self.shaped(graph.inputs(self.layer)[0], self.images, self.boxes, -1, 4)
        both = self.shaped(graph.inputs(self.layer)[2], 2, self.boxes, 1, 4)
        priors, variances = (self.node("Gather", both, self.whole("part", k), axis=0) for k in (0, 1))
        moved = offsets if p.variance_encoded_in_target else self.node("Mul", offsets, variances)
        if p.code_type == "CORNER":
            return self.node("Add", priors, moved)
        low, high = (self.half(priors, k, 3) for k in (0, 1))
        size = self.node("Sub", high, low)
        if p.code_type == "CORNER_SIZE":
            return self.node("Add", priors, self.node("Mul", moved, self.node("Concat", size, size, axis=3)))
        two = self.real("two", 2.0)
        middle = self.node("Div", self.node("Add", low, high), two)
        centre = self.node("Add", self.node("Mul", self.half(moved, 0, 3), size), middle)
        half = self.node("Div", self.node("Mul", self.node("Exp", self.half(moved, 1, 3)), size), two)
        return self.node("Concat", self.node("Sub", centre, half), self.node("Add", centre, half), axis=3)


@emits(ProposalLayer, single=True)
def _proposal(graph: GraphBuilder, layer: Layer) -> None:
    p = layer.params
    assert isinstance(p, ProposalLayer)
    _Proposals(graph, layer, p).emit()


class _Proposals(_Boxes):
    """One ProposalLayer. Small regions get the lowest score, so that they come last and fall away."""

    def __init__(self, graph: GraphBuilder, layer: Layer, params: ProposalLayer) -> None:
        super().__init__(graph, layer)
        self.params = params
        self.shape = graph.shape(layer.inputs[0])
        self.anchors = params.anchors(self.shape)
        self.candidates = min(params.candidates, len(self.anchors))
        self.rows = graph.shape(layer.outputs[0])[0]

    def emit(self) -> None:
        """All steps."""
        scores, offsets, picture = self.graph.inputs(self.layer)
        picture = self.shaped(picture, -1)
        boxes = self.moved(offsets, picture)
        least = self.real("least", -np.inf)
        scores = self.node("Where", self.large(boxes, picture), self.likely(scores), least)
        scores, places = self.top(scores, self.candidates, axis=0)
        boxes = self.node("Gather", boxes, places, axis=0)
        ends = self.graph.constant(np.array([0.0, 0.0, 1.0, 1.0]), f"{self.layer.name}.ends")  # of the last pixel
        stays = self.suppressed(scores, self.node("Add", boxes, ends), 1, self.candidates, self.params.threshold)
        stays = self.node("And", self.shaped(stays, -1), self.node("Greater", scores, least))
        none = self.whole("none", self.candidates)
        slots = self.graph.constant(np.arange(self.candidates), f"{self.layer.name}.slots")
        slot, _ = self.top(self.node("Where", stays, slots, none), self.rows, axis=0, largest=0)
        exists = self.shaped(self.node("Less", slot, none), self.rows, 1)
        slot = self.node("Min", slot, self.whole("last", self.candidates - 1))
        zero = self.real("zero", 0.0)
        box = self.node("Where", exists, self.node("Gather", boxes, slot, axis=0), zero)
        image = self.graph.constant(np.zeros((self.rows, 1)), f"{self.layer.name}.image")
        outputs = self.graph.outputs(self.layer)
        self.graph.node("Concat", [image, box], outputs[:1], layer=self.layer, axis=1)
        if len(outputs) == 2:
            score = self.shaped(self.node("Gather", scores, slot, axis=0), self.rows, 1)
            self.graph.node("Where", [exists, score, zero], outputs[1:], layer=self.layer)

    def likely(self, scores: str) -> str:
        """Scores (boxes) of the second half of the channels, in the order of the boxes."""
        channels = self.shape[1] // 2
        bounds = [self.whole(name, k) for name, k in (("from", channels), ("to", 2 * channels), ("channels", 1))]
        return self.shaped(self.node("Transpose", self.node("Slice", scores, *bounds), perm=(0, 2, 3, 1)), -1)

    def moved(self, offsets: str, picture: str) -> str:
        """Boxes (boxes, 4) cut off at the edges of the picture."""
        offsets = self.shaped(self.node("Transpose", offsets, perm=(0, 2, 3, 1)), -1, 4)
        sides = self.anchors[:, 2:] - self.anchors[:, :2] + 1
        size, middle, half_size = (
            self.graph.constant(value, f"{self.layer.name}.{name}")
            for name, value in (("sides", sides), ("middle", self.anchors[:, :2] + sides / 2), ("halves", sides / 2))
        )
        centre = self.node("Add", self.node("Mul", self.half(offsets, 0, 1), size), middle)
        half = self.node("Mul", self.node("Exp", self.half(offsets, 1, 1)), half_size)
        boxes = self.node("Concat", self.node("Sub", centre, half), self.node("Add", centre, half), axis=1)
        edges = self.node("Gather", picture, self.whole("edges", 1, 0, 1, 0))
        last = self.node("Sub", edges, self.real("one", 1.0))
        return self.node("Max", self.node("Min", boxes, last), self.real("zero", 0.0))

    def large(self, boxes: str, picture: str) -> str:
        """Whether both sides of each box are long enough."""
        sides = self.node(
            "Add", self.node("Sub", self.half(boxes, 1, 1), self.half(boxes, 0, 1)), self.real("one", 1.0)
        )
        scale = self.node("Gather", picture, self.whole("scale", 2))
        long = self.node("GreaterOrEqual", sides, self.node("Mul", scale, self.real("min_size", self.params.min_size)))
        width, height = (
            self.node("Gather", long, self.graph.constant(np.array(k), f"{self.layer.name}.side"), axis=1)
            for k in (0, 1)
        )
        return self.node("And", width, height)
