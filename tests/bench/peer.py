"""The same network in onnxruntime."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from caffe2lrp.converters.onnx import build_model
from caffe2lrp.ir import Network


def onnxruntime_forward(network: Network, threads: int) -> Callable[[np.ndarray], np.ndarray]:
    """A function that runs the network in onnxruntime and returns its first output."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    model = build_model(network, batch=network.input_shape[0]).to_bytes()
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return lambda x: session.run(None, {network.input: x})[0]
