"""Weights in HDF5, as Caffe snapshots them: ``data/<layer>/<index>``.

Of a parameter that several layers share only the first layer's blob is stored.
"""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from caffe2lrp.converters.caffe.files import PathLike
from caffe2lrp.converters.caffe.weights import Blob, Weights
from caffe2lrp.errors import FileFormatError

_MOST = 100  # blobs of one layer; Caffe's own have up to five


def read_hdf5(path: PathLike) -> Weights:
    """Read the weights of an HDF5 snapshot.

    Parameters
    ----------
    path
        The file.

    Raises
    ------
    FileFormatError
        If the file is damaged or is no Caffe snapshot.
    """
    import h5py

    name = os.fspath(path)
    try:
        with h5py.File(path, "r") as file:
            data = file.get("data")
            if not isinstance(data, h5py.Group):
                raise FileFormatError(f"{name}: an HDF5 file without the group 'data' is no Caffe snapshot")
            layers: dict[str, dict[int, Blob]] = {}

            # A slash in a layer's name makes a group of its own, so a layer's name is all of the path but its end.
            def visit(key: str, item: Any) -> None:
                layer, _, index = key.rpartition("/")
                if isinstance(item, h5py.Dataset) and layer and index.isdecimal():
                    values = np.asarray(item[()], np.float32)
                    layers.setdefault(layer, {})[int(index)] = Blob(values.shape, values.reshape(-1))

            data.visititems(visit)
    except (OSError, RuntimeError, KeyError, ValueError, TypeError, MemoryError) as error:
        raise FileFormatError(f"{name}: the HDF5 file cannot be read: {error}") from None
    return Weights(name, {layer: _in_order(layer, blobs, name) for layer, blobs in layers.items()})


def _in_order(layer: str, blobs: dict[int, Blob], file: str) -> list[Blob | None]:
    last = max(blobs)
    if last >= _MOST:
        raise FileFormatError(f"{file}: layer '{layer}' has a blob {last}, but no layer has so many")
    return [blobs.get(index) for index in range(last + 1)]
