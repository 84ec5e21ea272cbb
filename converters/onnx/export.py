"""From the IR to an ONNX file."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import caffe2lrp
from caffe2lrp.converters.onnx.checking import check_file
from caffe2lrp.converters.onnx.files import Model, with_references, write, write_data
from caffe2lrp.converters.onnx.graph import GraphBuilder
from caffe2lrp.converters.onnx.metadata import metadata
from caffe2lrp.converters.onnx.preprocessing import add_preprocessing
from caffe2lrp.converters.onnx.registry import EMITTERS, LEAST_OPSET
from caffe2lrp.converters.onnx.simplify import simplify as simplified
from caffe2lrp.errors import FileFormatError, ModelError, OptionError
from caffe2lrp.ir import Network

if TYPE_CHECKING:
    import onnx

DEFAULT_OPSET = 20
"""Known to onnxruntime since 1.17."""

BATCH = "N"
"""Name of the open batch size."""

_EXTERNAL = 1_500_000_000  # bytes of weights from which on they get a file of their own: protobuf ends at 2 GB

PathLike = str | os.PathLike[str]


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes
    ----------
    files
        The model, and its data file if it has one.
    opset
        Version of the ONNX operators.
    batch
        The batch size; None if it is open.
    notes
        What is not as it was asked for, one line each.
    """

    files: tuple[Path, ...]
    opset: int
    batch: int | None
    notes: tuple[str, ...] = ()


def export_onnx(
    network: Network,
    path: PathLike,
    *,
    opset: int = DEFAULT_OPSET,
    batch: int | None = None,
    with_preprocessing: bool = False,
    simplify: bool = False,
    fp16: bool = False,
    sources: Sequence[PathLike] = (),
) -> Exported:
    """Write a network as an ONNX file, and check it.

    Layers and blobs keep their names (where layers run in place, the last value has the blob's name). Weights of more
    than 1.5 GB go to a second file, ``path`` with ``.data`` behind it. ``metadata_props`` hold where the model came
    from, its preprocessing and its class names (`caffe2lrp.converters.onnx.metadata`). The file is valid by onnx's
    full check, and strict shape inference gives every blob the size that Caffe gives it; what it computes is proved by
    `caffe2lrp.converters.onnx.verify`.

    Parameters
    ----------
    network
        The network.
    path
        The file to write; it is replaced when the new one is complete and checked.
    opset
        Version of the ONNX operators.
    batch
        A fixed batch size. Else it is open, unless a layer mixes images; `Exported.notes` tells.
    with_preprocessing
        Let the graph begin with RGB images, uint8, (N, H, W, 3), of the network's input size, and do what
        `network.preprocessing` says after resizing and cropping.
    simplify
        Merge BatchNorm, Scale and Bias into the linear layers before them and leave out layers that do nothing.
    fp16
        Store weights and compute in half precision; inputs and outputs stay float32.
    sources
        Files that the network was read from, to be named in the metadata with their SHA-256.

    Raises
    ------
    ModelError
        If layers cannot be written (the message names all of them), or the result is not valid.
    OptionError
        If the opset is not known, or preprocessing is asked for and not known.
    FileFormatError
        If a file cannot be written or read.
    """
    from onnx import helper

    network = _fitted(network, batch, simplify)
    closed = closed_batch(network)
    model = _build(network, opset, batch is None and closed is None, with_preprocessing, fp16)
    helper.set_model_props(model.structure, metadata(network, sources))
    files = _save(model, Path(path), network)
    if batch is not None or closed is None:
        return Exported(files, opset, batch)
    n = network.input_shape[0]
    return Exported(files, opset, n, (f"the batch size is fixed at {n}: {closed}",))


def build_model(
    network: Network,
    *,
    opset: int = DEFAULT_OPSET,
    batch: int | None = None,
    with_preprocessing: bool = False,
    simplify: bool = False,
    fp16: bool = False,
) -> Model:
    """A network as an ONNX model in memory, which shares the network's weights; see `export_onnx`."""
    network = _fitted(network, batch, simplify)
    return _build(network, opset, batch is None and closed_batch(network) is None, with_preprocessing, fp16)


def closed_batch(network: Network) -> str | None:
    """Why the batch size cannot be left open; None if any will do.

    It can be where every blob's axis 0 is the batch or has nothing to do with it.
    """
    n = network.input_shape[0]
    try:
        other = network.with_batch(n + 1)
    except ModelError as error:
        return str(error)  # weights that fit one batch size
    for layer in network.layers:
        for blob in layer.outputs:
            shape = network.shapes[blob]
            if other.shapes[blob] not in (shape, (n + 1, *shape[1:])):
                return f"{layer} mixes the images of a batch"
    return None


def _fitted(network: Network, batch: int | None, simplify: bool) -> Network:
    if simplify:
        network = simplified(network)
    return network if batch is None else network.with_batch(batch)


# -- the model -------------------------------------------------------------------------------------


def _build(network: Network, opset: int, is_open: bool, with_preprocessing: bool, fp16: bool) -> Model:
    import caffe2lrp.converters.onnx.layers  # noqa: F401  (fills the table of emitters)

    _check_opset(opset)
    _check_layers(network, opset)
    graph = GraphBuilder(network, opset, np.dtype(np.float16 if fp16 else np.float32))
    image = add_preprocessing(graph) if with_preprocessing else None
    _add_layers(graph)
    return Model(_structure(graph, image, is_open), graph.constants)


def _add_layers(graph: GraphBuilder) -> None:
    network, single = graph.network, np.dtype(np.float32)
    half = graph.dtype != single
    if half:
        for blob in network.inputs:
            graph.read_as(blob, graph.cast(blob, graph.dtype, blob, graph.tensor(f"{blob}/half")))
        for blob in network.outputs:
            graph.read_as(blob, graph.tensor(f"{blob}/half"))
    for layer in network.layers:
        emitter = EMITTERS[layer.type]
        if half and emitter.single:
            with graph.single_precision(layer):
                emitter.emit(graph, layer)
        else:
            emitter.emit(graph, layer)
    if half:
        for blob, layer in network.producers.items():
            if blob in network.outputs:
                graph.cast(graph.outputs(layer)[layer.outputs.index(blob)], single, blob, blob)


def _batched(network: Network) -> set[str]:
    """Blobs whose axis 0 is the batch, of a network whose batch size may be left open."""
    other = network.with_batch(network.input_shape[0] + 1)
    return {blob for blob, shape in network.shapes.items() if other.shapes[blob] != shape}


def _structure(graph: GraphBuilder, image: str | None, is_open: bool) -> onnx.ModelProto:
    from onnx import TensorProto, helper

    network = graph.network
    batched = _batched(network) if is_open else set()
    ends = {*network.inputs, *network.outputs}

    def info(blob: str) -> Any:
        dtype = np.dtype(np.float32) if blob in ends else graph.dtype
        first = BATCH if blob in batched else network.shapes[blob][0] if network.shapes[blob] else None
        shape = [] if first is None else [first, *network.shapes[blob][1:]]
        return helper.make_tensor_value_info(blob, helper.np_dtype_to_tensor_dtype(dtype), shape)

    inputs = [info(blob) for blob in network.inputs]
    inner = [info(blob) for blob in network.shapes if blob not in ends]
    if image is not None:
        inner.append(inputs[0])
        n, _, height, width = network.input_shape
        shape = [BATCH if is_open else n, height, width, 3]
        inputs[0] = helper.make_tensor_value_info(image, TensorProto.UINT8, shape)
    outputs = [info(blob) for blob in network.outputs]
    proto = helper.make_graph(graph.nodes, network.name or "network", inputs, outputs, value_info=inner)
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


# -- the files -------------------------------------------------------------------------------------


def _save(model: Model, path: Path, network: Network) -> tuple[Path, ...]:
    """Write and check under other names, then replace what was there."""
    external = model.nbytes > _EXTERNAL
    data = path.with_name(f"{path.name}.data")
    draft, data_draft = (file.with_name(f".{file.name}.{os.getpid()}") for file in (path, data))
    try:
        if not external:
            with open(draft, "wb") as file:
                write(file, model)
            check_file(draft, network)
        else:
            with open(data_draft, "wb") as file:
                offsets = write_data(file, model.arrays)
            draft.write_bytes(with_references(model, data_draft.name, offsets).SerializeToString())
            check_file(draft, network)
            draft.write_bytes(with_references(model, data.name, offsets).SerializeToString())
            os.replace(data_draft, data)
        os.replace(draft, path)
    except OSError as error:
        raise FileFormatError(f"{path}: cannot write the file: {error.strerror or error}") from None
    finally:
        for file_ in (draft, data_draft):
            file_.unlink(missing_ok=True)
    return (path, data) if external else (path,)
