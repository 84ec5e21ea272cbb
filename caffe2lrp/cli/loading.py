"""From options to a network that is ready for pictures: its files, its preprocessing, its class names.

What the user does not say is taken from the list of known models if the weights are among them, else assumed; both are
told on stderr, because a wrong mean or channel order gives wrong answers without any error.
"""

from __future__ import annotations

import dataclasses
import hashlib
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from caffe2lrp.classes import class_count
from caffe2lrp.cli.options import DEFAULT_MODEL, ModelOptions, parse_numbers, parse_scale, parse_shape
from caffe2lrp.cli.terminal import say
from caffe2lrp.converters import caffe, loading
from caffe2lrp.converters.caffe.files import sniff
from caffe2lrp.engine.inputs import listed
from caffe2lrp.errors import DownloadError, FileFormatError, ImageError, ModelError, OptionError
from caffe2lrp.ir import Network
from caffe2lrp.models import fetch, nets, zoo
from caffe2lrp.models.manifest import Entry, Source, entries, find
from caffe2lrp.preprocessing import Preprocessing, read_label_file

LABEL_FILE = "synset_words.txt"
"""Looked for beside the weights."""

SETTINGS = ("channels", "mean", "scale", "resize")
"""What of the preprocessing can be set; the options have the same names."""


def open_network(options: ModelOptions, *, pictures: bool = True) -> Network:
    """The network that the options name, described with preprocessing and, where they are at hand, class names.

    Without `pictures`, preprocessing that is neither known nor given stays unknown in place of being assumed.

    Raises
    ------
    OptionError
        If options contradict each other or cannot be used.
    FileFormatError, ModelError, DownloadError
        If its files cannot be used.
    ImageError
        If the network does not take pictures.
    """
    check_sources(options)
    load_plugins(options)
    files = files_of(options)
    if files:
        network = loading.load(*files, input_shape=parse_shape(options.input_shape))
        entry = _known_entry(files, network)
    else:
        network = with_shape(zoo.load(options.model or DEFAULT_MODEL), options)
        entry = None
    if pictures and len(network.inputs) > 1:
        raise ModelError(
            f"{network.name} has the inputs {listed(network)}; a picture can be given to a net with one input only. "
            "Run this one in Python, with a dict of arrays: net.forward({...}), caffe2lrp.explain(net, {...})"
        )
    known = network.preprocessing is not None or (entry is not None and entry.preprocessing is not None)
    if pictures or known or _asked(options):
        network.describe(preprocessing=_preprocessing(options, network, entry))
    return network.describe(labels=_labels(options, network, entry, files))


def open_definition(options: ModelOptions, files: Sequence[Path] = ()) -> Network:
    """The network to look at: weights are not needed.

    Raises
    ------
    OptionError, FileFormatError, ModelError, DownloadError
        As for `open_network`.
    """
    files = _begin(options, files)
    shape = parse_shape(options.input_shape)
    if len(files) == 2:
        return loading.load(*files, input_shape=shape)
    if files:
        return loading.load_definition(files[0], input_shape=shape)
    return with_shape(_known_definition(options.model or DEFAULT_MODEL), options)


def open_model(options: ModelOptions, files: Sequence[Path] = ()) -> tuple[Network, bool]:
    """The network to write elsewhere, and whether it has its weights; a lone prototxt has none.

    Raises
    ------
    OptionError, FileFormatError, ModelError, DownloadError
        As for `open_network`.
    """
    files = _begin(options, files)
    if not files:
        return with_shape(zoo.load(options.model or DEFAULT_MODEL), options), True
    shape = parse_shape(options.input_shape)
    if len(files) == 1 and sniff(files[0]) == "text":
        return caffe.load_definition(files[0], input_shape=shape), False
    return loading.load(*files, input_shape=shape), True


def _begin(options: ModelOptions, files: Sequence[Path]) -> Sequence[Path]:
    """Check what names the network, load plug-ins, and return its files, if files name it."""
    check_files(options, files)
    check_sources(options)
    load_plugins(options)
    return files or files_of(options)


def check_files(options: ModelOptions, files: Sequence[Path]) -> None:
    """Refuse files as arguments together with options that name a network, or too many of them."""
    if files and files_of(options):
        raise OptionError("give the files as arguments or with --prototxt and --weights, not both")
    if files and options.model is not None:
        raise OptionError("give files or --model, not both")
    if len(files) > 2:
        raise OptionError(f"a net has at most two files, a definition and weights, but {len(files)} were given")


def check_sources(options: ModelOptions) -> None:
    """Refuse a model's name together with files."""
    if options.model is not None and files_of(options):
        raise OptionError("give --model or --prototxt and --weights, not both")


def load_plugins(options: ModelOptions) -> None:
    """Load the plug-ins whose layer types the network may have."""
    from caffe2lrp.plugin import load_file

    for path in options.plugins:
        load_file(path)


def files_of(options: ModelOptions) -> list[Path]:
    """The files that were given; the reader tells them apart by their content."""
    return [path for path in (options.prototxt, options.weights) if path is not None]


def source_files(options: ModelOptions) -> list[Path]:
    """The files that `open_network` has read."""
    files = files_of(options)
    if files:
        return files
    paths = fetch.cached(options.model or DEFAULT_MODEL)
    return [path for path in (paths.prototxt, paths.weights) if path is not None]


def with_shape(network: Network, options: ModelOptions) -> Network:
    """The network for the input shape that was asked for, if one was."""
    shape = parse_shape(options.input_shape)
    if shape is None:
        return network
    if len(shape) != len(network.input_shape) or shape[1:2] != network.input_shape[1:2]:
        raise OptionError(f"--input-shape {shape} does not fit the input {network.input} {network.input_shape}")
    return network.with_input_shape(shape)


def _known_definition(name: str) -> Network:
    """A known model; its definition alone if the weights would have to be downloaded first."""
    entry = find(name)
    if entry.kind != "model" or entry.net is None or fetch.is_fetched(name):
        return zoo.load(name)
    say(f"the weights of {entry.name} are not fetched: this is its definition alone")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / f"{entry.net}.prototxt"
        file.write_text(nets.prototxt(entry.net), encoding="utf-8")
        return caffe.load_definition(file)


# -- known weights ---------------------------------------------------------------------------------


def _known_entry(files: Sequence[Path], network: Network) -> Entry | None:
    """The known model whose weights these are, by file name, else by content, if it has the network's channels."""
    for file in files:
        entry = _entry_of_name(file.name) or _entry_of_content(file)
        if entry is not None and entry.input is not None and entry.input[0] == network.input_shape[1]:
            return entry
    return None


def _entry_of_name(name: str) -> Entry | None:
    for entry, source in _weight_sources():
        if any(member.role == "weights" and member.file.lower() == name.lower() for member in source.files):
            return entry
    return None


def _entry_of_content(file: Path) -> Entry | None:
    """By hash; only files of the right size are read."""
    size = file.stat().st_size
    for entry, source in _weight_sources():
        if source.size == size and source.hashes:
            algorithm, digest = next(iter(source.hashes.items()))
            with file.open("rb") as opened:
                if hashlib.file_digest(opened, algorithm).hexdigest() == digest:
                    return entry
    return None


def _weight_sources() -> Iterator[tuple[Entry, Source]]:
    for entry in entries():
        for source in entry.sources:
            if entry.kind == "model":
                yield entry, source


# -- preprocessing ---------------------------------------------------------------------------------


def _preprocessing(options: ModelOptions, network: Network, entry: Entry | None) -> Preprocessing:
    asked = _asked(options)
    if network.preprocessing is not None:
        return _override(network.preprocessing, asked)
    if entry is not None and entry.preprocessing is not None:
        base = Preprocessing.from_dict(entry.preprocessing)
        origin = f"those of the known model {entry.name}"
    else:
        base, origin = assumed_preprocessing(network), "assumed"
    chosen = _override(base, asked)
    rest = [setting for setting in SETTINGS if setting not in asked]
    if rest:
        change = f"change with {', '.join(f'--{setting}' for setting in rest)}"
        say(f"pictures are prepared with {in_words(chosen)} ({', '.join(rest)}: {origin}; {change})")
    return chosen


def assumed_preprocessing(network: Network) -> Preprocessing:
    """What most published Caffe nets of this input were trained with.

    Raises
    ------
    ImageError
        If the network does not take pictures.
    """
    shape = network.input_shape
    if len(shape) != 4 or shape[1] not in (1, 3):
        raise ImageError(f"{network.name} takes an input of shape {shape}: pictures have the shape (N, 1 or 3, H, W)")
    if shape[1] == 1:
        return Preprocessing("GRAY", None, 1 / 256, ("short", None))
    return Preprocessing("BGR", (104.0, 117.0, 123.0), 1.0, ("short", _short_side(min(shape[2:]))))


def _short_side(crop: int) -> int | None:
    """Shorter side before the crop: 256 for 224 and 227, in proportion for others, all of it for thumbnails."""
    if crop in (224, 227):
        return 256
    return None if crop < 64 else round(crop * 256 / 224)


def _asked(options: ModelOptions) -> dict[str, Any]:
    """The settings that the options give."""
    asked: dict[str, Any] = {}
    if options.mean is not None:
        numbers = parse_numbers(options.mean)
        asked["mean"] = caffe.read_mean(options.mean) if numbers is None else numbers
    if options.channels is not None:
        asked["channels"] = options.channels.value
    if options.scale is not None:
        asked["scale"] = parse_scale(options.scale)
    if options.resize is not None:
        asked["resize"] = options.resize
    return asked


def _override(base: Preprocessing, asked: dict[str, Any]) -> Preprocessing:
    changes = dict(asked)
    turned = {base.channels, changes.get("channels", base.channels)} == {"BGR", "RGB"}
    if turned and "mean" not in changes and base.mean is not None:
        changes["mean"] = base.mean[::-1]  # it is in the order of the channels
    return dataclasses.replace(base, **changes) if changes else base


def in_words(preprocessing: Preprocessing) -> str:
    """Preprocessing in one line."""
    mean = preprocessing.mean
    if mean is None:
        middle = "no mean"
    elif isinstance(mean, np.ndarray):
        middle = f"mean image {'x'.join(map(str, mean.shape))}"
    else:
        middle = "mean " + ",".join(f"{value:g}" for value in mean)
    mode, n = preprocessing.resize
    scale = "1/256" if preprocessing.scale == 1 / 256 else f"{preprocessing.scale:g}"
    return f"{preprocessing.channels}, {middle}, scale {scale}, resize {mode if n is None else f'{mode} {n}'}"


# -- class names -----------------------------------------------------------------------------------


def _labels(
    options: ModelOptions, network: Network, entry: Entry | None, files: Sequence[Path]
) -> tuple[str, ...] | None:
    count = class_count(network)
    if options.labels is not None:
        labels = tuple(read_label_file(options.labels))
        if count is not None and len(labels) != count:
            raise OptionError(f"'{options.labels}' holds {len(labels)} names, but {network.name} has {count} classes")
        return labels
    found = _labels_at_hand(entry, files)
    if found is not None and count is not None and len(found) != count:
        return None  # names of other classes: a net that was trained on from the known one
    return found if found is not None else network.labels


def _labels_at_hand(entry: Entry | None, files: Sequence[Path]) -> tuple[str, ...] | None:
    for folder in dict.fromkeys(file.absolute().parent for file in reversed(files)):
        if (folder / LABEL_FILE).is_file():
            return tuple(read_label_file(folder / LABEL_FILE))
        if entry is not None and entry.labels is not None:
            try:
                return zoo.find_labels(entry.labels, folder)
            except (FileFormatError, DownloadError):
                continue
    return None
