"""The entry points: a file becomes a network."""

from __future__ import annotations

import os

from caffe2lrp.converters.caffe.files import PathLike
from caffe2lrp.converters.caffe.inputs import InputShape
from caffe2lrp.converters.from_onnx.build import build
from caffe2lrp.converters.from_onnx.files import read_model
from caffe2lrp.converters.from_onnx.graph import read_graph
from caffe2lrp.converters.from_onnx.metadata import labels, preprocessing
from caffe2lrp.ir import Network


def load(path: PathLike, *, input_shape: InputShape | None = None) -> Network:
    """Load a network from an ONNX file.

    Parameters
    ----------
    path
        The file; external data are looked for beside it.
    input_shape
        Shape of the first input, (N, C, H, W), or a mapping from name to shape. It wins over the shape in the file;
        files that leave more than the batch size open need it.

    Returns
    -------
    Network
        The network, with preprocessing and class names where caffe2lrp has written them into the file. Blobs have the
        names of the ONNX tensors, layers those of the nodes. `Network.notes` tells what was left out.

    Raises
    ------
    FileFormatError
        If the file cannot be read, is damaged or contradicts itself.
    ModelError
        If the graph holds what is not supported; all such nodes are named. Or if a shape is not known.
    OptionError
        If `input_shape` does not fit.
    """
    return _load(path, input_shape, weights=True)


def load_definition(path: PathLike, *, input_shape: InputShape | None = None) -> Network:
    """Load a network to look at its layers and shapes: weights are zeros, and external data need not be there.

    Parameters
    ----------
    path, input_shape
        As for `load`.

    Raises
    ------
    FileFormatError, ModelError, OptionError
        As for `load`.
    """
    return _load(path, input_shape, weights=False)


def _load(path: PathLike, input_shape: InputShape | None, *, weights: bool) -> Network:
    name = os.fspath(path)
    model = read_model(path)
    network = build(read_graph(model, name), input_shape, weights=weights)
    return network.describe(preprocessing=preprocessing(model, name), labels=labels(model, name))
