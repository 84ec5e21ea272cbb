"""One entry point for all formats: files are told apart by their content."""

from __future__ import annotations

import os
from collections.abc import Sequence

from caffe2lrp.converters import caffe, from_onnx
from caffe2lrp.converters.caffe.files import PathLike
from caffe2lrp.converters.caffe.inputs import InputShape
from caffe2lrp.errors import FileFormatError, OptionError
from caffe2lrp.ir import Network


def load(
    prototxt: PathLike | None = None,
    weights: PathLike | None = None,
    *,
    phase: str = "TEST",
    level: int = 0,
    stages: Sequence[str] = (),
    input_shape: InputShape | None = None,
) -> Network:
    """Load a network from Caffe's files, or from one ONNX file.

    Parameters
    ----------
    prototxt
        The net definition. It may be left out where `weights` is a caffemodel, which holds a definition of its own. An
        ONNX file may stand here or in the place of `weights`; it holds everything.
    weights
        The weights: a caffemodel (V0, V1 or V2) or an HDF5 snapshot. Files are told apart by their content, so
        that their order and their names do not matter.
    phase, level, stages
        The state that include and exclude rules of Caffe layers look at; phase is ``"TEST"`` or ``"TRAIN"``.
    input_shape
        Shape of the first input, (N, C, H, W), or a mapping from blob name to shape. It wins over the shape in the
        file; nets that do not tell the image size need it.

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
    OptionError
        If an option has a value that cannot be used.
    """
    model = _onnx_file(prototxt, weights)
    if model is None:
        return caffe.load(prototxt, weights, phase=phase, level=level, stages=stages, input_shape=input_shape)
    _refuse_phases(phase, level, stages)
    return from_onnx.load(model, input_shape=input_shape)


def load_definition(
    definition: PathLike,
    *,
    phase: str = "TEST",
    level: int = 0,
    stages: Sequence[str] = (),
    input_shape: InputShape | None = None,
) -> Network:
    """Load a network to look at its layers and shapes; weights that are in another file are zeros.

    Parameters
    ----------
    definition
        A prototxt, a caffemodel or an ONNX file.
    phase, level, stages, input_shape
        As for `load`.

    Raises
    ------
    FileFormatError, ModelError, OptionError
        As for `load`.
    """
    if _onnx_file(definition) is None:
        return caffe.load_definition(definition, phase=phase, level=level, stages=stages, input_shape=input_shape)
    _refuse_phases(phase, level, stages)
    return from_onnx.load_definition(definition, input_shape=input_shape)


def _onnx_file(*paths: PathLike | None) -> PathLike | None:
    """The ONNX file among those given, if there is one; nothing else may be given with it."""
    given = [path for path in paths if path is not None]
    found = [path for path in given if from_onnx.is_onnx(path)]
    if found and len(given) > 1:
        other = next(path for path in given if path is not found[0])
        raise FileFormatError(
            f"{os.fspath(found[0])} is an ONNX file, which holds definition and weights: leave out {os.fspath(other)}"
        )
    return found[0] if found else None


def _refuse_phases(phase: str, level: int, stages: Sequence[str]) -> None:
    if (phase, level, tuple(stages)) != ("TEST", 0, ()):
        raise OptionError("phase, level and stages are for Caffe's files; an ONNX file holds one net")
