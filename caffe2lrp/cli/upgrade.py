"""``caffe2lrp upgrade``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from caffe2lrp.cli.loading import open_model
from caffe2lrp.cli.options import ModelOptions
from caffe2lrp.cli.terminal import one_line, say
from caffe2lrp.converters import caffe
from caffe2lrp.converters.caffe.hdf5 import hidden_from_caffe
from caffe2lrp.errors import OptionError
from caffe2lrp.ir import Network
from caffe2lrp.saving import check_target

DEFINITION, BINARY, HDF5 = ".prototxt", ".caffemodel", ".caffemodel.h5"


def run(
    files: Sequence[Path],
    options: ModelOptions,
    stem: Path,
    *,
    fold: bool,
    until: str | None,
    hdf5: bool,
    overwrite: bool,
) -> None:
    """Write a network as files of the newest generation."""
    definition, weights = (_beside(stem, ending) for ending in (DEFINITION, HDF5 if hdf5 else BINARY))
    check_target(definition, overwrite=overwrite)
    network, has_weights = open_model(options, files)
    if has_weights:
        check_target(weights, overwrite=overwrite)
    for note in network.notes:
        say(f"note: {one_line(note)}")
    if until is not None:
        network = _left_out(network, network.until(until))
    if fold:
        network = _folded(network)
    if hdf5 and has_weights and (hidden := hidden_from_caffe(network)):
        say(
            f"note: Caffe itself does not find {len(hidden)} layers in HDF5, as their names have a slash "
            f"({hidden[0]} is the first); without --hdf5 it does"
        )
    caffe.save(network, definition, weights if has_weights else None)
    print(definition)
    if has_weights:
        print(weights)
    else:
        say("there were no weights to write: this is the definition alone")


def _beside(stem: Path, ending: str) -> Path:
    for known in (DEFINITION, HDF5, BINARY):
        if stem.name.lower().endswith(known):
            begin = stem.name[: -len(known)]
            raise OptionError(f"--out {stem}: give what the names of the files have in common: {stem.with_name(begin)}")
    if not stem.name or stem.is_dir():
        raise OptionError(f"--out {stem} is a folder: give the beginning of file names in it, such as {stem / 'new'}")
    return stem.with_name(stem.name + ending)


def _left_out(whole: Network, part: Network) -> Network:
    say(f"{len(whole.layers) - len(part.layers)} of {len(whole.layers)} layers are left out")
    return part


def _folded(network: Network) -> Network:
    from caffe2lrp.engine.folding import fold_affine_layers

    folded = fold_affine_layers(network)
    say(f"{len(network.layers) - len(folded.layers)} layers are merged into the layers before them")
    return folded
