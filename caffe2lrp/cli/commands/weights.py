"""``caffe2lrp weights`` as a user types it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from caffe2lrp.cli.arguments import OUTPUT, Files, InputShape, Model, Overwrite, Plugins, Prototxt, Weights
from caffe2lrp.cli.options import ModelOptions

EXAMPLES = """Examples:

caffe2lrp weights deploy.prototxt net.caffemodel --out net.npz

caffe2lrp weights --model bvlc_googlenet --out googlenet.safetensors

caffe2lrp weights net.caffemodel --input-shape 1,3,224,224 --out arrays
"""


def weights(
    out: Annotated[
        Path,
        typer.Option(
            metavar="FOLDER|FILE", rich_help_panel=OUTPUT, help="A folder for npy files, FILE.npz or FILE.safetensors."
        ),
    ],
    files: Files = None,
    model: Model = None,
    prototxt: Prototxt = None,
    weights: Weights = None,
    plugin: Plugins = None,
    input_shape: InputShape = None,
    overwrite: Overwrite = False,
) -> None:
    """Write a net's weights for other programs, as arrays called LAYER/weight, LAYER/bias and so on."""
    from caffe2lrp.cli.weights import run

    run(
        files or (),
        ModelOptions(model, prototxt, weights, input_shape=input_shape, plugins=plugin or ()),
        out,
        overwrite=overwrite,
    )
