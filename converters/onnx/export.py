"""From the IR to an ONNX model in memory."""

from __future__ import annotations

from typing import Any

import numpy as np

import caffe2lrp
from caffe2lrp.converters.onnx.files import Model
from caffe2lrp.converters.onnx.graph import GraphBuilder
from caffe2lrp.converters.onnx.registry import EMITTERS, LEAST_OPSET
from caffe2lrp.errors import ModelError, OptionError
from caffe2lrp.ir import Network
from caffe2lrp.layers.base import Shape

DEFAULT_OPSET = 20
"""Known to onnxruntime since 1.17."""

BATCH = "N"
"""Name of the open batch size."""


def build_model(
    network: Network,
    *,
    opset: int = DEFAULT_OPSET,
    batch: int | None = None,
) -> Model:
    """Write a network as an ONNX model.

    Parameters
    ----------
    network
        The network.
    opset
        Version of the ONNX operators.
    batch
        A fixed batch size; None leaves it open where the network allows (see `batch_is_open`).

    Raises
    ------
    ModelError
        If a layer cannot be written; the message names all such layers.
    OptionError
        If the opset is not known.
    """
    import caffe2lrp.converters.onnx.layers  # noqa: F401  (fills the table of emitters)

    _check_opset(opset)
    if batch is not None:
        network = network.with_batch(batch)
    _check_layers(network, opset)
    graph = GraphBuilder(network, opset, np.dtype(np.float32))
    for layer in network.layers:
        EMITTERS[layer.type].emit(graph, layer)
    return Model(_structure(graph, batch is None and batch_is_open(network)), graph.constants)


def batch_is_open(network: Network) -> bool:
    """Whether every blob's axis 0 is the batch or has nothing to do with it, so that any batch size will do."""
    n = network.input_shape[0]
    try:
        other = network.with_batch(n + 1)
    except ModelError:
        return False  # weights that fit one batch size
    return all(other.shapes[blob] in (shape, (n + 1, *shape[1:])) for blob, shape in network.shapes.items())


def _batched(network: Network) -> set[str]:
    """Blobs whose axis 0 is the batch, of a network whose batch size may be left open."""
    other = network.with_batch(network.input_shape[0] + 1)
    return {blob for blob, shape in network.shapes.items() if other.shapes[blob] != shape}


def _structure(graph: GraphBuilder, is_open: bool) -> Any:
    from onnx import helper

    network = graph.network
    batched = _batched(network) if is_open else set()

    def info(blob: str) -> Any:
        shape: Shape | tuple[str | int, ...] = network.shapes[blob]
        if blob in batched:
            shape = (BATCH, *shape[1:])
        return helper.make_tensor_value_info(blob, helper.np_dtype_to_tensor_dtype(graph.dtype), shape)

    proto = helper.make_graph(
        graph.nodes,
        network.name or "network",
        [info(blob) for blob in network.inputs],
        [info(b) for b in network.outputs],
    )
    opsets = [helper.make_opsetid("", graph.opset)]
    return helper.make_model(
        proto,
        opset_imports=opsets,
        ir_version=helper.find_min_ir_version_for(opsets),
        producer_name="caffe2lrp",
        producer_version=caffe2lrp.__version__,
    )


def _check_opset(opset: int) -> None:
    from onnx import defs

    newest = defs.onnx_opset_version()
    if not LEAST_OPSET <= opset <= newest:
        raise OptionError(
            f"opset {opset} cannot be written; possible: {LEAST_OPSET} to {newest} (default {DEFAULT_OPSET})"
        )


def _check_layers(network: Network, opset: int) -> None:
    """All layers that cannot be written in one message."""
    problems = []
    for layer in network.layers:
        emitter = EMITTERS.get(layer.type)
        if emitter is None:
            problems.append(f"{layer}: there is no ONNX for this type yet")
        elif emitter.opset > opset:
            problems.append(f"{layer}: needs opset {emitter.opset} or newer")
    if problems:
        lines = "\n".join(f"  {problem}" for problem in problems)
        raise ModelError(
            f"{len(problems)} layer(s) of {network.name} cannot be converted to ONNX opset {opset}:\n{lines}"
        )
