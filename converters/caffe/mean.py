"""Mean images: binaryproto (one blob) or NumPy files."""

from __future__ import annotations

import os

import numpy as np

from caffe2lrp.converters.caffe.files import PathLike, read_bytes, sniff
from caffe2lrp.converters.caffe.schema import SCHEMAS
from caffe2lrp.converters.caffe.weights import blob_of
from caffe2lrp.converters.caffe.wire import read_wire
from caffe2lrp.errors import FileFormatError


def read_mean(path: PathLike) -> np.ndarray:
    """Read a mean image.

    Parameters
    ----------
    path
        A ``.binaryproto`` or ``.npy`` file; its content decides which.

    Returns
    -------
    numpy.ndarray
        The mean as float32, (C, H, W), channels in the order of the training data (BGR as a rule); or (C,) where
        the file holds one value a channel.

    Raises
    ------
    FileFormatError
        If the file cannot be read or holds no mean image.
    """
    name = os.fspath(path)
    kind = sniff(path)
    if kind == "npy":
        mean = _read_npy(path)
    elif kind == "binary":
        blob = blob_of(read_wire(read_bytes(path), SCHEMAS["BlobProto"], name), f"{name}: the mean")
        mean = blob.values.reshape(blob.shape)
    else:
        raise FileFormatError(f"{name}: a mean image comes as .binaryproto or .npy, but this is another kind of file")
    if mean.ndim == 4 and mean.shape[0] == 1:
        mean = mean[0]
    if mean.ndim not in (1, 2, 3) or mean.size == 0:
        raise FileFormatError(f"{name}: a mean image has the shape (C, H, W), but this has {mean.shape}")
    return np.array(mean if mean.ndim != 2 else mean[None], np.float32)


def _read_npy(path: PathLike) -> np.ndarray:
    try:
        return np.asarray(np.load(path, allow_pickle=False), np.float32)
    except (OSError, ValueError, EOFError, TypeError, MemoryError) as error:
        raise FileFormatError(f"{os.fspath(path)}: the .npy file cannot be read: {error}") from None
