"""ROIPooling."""

from __future__ import annotations

from caffe2lrp.converters.onnx.graph import GraphBuilder
from caffe2lrp.converters.onnx.registry import emits
from caffe2lrp.errors import ModelError
from caffe2lrp.ir import Layer
from caffe2lrp.layers.regions import ROIPooling

_NEWEST = 21
"""MaxRoiPool changed in opset 22, to take more types; onnxruntime kept the old one."""


@emits(ROIPooling, single=True)
def _roi_pooling(graph: GraphBuilder, layer: Layer) -> None:
    """MaxRoiPool is Caffe's layer."""
    p = layer.params
    assert isinstance(p, ROIPooling)
    if graph.opset > _NEWEST:
        raise ModelError(
            f"{layer}: onnxruntime has no MaxRoiPool of opset {graph.opset}; convert to {_NEWEST} or older"
        )
    x, regions = graph.inputs(layer)
    if len(graph.shape(layer.inputs[1])) != 2:
        regions = graph.node("Reshape", [regions, graph.constant([0, 5], f"{layer.name}.shape")], layer=layer)
    graph.node(
        "MaxRoiPool", [x, regions], graph.outputs(layer), layer=layer,
        pooled_shape=p.pooled, spatial_scale=p.spatial_scale,
    )  # fmt: skip
