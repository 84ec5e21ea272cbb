"""Other programs that do the same: which are installed, and the forward pass in them."""

from __future__ import annotations

import importlib
import importlib.metadata
import sys
import tempfile
import types
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from caffe2lrp.converters.caffe import write_caffemodel, write_prototxt
from caffe2lrp.converters.onnx import build_model
from caffe2lrp.ir import Network

Forward = Callable[[np.ndarray], np.ndarray]

_INSTALL = "pip install 'caffe2lrp[bench]'"
_ZENNIT = f"{_INSTALL}, or pip install --no-deps zennit where no torchvision fits the installed torch"


@dataclass(frozen=True)
class Peer:
    """A program to compare with.

    Attributes
    ----------
    name
        As it is called in the table.
    version
        None where it is missing.
    note
        How to install what is missing, or what was done to make it run.
    """

    name: str
    version: str | None
    note: str = ""

    def __str__(self) -> str:
        text = f"{self.name} {self.version}" if self.version else f"{self.name} is missing"
        return f"{text}: {self.note}" if self.note else text


def find_peers() -> dict[str, Peer]:
    """All peers, installed or not, by name."""
    peers = (Peer("onnxruntime", version("onnxruntime")), _find_opencv(), _find_torch(), _find_zennit())
    return {peer.name: peer for peer in peers}


def version(package: str) -> str | None:
    """The version of an installed package."""
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def _find_opencv() -> Peer:
    try:
        import cv2
    except ImportError:
        return Peer("OpenCV", None, _INSTALL)
    if not hasattr(cv2.dnn, "readNetFromCaffe"):
        return Peer(
            "OpenCV", None, f"version {cv2.__version__} cannot read Caffe's files; {_INSTALL} takes one below 5"
        )
    return Peer("OpenCV", cv2.__version__)


def _find_torch() -> Peer:
    found = version("torch")
    return Peer("torch", found, "" if found else _INSTALL)


def _find_zennit() -> Peer:
    found = version("zennit")
    if version("torch") is None or found is None:
        return Peer("zennit", None, _INSTALL if version("torch") is None else _ZENNIT)
    if _has_torchvision():
        return Peer("zennit", found)
    _stand_in_for_torchvision()
    return Peer(
        "zennit", found, "torchvision cannot be imported; the classes of it that zennit names are empty stand-ins"
    )


# -- torchvision -----------------------------------------------------------------------------------------------

_CLASSES = {"resnet": ("Bottleneck", "BasicBlock"), "vgg": ("VGG",)}


def _has_torchvision() -> bool:
    """Whether torchvision can be imported; one built for another torch fails in many ways."""
    try:
        importlib.import_module("torchvision.models")
    except Exception:
        return False
    return True


def _stand_in_for_torchvision() -> None:
    """Put modules in the place of torchvision that have the classes which zennit imports, and nothing else.

    zennit uses them to recognise torchvision's own networks, of which there are none here.
    """
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
        del sys.modules[name]
    top, models = types.ModuleType("torchvision"), types.ModuleType("torchvision.models")
    top.models = models  # type: ignore[attr-defined]
    sys.modules.update({"torchvision": top, "torchvision.models": models})
    for name, classes in _CLASSES.items():
        module = types.ModuleType(f"torchvision.models.{name}")
        for each in classes:
            setattr(module, each, type(each, (), {"__module__": module.__name__}))
        setattr(models, name, module)
        sys.modules[module.__name__] = module


# -- forward passes --------------------------------------------------------------------------------------------


def onnxruntime_forward(network: Network, threads: int) -> Forward:
    """A function that runs the network in onnxruntime and returns its first output."""
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads
    model = build_model(network, batch=network.input_shape[0]).to_bytes()
    session = onnxruntime.InferenceSession(model, options, providers=["CPUExecutionProvider"])
    return lambda x: session.run(None, {network.input: x})[0]


def opencv_forward(network: Network, threads: int) -> Forward:
    """A function that runs the network in OpenCV, from Caffe's files, and returns its first output."""
    import cv2

    cv2.setNumThreads(threads)
    with tempfile.TemporaryDirectory() as folder:
        prototxt, weights = write_files(network, Path(folder))
        net = cv2.dnn.readNetFromCaffe(str(prototxt), str(weights))

    def forward(x: np.ndarray) -> np.ndarray:
        net.setInput(x)
        return np.asarray(net.forward())

    return forward


def write_files(network: Network, folder: Path) -> tuple[Path, Path]:
    """Write a network as Caffe's files: definition and weights."""
    paths = folder / "net.prototxt", folder / "net.caffemodel"
    write_prototxt(network, paths[0])
    write_caffemodel(network, paths[1])
    return paths


def check_forward(name: str, ours: np.ndarray, theirs: np.ndarray) -> None:
    """Raise `AssertionError` unless a peer computes the same output, to 1e-4 of the greatest value."""
    error = np.abs(ours.reshape(-1) - theirs.reshape(-1)).max() / np.abs(ours).max()
    assert error < 1e-4, f"{name} computes something else: its output differs by {error:.1g} of the greatest value"


def check_map(name: str, ours: np.ndarray, theirs: np.ndarray) -> None:
    """Raise `AssertionError` unless a peer's relevance is ours, up to its stabilisers."""
    correlation = np.corrcoef(ours.reshape(-1), theirs.reshape(-1))[0, 1]
    assert correlation > 0.999, (
        f"{name} computes something else: its map has a correlation of {correlation:.5f} to ours"
    )
