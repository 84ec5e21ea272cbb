"""The nets of the study: which are at hand, and what exactly is missing."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from caffe2lrp.errors import DownloadError
from caffe2lrp.ir import Network
from caffe2lrp.models import fetch, zoo
from caffe2lrp.models._cache import hash_file
from caffe2lrp.models.manifest import find

STUDY = ("bvlc_reference_caffenet", "bvlc_googlenet", "places205_alexnet", "places205_googlenet")
"""Nets of Binder et al. 2016: BVLC reference net and GoogLeNet, trained on ImageNet and on MIT Places."""
FALLBACK = "digits"
"""The model that comes with caffe2lrp."""


@dataclass(frozen=True)
class Found:
    """A net at hand: its name for files, the hash of its weights, and pictures that come with it."""

    name: str
    network: Network
    sha256: str
    pictures: tuple[Path, ...] = ()


@dataclass(frozen=True)
class Missing:
    """A net that is not at hand, and why."""

    name: str
    reason: str


def find_nets(names: Sequence[str], *, download: bool) -> Iterator[Found | Missing]:
    """Load nets by name, one after the other.

    Parameters
    ----------
    names
        Names of known models.
    download
        Fetch what is missing.

    Yields
    ------
    Found or Missing
        In the order of the names.
    """
    for name in names:
        try:
            network = zoo.load(name, fetch=download)
        except DownloadError as error:
            yield Missing(name, _lacking(name, error))
        else:
            weights = fetch.path(name)
            pictures = sorted(weights.parent.glob("digit_*.png")) if find(name).name == FALLBACK else []
            yield Found(find(name).name, network, hash_file(weights)["sha256"], tuple(pictures))


def _lacking(name: str, error: DownloadError) -> str:
    """Which weights, and where they may be put by hand."""
    path = fetch.path(name)
    first = str(error).split("\n", 1)[0]
    return f"{name} is left out: its weights '{path.name}' are not at hand ({first}); they can be put at {path}"


def of_files(network: Network, weights: Path) -> Found:
    """A net of one's own."""
    return Found(weights.stem, network, hash_file(weights)["sha256"])
