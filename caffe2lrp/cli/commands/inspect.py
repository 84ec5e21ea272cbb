"""``caffe2lrp inspect`` as a user types it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from caffe2lrp.cli.arguments import MODEL, OUTPUT, Files, InputShape, Json, Model, Plugins, Prototxt, Weights
from caffe2lrp.cli.options import ModelOptions

EXAMPLES = """Examples:

caffe2lrp inspect deploy.prototxt

caffe2lrp inspect deploy.prototxt net.caffemodel --batch 1

caffe2lrp inspect net.onnx

caffe2lrp inspect --model bvlc_googlenet --json | jq '.totals'

caffe2lrp inspect deploy.prototxt --graph net.svg
"""


def inspect(
    files: Files = None,
    model: Model = None,
    prototxt: Prototxt = None,
    weights: Weights = None,
    input_shape: InputShape = None,
    plugin: Plugins = None,
    batch: Annotated[
        int | None, typer.Option(min=1, metavar="N", rich_help_panel=MODEL, help="Batch size in place of the file's.")
    ] = None,
    graph: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.svg", rich_help_panel=OUTPUT, help="Draw the net, too; an existing file is replaced."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show a net: layers with shapes, parameters, multiply-adds and where they were defined. No weights are needed."""
    from caffe2lrp.cli.inspect import run

    options = ModelOptions(model, prototxt, weights, input_shape=input_shape, plugins=plugin or ())
    run(files or (), options, batch, graph, as_json=as_json)
