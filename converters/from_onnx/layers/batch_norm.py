"""BatchNormalization: BatchNorm by the statistics, and Scale by the learned factor and offset where they matter."""

from __future__ import annotations

import numpy as np

from caffe2lrp.converters.from_onnx.node import Node, ReadError
from caffe2lrp.converters.from_onnx.registry import reads
from caffe2lrp.layers.affine import Scale
from caffe2lrp.layers.batch_norm import BatchNorm


@reads("BatchNormalization")
def _batch_normalization(node: Node) -> None:
    x = node.blob()
    factor, offset, mean, variance = (node.weights(index) for index in range(1, 5))
    if len(x.shape) < 2:
        raise ReadError(f"its input has the shape {x.shape}, without channels")
    for values in (factor, offset, mean, variance):
        if values.shape != (x.shape[1],):
            raise ReadError(f"has {values.shape} statistics for {x.shape[1]} channels; only one a channel is supported")
    if node.integer("training_mode", 0):
        raise ReadError("normalises by each batch, as in training; export the model for inference")
    stored = {"mean": mean, "variance": variance, "weight": np.ones(1, np.float32)}
    params = BatchNorm(node.number("epsilon", 1e-5))
    if (factor == 1).all() and not offset.any():
        node.add(params, x, weights=stored)
    else:
        normalised = node.add(params, x, weights=stored, part="normalised")
        node.add(Scale(bias=True), normalised, weights={"scale": factor, "bias": offset})
