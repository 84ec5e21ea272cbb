"""What has blobs: networks on our kernels, ONNX models in onnxruntime, and folders of stored arrays."""

from __future__ import annotations

import ctypes
import math
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from caffe2lrp.converters.onnx.files import read_structure
from caffe2lrp.errors import FileFormatError, ModelError, OptionError
from caffe2lrp.ir import Network

if TYPE_CHECKING:
    import onnx
    import onnxruntime

Blobs = Mapping[str, np.ndarray]

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

    def random_inputs(self, seed: int, n: int | None = None) -> dict[str, np.ndarray]:
        """As the function of this name."""
        return random_inputs(self.network, seed, n)

    def check_inputs(self, names: Sequence[str]) -> None:
        """Raise `OptionError` unless these are the network's inputs."""
        _same_inputs(self.title, list(self.network.inputs), names)

    def run(self, inputs: Blobs) -> Blobs:
        """All blobs, by the IR's names."""
        given = {blob: np.asarray(inputs[blob], np.float32) for blob in self.network.inputs}
        x = given[self.network.input] if len(given) == 1 else given
        once = self.network.with_layers(self.network.layers)
        values = once.forward(x, keep=[blob for blob in once.shapes if blob not in given])
        once._plans.clear()  # they are large, and hold on to the network that holds on to them
        return values


def random_inputs(network: Network, seed: int, n: int | None = None) -> dict[str, np.ndarray]:
    """Seeded inputs: between black and white where preprocessing is known, indices for who reads such, else normal.

    Parameters
    ----------
    network
        The network.
    seed
        Seed of `numpy.random.default_rng`.
    n
        Number of images; None is the network's own.

    Returns
    -------
    dict
        Arrays by input blob, float32.
    """
    rng = np.random.default_rng(seed)
    network = network if n is None else network.with_batch(n)
    shapes = network.inputs
    inputs = {blob: rng.normal(size=shape).astype(np.float32) for blob, shape in shapes.items()}
    if network.preprocessing is not None:
        low, high = network.preprocessing.bounds(network.input_shape)
        inputs[network.input] = rng.uniform(low, high, shapes[network.input]).astype(np.float32)
    for layer in network.layers:
        for position, count in layer.params.indices([network.shapes[blob] for blob in layer.inputs]).items():
            blob = layer.inputs[position]
            if blob in inputs:
                inputs[blob] = rng.integers(0, count, shapes[blob]).astype(np.float32)
    return inputs


# -- ONNX models -----------------------------------------------------------------------------------

_TYPES = {"tensor(float)": np.float32, "tensor(float16)": np.float16, "tensor(double)": np.float64,
          "tensor(uint8)": np.uint8, "tensor(int64)": np.int64, "tensor(int32)": np.int32}  # fmt: skip

_NODES, _WEIGHTS = 8, 64 << 20  # of a stretch: number of nodes, and bytes of weights that it need not exceed


class OnnxBlobs:
    """An ONNX file in onnxruntime, with all its tensors.

    It is run in stretches of some nodes, each as a model of its own whose outputs are all its tensors, without
    optimisations. So neither the weights of the whole nor its blobs have to be in memory at once.

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
        self._folder = Path(path).absolute().parent
        self._model = read_structure(path)
        graph = self._model.graph
        self._weights = {tensor.name: tensor for tensor in graph.initializer}
        self.half = any(tensor.data_type == tensor.FLOAT16 for tensor in graph.initializer)
        self.outputs = [output.name for output in graph.output]
        self.origins = {name: _node(node) for node in graph.node for name in node.output}
        self._inputs = {
            item.name: (item.type, list(item.shape)) for item in self._session(self._model, optimise=False).get_inputs()
        }

        if not self._inputs:
            raise ModelError(f"{self.title}: the model has no input")

    @property
    def inputs(self) -> list[str]:
        """Names of the inputs."""
        return list(self._inputs)

    def random_inputs(self, seed: int, n: int | None = None) -> dict[str, np.ndarray]:
        """Normal values, or bytes; an open size is `n`, or 2."""
        rng = np.random.default_rng(seed)
        made = {}
        for name, (kind, sizes) in self._inputs.items():
            shape = [d if isinstance(d, int) else n or 2 for d in sizes]
            dtype = _TYPES.get(kind, np.float32)
            pixels = np.issubdtype(dtype, np.integer)
            made[name] = (rng.integers(0, 256, shape) if pixels else rng.normal(size=shape)).astype(dtype)
        return made

    def check_inputs(self, names: Sequence[str]) -> None:
        """Raise `OptionError` unless these are the model's inputs."""
        _same_inputs(self.title, self.inputs, names)

    @property
    def takes_images(self) -> bool:
        """Whether the first input is made of bytes: pixels, which the model prepares itself."""
        kind, _ = next(iter(self._inputs.values()))
        return kind == "tensor(uint8)"

    @property
    def batch(self) -> int | None:
        """The fixed batch size of the first input; None if it is open."""
        _, sizes = next(iter(self._inputs.values()))
        return sizes[0] if sizes and isinstance(sizes[0], int) else None

    def run(self, inputs: Blobs) -> dict[str, np.ndarray]:
        """All floating-point tensors by name, in the order of execution."""
        return {name: array for part in self.stretches(inputs) for name, array in part.items()}

    def stretches(self, inputs: Blobs) -> Iterator[dict[str, np.ndarray]]:
        """The floating-point tensors of one stretch of nodes after the other."""
        live = self._typed(inputs)
        parts = self._cut()
        for i, nodes in enumerate(parts):
            written = [name for node in nodes for name in node.output if name]
            model = self._part(nodes, live, written)
            needed = {item.name: live[item.name] for item in model.graph.input}
            values = self._run(self._session(model, optimise=False), written, needed)
            later = {name for rest in parts[i + 1 :] for node in rest for name in node.input}
            live = {name: array for name, array in {**live, **values}.items() if name in later}
            yield {name: array for name, array in values.items() if array.dtype.kind == "f"}

    def run_optimised(self, inputs: Blobs) -> dict[str, np.ndarray]:
        """The outputs of the model as a whole, optimised as onnxruntime does by default."""
        return self._run(self._session(self._model, optimise=True), self.outputs, self._typed(inputs))

    # -- parts -------------------------------------------------------------------------------------

    def _cut(self) -> list[list[onnx.NodeProto]]:
        """The nodes in stretches; one if there are nodes with graphs of their own, which may read any tensor."""
        nodes = list(self._model.graph.node)
        if any(attribute.HasField("g") or attribute.graphs for node in nodes for attribute in node.attribute):
            return [nodes]
        parts: list[list[onnx.NodeProto]] = []
        size = 0
        for node in nodes:
            own = sum(_size(self._weights[name]) for name in node.input if name in self._weights)
            if not parts or len(parts[-1]) == _NODES or size + own > _WEIGHTS:
                parts.append([])
                size = 0
            parts[-1].append(node)
            size += own
        return parts

    def _part(self, nodes: list[onnx.NodeProto], live: Blobs, outputs: list[str]) -> onnx.ModelProto:
        """Some nodes as a model: what they read of others is its input, all that they write its output."""
        from onnx import ModelProto, ValueInfoProto, helper

        part = ModelProto()
        part.CopyFrom(self._model)
        for field in ("node", "initializer", "input", "output", "value_info"):
            part.graph.ClearField(field)
        read = list(dict.fromkeys(name for node in nodes for name in node.input))
        part.graph.node.extend(nodes)
        part.graph.initializer.extend(self._weights[name] for name in read if name in self._weights)
        if len(nodes) == len(self._model.graph.node):  # graphs of nodes may read more
            read, weights = list(live), self._model.graph.initializer
            part.graph.ClearField("initializer")
            part.graph.initializer.extend(weights)
        for name in (name for name in read if name in live and name not in self._weights):
            kind = helper.np_dtype_to_tensor_dtype(live[name].dtype)
            part.graph.input.append(helper.make_tensor_value_info(name, kind, live[name].shape))
        part.graph.output.extend(ValueInfoProto(name=name) for name in outputs)  # onnxruntime finds out the types
        return part

    # -- onnxruntime -------------------------------------------------------------------------------

    def _session(self, model: onnx.ModelProto, *, optimise: bool) -> onnxruntime.InferenceSession:
        """A session for a structure that refers to weights in the file's folder."""
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        options.enable_cpu_mem_arena = False
        levels = onnxruntime.GraphOptimizationLevel
        options.graph_optimization_level = levels.ORT_ENABLE_ALL if optimise else levels.ORT_DISABLE_ALL
        options.add_session_config_entry("session.model_external_initializers_file_folder_path", str(self._folder))
        options.add_session_config_entry("session.disable_prepacking", "1")  # it would be another copy of the weights
        try:
            return onnxruntime.InferenceSession(
                model.SerializeToString(), options, providers=["CPUExecutionProvider"], enable_fallback=0
            )  # it would retry, and print
        except Exception as error:  # onnxruntime's exceptions have no base class of their own
            raise ModelError(f"{self.title}: onnxruntime cannot load it: {_first_line(error)}") from None

    def _run(self, session: onnxruntime.InferenceSession, names: Sequence[str], inputs: Blobs) -> dict[str, np.ndarray]:
        try:
            return dict(zip(names, session.run(list(names), dict(inputs)), strict=True))
        except Exception as error:  # as above
            raise ModelError(f"{self.title}: onnxruntime cannot run it: {_first_line(error)}") from None

    def _typed(self, inputs: Blobs) -> dict[str, np.ndarray]:
        return {name: np.ascontiguousarray(inputs[name], _TYPES.get(kind)) for name, (kind, _) in self._inputs.items()}


def return_memory() -> None:
    """Give freed memory back to the system: glibc keeps arrays of up to 32 MB for later."""
    if sys.platform == "linux":
        trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
        if trim is not None:
            trim(0)


def _node(node: onnx.NodeProto) -> str:
    place = f", {node.doc_string}" if node.doc_string else ""
    return f"node '{node.name}' ({node.op_type}{place})"


def _size(tensor: onnx.TensorProto) -> int:
    """Bytes of a tensor."""
    from onnx import helper

    return math.prod(tensor.dims) * helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize


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
