"""Computing the maps of a sheet."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from caffe2lrp.errors import ImageError
from caffe2lrp.figures.study import Column
from caffe2lrp.ir import Network


@dataclass(frozen=True, eq=False)
class Photo:
    """One row of a sheet.

    Attributes
    ----------
    path
        The file.
    view
        What the network saw, uint8, (H, W, 3).
    target, label, score, probability
        The class that is explained, the one with the highest score; its name, or None; score and probability, or None.
    maps
        One for each column: relevance, summed over the channels, float64, (H, W).
    """

    path: Path
    view: np.ndarray
    target: int
    label: str | None
    score: float
    probability: float | None
    maps: tuple[np.ndarray, ...]


@dataclass(frozen=True, eq=False)
class Sheet:
    """Photos x settings for one network."""

    network: Network
    name: str
    mode: str
    columns: tuple[Column, ...]
    photos: tuple[Photo, ...]


def compute(
    network: Network,
    name: str,
    mode: str,
    chosen: Sequence[Column],
    paths: Sequence[Path],
    step: Callable[[str], None] = lambda name: None,
) -> Sheet:
    """Explain each photo by each setting.

    Parameters
    ----------
    network
        The network, with preprocessing. In the mode ``toolbox``, photos are prepared as the Toolbox does: the longer
        side to the size that the network's own preprocessing gives the shorter one, edges repeated.
    name, mode
        Name of the sheet, ``clean`` or ``toolbox``.
    chosen
        The settings.
    paths
        The photos.
    step
        Called with a photo's name before it is explained.

    Raises
    ------
    ImageError
        If a photo cannot be read, or the network has no preprocessing.
    """
    if network.preprocessing is None:
        raise ImageError(f"how photos are prepared for {network.name} is not known")
    photos = []
    for path in paths:
        step(path.name)
        photos.append(_photo(network, mode, chosen, path))
    return Sheet(network, name, mode, tuple(chosen), tuple(photos))


def toolbox_preprocessing(network: Network) -> Network:
    """The network with photos prepared as the LRP Toolbox does."""
    assert network.preprocessing is not None
    kind, n = network.preprocessing.resize
    changed = replace(network.preprocessing, resize=("long", n)) if kind == "short" else network.preprocessing
    return network.with_layers(network.layers).describe(preprocessing=changed)


def _photo(network: Network, mode: str, chosen: Sequence[Column], path: Path) -> Photo:
    from caffe2lrp import toolbox
    from caffe2lrp.engine.session import Session
    from caffe2lrp.explanation import start_blob

    assert network.preprocessing is not None
    prepared = network.preprocessing.prepare(path, network.input_shape)
    session = Session(network, prepared.blob, fold=mode == "clean")
    outputs = (network.outputs[0], start_blob(network))
    with session.values() as values:
        out, scores = (values[blob].reshape(-1).copy() for blob in outputs)
    target = int(scores.argmax())
    explain = session.explain if mode == "clean" else lambda t, **options: toolbox.run(session, t, **options)
    maps = [explain(target, **column.options).relevance[0].sum(axis=0, dtype=np.float64) for column in chosen]
    return Photo(
        path=path,
        view=prepared.view,
        target=target,
        label=network.labels[target] if network.labels is not None and len(network.labels) == scores.size else None,
        score=float(scores[target]),
        probability=float(out[target]) if outputs[0] != outputs[1] else None,
        maps=tuple(maps),
    )
