"""Evaluating methods on images, one record after the other, each kept in a file as soon as it is there."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from caffe2lrp.composites import Composite
from caffe2lrp.engine.session import Session
from caffe2lrp.errors import FileFormatError, OptionError
from caffe2lrp.evaluation.complexity import entropy, file_size
from caffe2lrp.evaluation.localisation import mask_of, mass_accuracy, rank_accuracy
from caffe2lrp.evaluation.perturbation import RANDOM, Perturbation, aopc, curve, grid, region_order
from caffe2lrp.explanation import LRNRule, start_blob
from caffe2lrp.ir import Network

ORDERS = ("morf", "lerf")
"""Most and least relevant regions first."""
CHANCE = "random"
"""Name of the random order, which stands beside the methods."""

Record = dict[str, Any]


@dataclass(frozen=True)
class Settings:
    """What is evaluated.

    Attributes
    ----------
    methods
        Rules, composites and baselines.
    lrn
        How relevance passes LRN layers.
    perturbation
        How images are perturbed.
    orders
        Some of `ORDERS`; none leaves perturbation out.
    """

    methods: Sequence[Composite]
    lrn: LRNRule
    perturbation: Perturbation
    orders: Sequence[str] = ORDERS

    def to_dict(self, network: Network) -> dict[str, Any]:
        """What makes records comparable, for the file; methods are not in it, since more may be added."""
        p = self.perturbation
        shape = network.input_shape[1:]
        return {
            "network": network.name, "input": list(shape), "lrn": self.lrn, "orders": list(self.orders),
            "region": p.region, "steps": p.steps, "draws": p.draws, "operator": p.operator, "seed": p.seed,
        }  # fmt: skip


class Store:
    """Records in a file of JSON lines, of which the first holds the settings.

    Parameters
    ----------
    path
        The file; it is made if it is not there.
    settings
        They must be those of the file.

    Raises
    ------
    OptionError
        If the file holds records of other settings, or cannot be written.
    FileFormatError
        If it is no such file.
    """

    def __init__(self, path: Path, settings: Mapping[str, Any]) -> None:
        self.path = path
        self.records: list[Record] = []
        lines = path.read_text("utf-8").split("\n") if path.exists() else []
        whole = lines[:-1]  # a line that was cut off by an interruption has no end
        if not whole:
            self._write("w", {"settings": dict(settings)})
            return
        try:
            head, *self.records = [json.loads(line) for line in whole]
            found = head["settings"]
        except (json.JSONDecodeError, TypeError, KeyError):
            raise FileFormatError(f"'{path}' does not hold records of an evaluation") from None
        other = [key for key in settings if found.get(key) != settings[key]]
        if other:
            raise OptionError(
                f"'{path}' was begun with another {other[0]} ({found.get(other[0])}, not {settings[other[0]]}); "
                "choose another folder, or begin anew with --restart"
            )
        if lines[-1]:
            path.write_text("\n".join(whole) + "\n", "utf-8")

    def has(self, image: str, method: str) -> bool:
        """Whether there is a record of an image (by the hash of its file) and method."""
        return any(record["sha256"] == image and record["method"] == method for record in self.records)

    def add(self, record: Record) -> None:
        """Append a record."""
        self.records.append(record)
        self._write("a", record)

    def _write(self, mode: str, value: Any) -> None:
        try:
            with self.path.open(mode, encoding="utf-8") as file:
                file.write(json.dumps(value) + "\n")
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise OptionError(f"cannot write '{self.path}': {error.strerror or error}") from None


def images_to_run(network: Network, settings: Settings) -> int:
    """Perturbed images of one photo, all methods and the random order together."""
    if not settings.orders:
        return 0
    p = settings.perturbation
    steps = min(p.steps, int(np.prod(grid(*network.input_shape[2:4], p.region)))) + 1
    draws = p.draws if p.operator in RANDOM else 1
    return steps * (len(settings.methods) * len(settings.orders) * draws + p.draws)


def evaluate(
    network: Network,
    photo: Path,
    annotation: Path | None,
    settings: Settings,
    store: Store,
    step: Callable[[int], None] = lambda images: None,
) -> None:
    """Evaluate all methods on one photo and keep the records; what is there already is left as it is.

    Parameters
    ----------
    network
        The network, with preprocessing.
    photo, annotation
        The photo, and boxes or a mask of its object, or None.
    settings, store
        What to do, and where records are kept.
    step
        Called with the number of perturbed images that have been run.

    Raises
    ------
    ImageError, FileFormatError
        If photo or annotation cannot be used.
    """
    assert network.preprocessing is not None
    digest = hashlib.sha256(photo.read_bytes()).hexdigest() if photo.is_file() else ""
    x = network.preprocessing(photo, network.input_shape)
    mask = None if annotation is None else mask_of(photo, annotation, network.preprocessing, network.input_shape)
    blob = start_blob(network)
    session = Session(network, x)
    with session.values() as values:
        scores = values[blob].reshape(-1).copy()
    target = int(scores.argmax())
    bounds = network.preprocessing.bounds(network.input_shape)
    head: Record = {"image": photo.name, "sha256": digest, "target": target, "score": float(scores[target])}

    def perturbed(order: np.ndarray | None) -> np.ndarray:
        return curve(network, x[0], target, order, settings.perturbation, bounds, blob, step).mean(axis=0)

    for method in settings.methods:
        if store.has(digest, method.name):
            continue
        relevance = session.explain(target, composite=method, lrn=settings.lrn).relevance[0]
        record = {**head, "method": method.name, "entropy": entropy(relevance), "file_size": file_size(relevance)}
        if mask is not None:
            record |= {"mass": mass_accuracy(relevance, mask), "rank": rank_accuracy(relevance, mask)}
        best_first = region_order(relevance, settings.perturbation.region) if settings.orders else np.zeros(0)
        for order in settings.orders:
            mean = perturbed(best_first if order == "morf" else best_first[::-1])
            record[order] = {"aopc": aopc(mean), "curve": mean.tolist()}
        store.add(record)
    if settings.orders and not store.has(digest, CHANCE):
        mean = perturbed(None)
        store.add({**head, "method": CHANCE, "morf": {"aopc": aopc(mean), "curve": mean.tolist()}})
