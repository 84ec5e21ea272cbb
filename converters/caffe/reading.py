"""The entry points: which file is what, and all the steps in order."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from caffe2lrp.converters.caffe.build import Definition, build
from caffe2lrp.converters.caffe.files import PathLike, read_bytes, read_text_file, sniff
from caffe2lrp.converters.caffe.hdf5 import read_hdf5
from caffe2lrp.converters.caffe.inputs import InputShape
from caffe2lrp.converters.caffe.layers import has_weights
from caffe2lrp.converters.caffe.message import Message
from caffe2lrp.converters.caffe.phases import state_of
from caffe2lrp.converters.caffe.schema import SCHEMAS
from caffe2lrp.converters.caffe.text import read_text
from caffe2lrp.converters.caffe.upgrade import upgrade
from caffe2lrp.converters.caffe.weights import Weights, from_layers
from caffe2lrp.converters.caffe.wire import read_wire
from caffe2lrp.errors import FileFormatError, ModelError, OptionError
from caffe2lrp.ir import Network
from caffe2lrp.layers.installed import load_installed_layers

PHASES = ("TEST", "TRAIN")


def load(
    prototxt: PathLike | None = None,
    weights: PathLike | None = None,
    *,
    phase: str = "TEST",
    level: int = 0,
    stages: Sequence[str] = (),
    input_shape: InputShape | None = None,
) -> Network:
    """Load a Caffe network: its definition and its weights, of any generation.

    Parameters
    ----------
    prototxt
        The net definition. It may be left out where `weights` is a caffemodel, which holds a definition of its own.
    weights
        The weights: a caffemodel (V0, V1 or V2) or an HDF5 snapshot. Files are told apart by their content, so
        that their order and their names do not matter.
    phase
        ``"TEST"`` or ``"TRAIN"``: which layers with include or exclude rules are kept.
    level, stages
        The rest of the state that such rules look at.
    input_shape
        Shape of the first input, (N, C, H, W), or a mapping from blob name to shape. It wins over the shape in the
        file; nets whose data layers do not tell the image size need it.

    Returns
    -------
    Network
        The network, with `Network.notes` telling what was left out, replaced or not understood.

    Raises
    ------
    FileFormatError
        If a file cannot be read, is damaged or is of the wrong kind.
    ModelError
        If the network cannot be built from what the files say.
    """
    load_installed_layers()
    files = _sort_out([path for path in (prototxt, weights) if path is not None])
    definition, stored = _open(files)
    _check_phase(phase)
    state = state_of(definition.net, phase, level, stages)
    if files.weights is None:
        stored = _inline_weights(definition, stored)
    return build(definition, stored, state, input_shape)


def load_definition(
    prototxt: PathLike,
    *,
    phase: str = "TEST",
    level: int = 0,
    stages: Sequence[str] = (),
    input_shape: InputShape | None = None,
) -> Network:
    """Load a net definition without weights, to look at its layers and shapes.

    The weights of the result are zeros that take no memory (`numpy.broadcast_to`).

    Parameters
    ----------
    prototxt
        The net definition, or a caffemodel, which holds one.
    phase, level, stages, input_shape
        As for `load`.

    Raises
    ------
    FileFormatError, ModelError
        As for `load`.
    """
    load_installed_layers()
    files = _sort_out([prototxt])
    _check_phase(phase)
    definition, _ = _open(files)
    return build(definition, None, state_of(definition.net, phase, level, stages), input_shape)


def _check_phase(phase: str) -> None:
    if phase not in PHASES:
        raise OptionError(f"phase must be one of {' and '.join(PHASES)}, not {phase!r}")


# -- files -----------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Files:
    definition: PathLike
    weights: PathLike | None = None
    hdf5: bool = False


def _sort_out(paths: list[PathLike]) -> _Files:
    """Tell definition and weights apart by content."""
    if not paths:
        raise OptionError("pass a prototxt, a caffemodel or both")
    kinds = [(sniff(path), path) for path in paths]
    texts = [path for kind, path in kinds if kind == "text"]
    others = [(kind, path) for kind, path in kinds if kind != "text"]
    for kind, path in others:
        if kind == "npy":
            raise FileFormatError(
                f"{os.fspath(path)} is a NumPy array (a mean image?) and neither prototxt nor weights"
            )
    if len(texts) > 1:
        raise FileFormatError(f"{os.fspath(texts[1])} is a text file like {os.fspath(texts[0])}; pass a weights file")
    if texts:
        return _Files(texts[0], others[0][1], others[0][0] == "hdf5") if others else _Files(texts[0])
    binary = [path for kind, path in others if kind == "binary"]
    if not binary:
        raise FileFormatError(f"{os.fspath(others[0][1])} holds weights only (HDF5): pass the prototxt of its net, too")
    if len(others) == 1:
        return _Files(binary[0])
    if len(binary) == 1:
        hdf5 = next(path for kind, path in others if kind == "hdf5")
        return _Files(binary[0], hdf5, True)
    raise FileFormatError(f"{os.fspath(binary[0])} and {os.fspath(binary[1])} are both binary: pass one prototxt")


def _open(files: _Files) -> tuple[Definition, Weights | None]:
    net = _read_net(files.definition)
    name = os.fspath(files.definition)
    definition = Definition(upgrade(net, name), name)
    if files.weights is None:
        return definition, None
    return definition, read_hdf5(files.weights) if files.hdf5 else _read_caffemodel(files.weights)


def _read_net(path: PathLike) -> Message:
    name = os.fspath(path)
    if sniff(path) == "text":
        return read_text(read_text_file(path), SCHEMAS["NetParameter"], name)
    return read_wire(read_bytes(path), SCHEMAS["NetParameter"], name)


def _read_caffemodel(path: PathLike) -> Weights:
    name = os.fspath(path)
    net = upgrade(_read_net(path), name)
    if not net.all("layer"):
        raise FileFormatError(f"{name}: there are no layers in this file; is it a caffemodel?")
    return from_layers(net.all("layer"), name)


def _inline_weights(definition: Definition, stored: Weights | None) -> Weights:
    """The weights inside the definition itself: those of a caffemodel, or none."""
    weights = stored or from_layers(definition.net.all("layer"), definition.file)
    if not weights.layers and any(_needs_file(layer) for layer in definition.net.all("layer")):
        raise ModelError(
            f"{definition.file} defines the net but holds no weights: pass the .caffemodel or .caffemodel.h5 file, too"
        )
    return weights


def _needs_file(layer: Message) -> bool:
    kind = layer.get("type")
    return has_weights(kind) and not (kind in ("Scale", "Bias") and len(layer.all("bottom")) == 2)
