"""Known models as networks, with their preprocessing and class names."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from caffe2lrp.errors import FileFormatError, OptionError
from caffe2lrp.models import fetch as downloads
from caffe2lrp.models import nets
from caffe2lrp.models._cache import write_atomic
from caffe2lrp.models.manifest import Entry, LabelList, find, label_list

if TYPE_CHECKING:
    from caffe2lrp.ir import Network


def load(name: str, fetch: bool = True, progress: bool = True) -> Network:
    """A known model, ready to run.

    Parameters
    ----------
    name
        Name or alias of a model, see ``caffe2lrp models list``.
    fetch
        Download the model if it is not in the cache.
    progress
        Show a progress bar on stderr while it is downloaded.

    Returns
    -------
    Network
        The network, described with its preprocessing, and with its class names where these are at hand.

    Raises
    ------
    OptionError
        If there is no such model.
    DownloadError
        If it cannot be fetched, or is not there and may not be fetched.
    FileFormatError, ModelError
        If its files cannot be used.
    """
    from caffe2lrp.converters import caffe
    from caffe2lrp.preprocessing import Preprocessing

    entry = find(name)
    if entry.kind != "model":
        raise OptionError(f"'{entry.name}' is data, not a model; 'caffe2lrp models list' shows the models")
    paths = downloads.fetch(entry.name, progress=progress) if fetch else downloads.cached(entry.name)
    with _definition(entry, paths) as prototxt:
        network = caffe.load(prototxt, paths.weights)
    preprocessing = None if entry.preprocessing is None else Preprocessing.from_dict(entry.preprocessing)
    labels = None if entry.labels is None else find_labels(entry.labels, paths.folder)
    return network.describe(preprocessing=preprocessing, labels=labels)


def find_labels(name: str, folder: Path | None = None) -> tuple[str, ...] | None:
    """Class names, if they are at hand; nothing is downloaded.

    Parameters
    ----------
    name
        Name of a label list of the manifest, for example ``ilsvrc12``.
    folder
        A folder to look into first, such as that of the weights.

    Returns
    -------
    tuple of str or None
        The names in the order of the network's output, or None if their file is not found.

    Raises
    ------
    OptionError
        If there is no such label list.
    FileFormatError
        If the file that is found does not hold the right number of names.
    """
    known = label_list(name)
    if known.names:
        return known.names
    for file in _candidates(known, folder):
        if file.is_file():
            return _read_labels(file, known)
    return None


def _candidates(known: LabelList, folder: Path | None) -> Iterator[Path]:
    if known.file is None:
        return
    if folder is not None:
        yield folder / known.file
    if known.entry is not None:
        yield downloads.cache_folder() / known.entry / known.file


def _read_labels(file: Path, known: LabelList) -> tuple[str, ...]:
    from caffe2lrp.preprocessing import read_label_file

    labels = _without_numbers(read_label_file(file))
    if len(labels) != known.count:
        raise FileFormatError(f"'{file}' holds {len(labels)} class names, but {known.name} has {known.count}")
    return tuple(labels)


def _without_numbers(lines: Sequence[str]) -> list[str]:
    """Names of lines such as ``/a/abbey 0``, as the Places files have them; other lines as they are."""
    numbered = [re.fullmatch(r"(?:/[a-z]/)?(\S+)\s+(\d+)", line) for line in lines]
    pairs = [(int(match[2]), match[1]) for match in numbered if match is not None]
    if sorted(number for number, _ in pairs) != list(range(len(lines))):
        return list(lines)
    return [name for _, name in sorted(pairs)]


@contextmanager
def _definition(entry: Entry, paths: downloads.Paths) -> Iterator[Path | None]:
    """The file with the net definition: our table written out, or the model's own; None for the one in its weights."""
    if entry.net is None:
        yield paths.prototxt
        return
    text = nets.prototxt(entry.net).encode()
    # Beside the weights it can be looked at when a message names it.
    file = paths.folder / f"{entry.net}.prototxt"
    try:
        if not file.is_file() or file.read_bytes() != text:
            write_atomic(file, text)
    except OSError:  # a read-only cache
        with tempfile.TemporaryDirectory() as folder:
            draft = Path(folder) / file.name
            draft.write_bytes(text)
            yield draft
    else:
        yield file
