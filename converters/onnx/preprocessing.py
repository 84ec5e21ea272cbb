"""Preprocessing as a part of the graph: RGB pixels in, the network's input blob out."""

from __future__ import annotations

import numpy as np

from caffe2lrp.converters.onnx.graph import GraphBuilder
from caffe2lrp.errors import OptionError

NAME = "preprocessing"
"""What its nodes are called after."""

# ITU-R 601 luma in 16-bit fixed point, as Pillow computes it; all sums are exact in float32.
_LUMA = (19595, 38470, 7471)
_HALF, _ONE = 32768, 65536


def add_preprocessing(graph: GraphBuilder) -> str:
    """Write the nodes from images to the input blob.

    The images are RGB, uint8, (N, H, W, 3), of the network's input size: resizing and cropping are not part of it.

    Returns
    -------
    str
        Name of the tensor of the images.

    Raises
    ------
    OptionError
        If the network's preprocessing is not known or does not fit it.
    """
    network = graph.network
    preprocessing = network.preprocessing
    if preprocessing is None:
        raise OptionError(f"how pictures are prepared for {network.name} is not known: set its preprocessing first")
    preprocessing.bounds(network.input_shape)  # raises where the two do not fit
    planes = network.input_shape[1]
    image = graph.tensor("image")
    pixels = image
    if planes == 3 and preprocessing.channels == "BGR":
        turned = graph.constant([2, 1, 0], f"{NAME}.channels")
        pixels = graph.node("Gather", [pixels, turned], layer=NAME, axis=3)
    x = graph.node("Cast", [pixels], layer=NAME, to=1)  # to float
    if planes == 1:
        x = _luma(graph, x)
    steps = []
    mean = preprocessing.mean_for(network.input_shape)
    if mean is not None:
        steps.append(("Sub", "mean", mean))
    if preprocessing.scale != 1:
        steps.append(("Mul", "scale", np.array(preprocessing.scale, np.float32)))
    outputs = [network.input]
    x = graph.node("Transpose", [x], None if steps else outputs, layer=NAME, perm=(0, 3, 1, 2))
    for i, (op, what, value) in enumerate(steps):
        operand = graph.raw_constant(value, f"{NAME}.{what}")
        x = graph.node(op, [x, operand], outputs if i == len(steps) - 1 else None, layer=NAME)
    return image


def _luma(graph: GraphBuilder, x: str) -> str:
    def number(value: object, what: str) -> str:
        return graph.raw_constant(np.array(value, np.float32), f"{NAME}.{what}")

    weighted = graph.node("Mul", [x, number(_LUMA, "luma")], layer=NAME)
    total = graph.node("ReduceSum", [weighted, graph.constant([3], f"{NAME}.axes")], layer=NAME, keepdims=1)
    rounded = graph.node("Add", [total, number(_HALF, "half")], layer=NAME)
    return graph.node("Floor", [graph.node("Div", [rounded, number(_ONE, "one")], layer=NAME)], layer=NAME)
