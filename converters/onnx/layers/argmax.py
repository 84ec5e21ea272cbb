"""ArgMax: ONNX's TopK, looking from the end, as of equal values Caffe takes the last."""

from __future__ import annotations

import numpy as np

from caffe2lrp.converters.onnx.graph import GraphBuilder, tensor_type
from caffe2lrp.converters.onnx.registry import emits
from caffe2lrp.ir import Layer
from caffe2lrp.layers.argmax import ArgMax
from caffe2lrp.layers.base import canonical_axis


@emits(ArgMax)
def _argmax(graph: GraphBuilder, layer: Layer) -> None:
    p = layer.params
    assert isinstance(p, ArgMax)
    (x,), outputs = graph.inputs(layer), graph.outputs(layer)
    if p.axis is not None:
        indices, values = _top(graph, layer, x, canonical_axis(p.axis, graph.shape(layer.inputs[0])), p.top_k)
        graph.node("Identity", [values if p.out_max_val else indices], outputs, layer=layer)
        return
    pair = _top(graph, layer, graph.node("Flatten", [x], layer=layer, axis=1), 1, p.top_k)
    behind = len(graph.shape(layer.outputs[0])) - 3
    rows = graph.constant([0, 1, p.top_k, *[1] * behind], f"{layer.name}.shape")
    wanted = pair if p.out_max_val else pair[:1]
    shaped = [graph.node("Reshape", [tensor, rows], layer=layer) for tensor in wanted]
    graph.node("Concat", shaped, outputs, layer=layer, axis=1)


def _top(graph: GraphBuilder, layer: Layer, x: str, axis: int, k: int) -> tuple[str, str]:
    """Indices, as floating-point numbers, and values of the k largest along an axis."""
    numbers = {"start": -1, "end": np.iinfo(np.int64).min, "axis": axis, "step": -1, "one": 1}
    start, end, along, step, one = (graph.constant([value], f"{layer.name}.{name}") for name, value in numbers.items())
    turned = graph.node("Slice", [x, start, end, along, step], layer=layer)
    count = graph.constant([k], f"{layer.name}.k")
    values, places = graph.tensor(f"{layer.name}/values"), graph.tensor(f"{layer.name}/places")
    graph.node("TopK", [turned, count], [values, places], layer=layer, axis=axis, largest=1, sorted=1)
    size = graph.node("Gather", [graph.node("Shape", [x], layer=layer), along], layer=layer)
    last = graph.node("Sub", [size, one], layer=layer)
    indices = graph.node("Sub", [last, places], layer=layer)
    return graph.node("Cast", [indices], layer=layer, to=tensor_type(graph.dtype)), values
