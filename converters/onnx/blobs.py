"""What has blobs: networks on our kernels, ONNX models in onnxruntime, and folders of stored arrays."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from caffe2lrp.converters.onnx.files import read_structure
from caffe2lrp.errors import FileFormatError, ModelError, OptionError
from caffe2lrp.ir import Network

if TYPE_CHECKING:
    import onnx
    import onnxruntime

Blobs = Mapping[str, np.ndarray]


class Runnable(Protocol):
    """Something that makes blobs of inputs."""

    title: str
    origins: Mapping[str, str]

    def random_inputs(self, seed: int) -> dict[str, np.ndarray]:
        """Seeded random inputs by name."""

    def run(self, inputs: Blobs) -> Blobs:
        """All blobs in the order of execution, without the inputs."""

    def check_inputs(self, names: Sequence[str]) -> None:
        """Raise `OptionError` unless these are its inputs."""


# -- networks --------------------------------------------------------------------------------------


class NetworkBlobs:
    """A network on our kernels, in single precision.

    Parameters
    ----------
    network
        The network.
    """

    def __init__(self, network: Network) -> None:
        self.network = network
        self.title = network.name or "the network"
        self.origins = {blob: str(layer) for blob, layer in network.producers.items()}

    def random_inputs(self, seed: int) -> dict[str, np.ndarray]:
        """As `random_inputs` for two images, or for the network's own batch size."""
        return random_inputs(self.network, seed)

    def check_inputs(self, names: Sequence[str]) -> None:
        """Raise `OptionError` unless these are the network's inputs."""
        _same_inputs(self.title, list(self.network.inputs), names)

    def run(self, inputs: Blobs) -> Blobs:
        """All blobs, by the IR's names."""
        given = {blob: np.asarray(inputs[blob], np.float32) for blob in self.network.inputs}
        x = given[self.network.input] if len(given) == 1 else given
        return self.network.forward(x, keep=[blob for blob in self.network.shapes if blob not in given])


def random_inputs(network: Network, seed: int, n: int | None = None) -> dict[str, np.ndarray]:
    """Seeded inputs: between black and white where preprocessing is known, else normal; float32.

    Parameters
    ----------
    network
        The network.
    seed
        Seed of `numpy.random.default_rng`.
    n
        Number of images; None is the network's own.
    """
    rng = np.random.default_rng(seed)
    shapes = (network if n is None else network.with_batch(n)).inputs
    inputs = {blob: rng.normal(size=shape).astype(np.float32) for blob, shape in shapes.items()}
    if network.preprocessing is not None:
        low, high = network.preprocessing.bounds(network.input_shape)
        inputs[network.input] = rng.uniform(low, high, shapes[network.input]).astype(np.float32)
    return inputs


# -- ONNX models -----------------------------------------------------------------------------------

_FLOATS = (1, 10, 11)  # float, float16, double
_SIZES = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(double)": np.float64,
          "tensor(uint8)": np.uint8, "tensor(int64)": np.int64, "tensor(int32)": np.int32}  # fmt: skip


class OnnxBlobs:
    """An ONNX file in onnxruntime, in a temporary copy in which all tensors are outputs.

    The copy lives in memory and leaves the weights in the file. Nothing is optimised in it.

    Parameters
    ----------
    path
        The file.

    Raises
    ------
    FileFormatError
        If the file is no ONNX model.
    ModelError
        If onnxruntime cannot run it.
    """

    def __init__(self, path: str | os.PathLike[str]) -> None:
        self.title = os.fspath(path)
        self.path = Path(path)
        structure = read_structure(path)
        self.half = any(tensor.data_type == 10 for tensor in structure.graph.initializer)
        self.outputs = [output.name for output in structure.graph.output]
        known = {tensor.name for tensor in structure.graph.initializer}
        self.inputs = [item.name for item in structure.graph.input if item.name not in known]
        self.origins = {name: _node(node) for node in structure.graph.node for name in node.output}
        self._names = _float_tensors(structure)
        _expose(structure, self._names)
        self._session = _session(structure.SerializeToString(), self.path.absolute().parent, self.title)

    def random_inputs(self, seed: int) -> dict[str, np.ndarray]:
        """Normal values, or bytes; an open size is 2."""
        rng = np.random.default_rng(seed)
        made = {}
        for item in self._session.get_inputs():
            shape = [d if isinstance(d, int) else 2 for d in item.shape]
            dtype = _SIZES.get(item.type, np.float32)
            pixels = np.issubdtype(dtype, np.integer)
            made[item.name] = (rng.integers(0, 256, shape) if pixels else rng.normal(size=shape)).astype(dtype)
        return made

    def check_inputs(self, names: Sequence[str]) -> None:
        """Raise `OptionError` unless these are the model's inputs."""
        _same_inputs(self.title, self.inputs, names)

    def batch(self, name: str) -> int | None:
        """The fixed batch size of an input; None if it is open."""
        shape = next(item.shape for item in self._session.get_inputs() if item.name == name)
        return shape[0] if shape and isinstance(shape[0], int) else None

    def run(self, inputs: Blobs) -> Blobs:
        """All floating-point tensors by name."""
        return _run(self._session, self._names, inputs, self.title)

    def run_optimised(self, inputs: Blobs) -> Blobs:
        """The outputs of the file itself, as onnxruntime runs it by default."""
        session = _session(self.title, None, self.title)
        return _run(session, self.outputs, inputs, self.title)


def _node(node: onnx.NodeProto) -> str:
    place = f", {node.doc_string}" if node.doc_string else ""
    return f"node '{node.name}' ({node.op_type}{place})"


def _float_tensors(structure: onnx.ModelProto) -> list[str]:
    """Names of what nodes write, as far as these are floating-point numbers."""
    from onnx import shape_inference

    graph = shape_inference.infer_shapes(structure).graph
    kinds = {info.name: info.type.tensor_type.elem_type for info in (*graph.value_info, *graph.output)}
    written = [name for node in graph.node for name in node.output if name]
    return [name for name in written if kinds.get(name, 1) in _FLOATS]


def _expose(structure: onnx.ModelProto, names: Sequence[str]) -> None:
    """Make tensors outputs of the graph; onnxruntime finds out their types."""
    from onnx import ValueInfoProto

    graph = structure.graph
    graph.ClearField("value_info")  # shapes of stored models are not always right
    graph.ClearField("output")
    graph.output.extend(ValueInfoProto(name=name) for name in names)


def _session(model: bytes | str, folder: Path | None, title: str) -> onnxruntime.InferenceSession:
    """A session for a file, or for a structure that refers to weights in a folder."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    if folder is not None:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(folder))
        options.add_session_config_entry("session.disable_prepacking", "1")  # another copy of the weights
    options.enable_cpu_mem_arena = False
    try:
        return onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # onnxruntime's exceptions have no base class of their own
        raise ModelError(f"{title}: onnxruntime cannot load it: {_first_line(error)}") from None


def _run(session: Any, names: Sequence[str], inputs: Blobs, title: str) -> dict[str, np.ndarray]:
    given = {item.name: _as_type(inputs[item.name], item.type) for item in session.get_inputs()}
    try:
        return dict(zip(names, session.run(list(names), given), strict=True))
    except Exception as error:  # as above
        raise ModelError(f"{title}: onnxruntime cannot run it: {_first_line(error)}") from None


def _as_type(array: np.ndarray, kind: str) -> np.ndarray:
    return np.ascontiguousarray(array, _SIZES.get(kind, array.dtype))


def _first_line(error: Exception) -> str:
    return str(error).strip().partition("\n")[0]


def _same_inputs(title: str, own: Sequence[str], given: Sequence[str]) -> None:
    if set(own) != set(given):
        raise OptionError(f"{title} has the input(s) {', '.join(own)}, but those given are {', '.join(given)}")


# -- folders ---------------------------------------------------------------------------------------


class StoredBlobs(Mapping[str, np.ndarray]):
    """A folder of blobs, one .npy file each, in any folders below it.

    Parameters
    ----------
    folder
        The folder.
    slash
        What stands in file names for the '/' of blob names.

    Raises
    ------
    FileFormatError
        If there is no such file in it.
    """

    def __init__(self, folder: str | os.PathLike[str], slash: str = "_") -> None:
        self.title = os.fspath(folder)
        self.slash = slash
        root = Path(folder)
        self._files = {file.relative_to(root).with_suffix("").as_posix(): file for file in sorted(root.rglob("*.npy"))}
        if not self._files:
            raise FileFormatError(f"{self.title}: there are no .npy files in this folder")

    def __contains__(self, blob: object) -> bool:
        return isinstance(blob, str) and self._file(blob) is not None

    def __getitem__(self, blob: str) -> np.ndarray:
        file = self._file(blob)
        if file is None:
            raise KeyError(blob)
        try:
            array: np.ndarray = np.load(file, allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise FileFormatError(f"{file}: is no array that can be read: {_first_line(error)}") from None
        if array.dtype.kind not in "fiub":
            raise FileFormatError(f"{file}: holds {array.dtype} and no numbers")
        return array

    def __iter__(self) -> Iterator[str]:
        return iter(self._files)

    def __len__(self) -> int:
        return len(self._files)

    def _file(self, blob: str) -> Path | None:
        """Under the blob's own name, '/' being a folder, or with '/' replaced."""
        return self._files.get(blob) or self._files.get(blob.replace("/", self.slash))

    def inputs(self, names: Sequence[str]) -> dict[str, np.ndarray]:
        """The stored inputs.

        Raises
        ------
        FileFormatError
            If one of them is not there.
        """
        missing = [name for name in names if name not in self]
        if missing:
            files = ", ".join(f"{name.replace('/', self.slash)}.npy" for name in missing)
            raise FileFormatError(f"{self.title}: the input is not there: store it as {files}")
        return {name: self[name] for name in names}
