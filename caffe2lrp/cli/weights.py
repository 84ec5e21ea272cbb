"""``caffe2lrp weights``."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from caffe2lrp.cli.loading import open_model
from caffe2lrp.cli.options import ModelOptions
from caffe2lrp.cli.terminal import say
from caffe2lrp.converters.arrays import save_weights
from caffe2lrp.errors import OptionError


def run(files: Sequence[Path], options: ModelOptions, out: Path, *, overwrite: bool) -> None:
    """Write the weights for other programs."""
    network, has_weights = open_model(options, files)
    if not has_weights:
        raise OptionError("a prototxt alone has no weights to write: give the weights file, too")
    written = save_weights(network, out, overwrite=overwrite)
    say(f"{network.parameter_count:,} parameters of {len(network.weighted_layers())} layers in {_files(len(written))}")
    print(out)


def _files(count: int) -> str:
    return f"{count} files" if count > 1 else "one file"
