"""``caffe2lrp upgrade`` as a user types it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from caffe2lrp.cli.arguments import (
    CHANGES,
    OUTPUT,
    Files,
    InputShape,
    Model,
    Overwrite,
    Plugins,
    Prototxt,
    Weights,
)
from caffe2lrp.cli.options import ModelOptions

EXAMPLES = """Examples:

caffe2lrp upgrade old.prototxt old.caffemodel --out new

caffe2lrp upgrade deploy.prototxt net.caffemodel --out plain --fold --input-shape 1,3,320,240

caffe2lrp upgrade --model bvlc_googlenet --until pool5/7x7_s1 --out features
"""


def upgrade(
    out: Annotated[
        Path,
        typer.Option(metavar="STEM", rich_help_panel=OUTPUT, help="Writes STEM.prototxt and STEM.caffemodel."),
    ],
    files: Files = None,
    model: Model = None,
    prototxt: Prototxt = None,
    weights: Weights = None,
    plugin: Plugins = None,
    input_shape: InputShape = None,
    until: Annotated[
        str | None,
        typer.Option(metavar="BLOB", rich_help_panel=CHANGES, help="Keep only what computes this blob (or layer)."),
    ] = None,
    fold: Annotated[
        bool,
        typer.Option(
            "--fold", rich_help_panel=CHANGES, help="Merge BatchNorm, Scale and Bias into the linear layer before them."
        ),
    ] = False,
    hdf5: Annotated[
        bool,
        typer.Option("--hdf5", rich_help_panel=OUTPUT, help="Weights as HDF5: STEM.caffemodel.h5."),
    ] = False,
    overwrite: Overwrite = False,
) -> None:
    """Write a net as Caffe files of the newest generation, made smaller or changed on the way.

    Reads all generations. Training-only layers are gone, inputs are Input layers. A definition alone gives a
    definition alone. Prints the files that were written.
    """
    from caffe2lrp.cli.upgrade import run

    options = ModelOptions(model, prototxt, weights, input_shape=input_shape, plugins=plugin or ())
    run(files or (), options, out, fold=fold, until=until, hdf5=hdf5, overwrite=overwrite)
