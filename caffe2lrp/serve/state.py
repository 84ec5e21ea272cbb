"""The network, and the pictures that were given last, each with its forward pass and its latest maps."""

from __future__ import annotations

import secrets
import threading
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path, PurePath
from typing import Any

import numpy as np

from caffe2lrp.classes import highest, label, probability
from caffe2lrp.engine.session import Session
from caffe2lrp.errors import Caffe2LrpError, ImageError, OptionError
from caffe2lrp.explanation import start_blob
from caffe2lrp.ir import Network
from caffe2lrp.layers.base import count
from caffe2lrp.layers.lrn import LRN
from caffe2lrp.preprocessing import Prepared, read_image
from caffe2lrp.serve.settings import Setting

MAX_BYTES = 32 * 2**20
"""Of an uploaded file."""
MAX_PIXELS = 50_000_000
"""Of an uploaded picture; cameras of telephones have as many."""
KEPT_PICTURES, KEPT_MAPS = 8, 32
SHOWN_CLASSES = 10


class GoneError(Caffe2LrpError):
    """A picture that is not held any more."""


@dataclass(frozen=True, eq=False)
class Map:
    """Relevance for a class: (C, H, W), where it started, and how the setting calls itself."""

    relevance: np.ndarray
    score: float
    rule: str


@dataclass(frozen=True, eq=False)
class Picture:
    """A picture that was given.

    Attributes
    ----------
    key
        Random text that stands for it.
    name
        Name of its file.
    prepared
        What the network sees.
    session
        Its forward pass.
    classes
        The highest classes: index, label, score, probability (or None).
    """

    key: str
    name: str
    prepared: Prepared
    session: Session
    classes: Sequence[dict[str, Any]]
    maps: OrderedDict[tuple[int, Setting], Map] = field(default_factory=OrderedDict)


class Gallery:
    """A network and the latest pictures; its methods may be called from any thread.

    Parameters
    ----------
    network
        With preprocessing.
    layer
        Blob or layer whose values are explained; None is the scores below the softmax.
    model
        Options of the command line that name the network.
    preparation
        Its preprocessing in words.
    examples
        Picture files to try.

    Raises
    ------
    OptionError
        If there is no such layer.
    ModelError
        If there are several outputs and none is named.
    """

    def __init__(
        self,
        network: Network,
        *,
        layer: str | None = None,
        model: Sequence[str] = (),
        preparation: str = "",
        examples: Sequence[Path] = (),
    ) -> None:
        self.network, self.model, self.preparation = network, list(model), preparation
        self.examples = {path.name: path for path in examples}
        self.layer, self.blob = layer, start_blob(network, layer)
        self.count = count(network.shapes[self.blob], 1)
        self.has_lrn = network.has(LRN)
        self._pictures: OrderedDict[str, Picture] = OrderedDict()
        # One at a time: the buffers of all sessions are the same, and each computation uses all cores anyway.
        self._lock = threading.Lock()

    def facts(self) -> dict[str, Any]:
        """What the page says about the network."""
        names = [label(self.network, i, self.count) for i in range(self.count)]
        return {
            "name": self.network.name or "network",
            "input": list(self.network.input_shape[1:]),
            "parameters": self.network.parameter_count,
            "preparation": self.preparation,
            "has_lrn": self.has_lrn,
            "count": self.count,
            "labels": None if all(name in (None, str(i)) for i, name in enumerate(names)) else names,
            "examples": list(self.examples),
            "max_bytes": MAX_BYTES,
        }

    def add(self, data: bytes, name: str) -> Picture:
        """Take a picture, run the network on it and keep it.

        Raises
        ------
        ImageError
            If it cannot be read or is too large.
        """
        preprocessing = self.network.preprocessing
        assert preprocessing is not None  # who opened the network saw to it
        with self._lock:
            try:
                photo = read_image(data, MAX_PIXELS)
            except ImageError as error:
                raise ImageError(str(error).replace("the given data", f"'{name}'", 1)) from None
            prepared = preprocessing.prepare(photo, self.network.input_shape)
            session = Session(self.network, prepared.blob)
            picture = Picture(secrets.token_urlsafe(12), name, prepared, session, self._classes(session))
            self._pictures[picture.key] = picture
            _keep(self._pictures, KEPT_PICTURES)
        return picture

    def picture(self, key: str) -> Picture:
        """A picture that was given.

        Raises
        ------
        GoneError
            If others were given since, or it never was.
        """
        with self._lock:
            if key not in self._pictures:
                raise GoneError("this picture is not held any more; give it again")
            self._pictures.move_to_end(key)
            return self._pictures[key]

    def explain(self, picture: Picture, target: int, setting: Setting) -> Map:
        """The relevance for a class; the latest are kept.

        Raises
        ------
        OptionError, ModelError
            As `caffe2lrp.explain`.
        """
        if not 0 <= target < self.count:
            raise OptionError(f"there is no class {target}: there are {self.count}, from 0 to {self.count - 1}")
        with self._lock:
            known = picture.maps.get((target, setting))
            if known is None:
                e = picture.session.explain(target, composite=setting.composite(), lrn=setting.lrn, layer=self.layer)
                known = Map(e.relevance[0], float(e.score[0]), e.rule)
                picture.maps[target, setting] = known
            picture.maps.move_to_end((target, setting))
            _keep(picture.maps, KEPT_MAPS)
        return known

    def label(self, index: int) -> str:
        """Name of a class, ``class N`` if it has none."""
        name = label(self.network, index, self.count)
        if name not in (None, str(index)):
            return str(name)
        return f"class {index}" if self.layer is None else f"{self.blob} {index}"

    def stem(self, picture: Picture, target: int) -> str:
        """What the names of files begin with that ``explain`` writes."""
        blob = "" if self.layer is None else f"{self.blob.replace('/', '_')}-"
        return f"{PurePath(picture.name).stem}.{blob}{target}"

    def warm_up(self) -> None:
        """Explain an empty picture, so that the first one does not wait for what is prepared only once."""
        shape = (1, *self.network.input_shape[1:])
        with self._lock, suppress(Caffe2LrpError):  # which then the page says of a picture
            Session(self.network, np.zeros(shape, np.float32)).explain(0, layer=self.layer)

    def _classes(self, session: Session) -> list[dict[str, Any]]:
        with session.values() as values:
            scores = values[self.blob].reshape(-1).copy() if self.blob in values else np.zeros(0)
            outputs = {blob: values[blob].copy() for blob in self.network.outputs}
        if not scores.size:
            raise OptionError(f"'{self.blob}' cannot be explained: its layer is merged with the affine one behind it")
        known = self.layer is None and probability(self.network, outputs, 0) is not None
        order = outputs[self.network.outputs[0]].reshape(-1) if known else scores
        return [
            {
                "index": i,
                "label": self.label(i),
                "score": float(scores[i]),
                "probability": float(order[i]) if known else None,
            }
            for i in highest(order, SHOWN_CLASSES)
        ]


def _keep(latest: OrderedDict[Any, Any], n: int) -> None:
    while len(latest) > n:
        latest.popitem(last=False)
