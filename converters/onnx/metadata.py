"""What a model says about where it came from and how its input is made."""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import caffe2lrp
from caffe2lrp.errors import FileFormatError
from caffe2lrp.ir import Network

if TYPE_CHECKING:
    from caffe2lrp.preprocessing import Preprocessing

PREFIX = "caffe2lrp."


def metadata(network: Network, sources: Sequence[str | os.PathLike[str]]) -> dict[str, str]:
    """The entries of ``metadata_props``; all but the version are JSON.

    ``caffe2lrp.sources`` lists files with their SHA-256, ``caffe2lrp.preprocessing`` is what
    `Preprocessing.to_dict` gives (a mean image is stored in it as base64 of little-endian float32),
    ``caffe2lrp.labels`` lists the class names in the order of the output.
    """
    entries: dict[str, Any] = {"sources": [_source(path) for path in sources]} if sources else {}
    if network.preprocessing is not None:
        entries["preprocessing"] = _preprocessing(network.preprocessing)
    if network.labels is not None:
        entries["labels"] = list(network.labels)
    texts = {f"{PREFIX}{key}": json.dumps(value, ensure_ascii=False) for key, value in entries.items()}
    return {f"{PREFIX}version": caffe2lrp.__version__, **texts}


def _source(path: str | os.PathLike[str]) -> dict[str, str]:
    try:
        with open(path, "rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise FileFormatError(f"{os.fspath(path)}: cannot read the file: {error.strerror or error}") from None
    return {"file": Path(path).name, "sha256": digest}


def _preprocessing(preprocessing: Preprocessing) -> dict[str, Any]:
    mean = preprocessing.mean
    if not isinstance(mean, np.ndarray):
        return preprocessing.to_dict()
    stored = base64.b64encode(mean.astype("<f4").tobytes()).decode()
    return {**preprocessing.to_dict("mean"), "mean": {"shape": list(mean.shape), "float32": stored}}
