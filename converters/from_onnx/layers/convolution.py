"""Conv."""

from __future__ import annotations

from caffe2lrp.converters.from_onnx.node import Node, ReadError
from caffe2lrp.converters.from_onnx.registry import reads
from caffe2lrp.converters.from_onnx.windows import pad, read_window
from caffe2lrp.layers.convolution import Convolution


@reads("Conv")
def _conv(node: Node) -> None:
    """Padding that differs at the two ends of an axis is a layer of its own."""
    x, weights = node.blob(), {"weight": node.weights(1)}
    window = read_window(node, x.shape, weights["weight"].shape[2:])
    group = node.integer("group", 1)
    if group < 1:
        raise ReadError(f"group is {group} but must be at least 1")
    if node.has(2):
        weights["bias"] = node.weights(2)
    padding = window.begin
    if window.begin != window.end:
        x, padding = pad(node, x, window.begin, window.end, 0.0), window.none
    num_output = weights["weight"].shape[0]
    params = Convolution(num_output, window.kernel, window.stride, padding, window.dilation, group, "bias" in weights)
    node.add(params, x, weights=weights)
