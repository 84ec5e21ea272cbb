"""BatchReindex is ONNX's Gather, Filter its Compress."""

from __future__ import annotations

import numpy as np

from caffe2lrp.converters.onnx.graph import GraphBuilder, tensor_type
from caffe2lrp.converters.onnx.registry import emits
from caffe2lrp.ir import Layer
from caffe2lrp.layers.batch import BatchReindex, Filter


@emits(BatchReindex)
def _batch_reindex(graph: GraphBuilder, layer: Layer) -> None:
    images = graph.inputs(layer)[0]
    graph.node("Gather", [images, graph.index(layer, 1)], graph.outputs(layer), layer=layer)


@emits(Filter)
def _filter(graph: GraphBuilder, layer: Layer) -> None:
    """Any images may be left out here: sizes of ONNX tensors may depend on the data."""
    *images, selector = graph.inputs(layer)
    flat = graph.node("Reshape", [selector, graph.constant([-1], f"{layer.name}.shape")], layer=layer)
    chosen = graph.node("Cast", [flat], layer=layer, to=tensor_type(np.bool_))
    for x, y in zip(images, graph.outputs(layer), strict=False):
        graph.node("Compress", [x, chosen], [y], layer=layer, axis=0)
