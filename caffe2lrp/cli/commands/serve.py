"""``caffe2lrp serve`` as a user types it."""

from __future__ import annotations

from typing import Annotated

import typer

from caffe2lrp.cli.arguments import (
    RUNNING,
    ChannelOrder,
    InputShape,
    Labels,
    Mean,
    Model,
    Plugins,
    Prototxt,
    Resize,
    Scale,
    StartLayer,
    Threads,
    Weights,
)
from caffe2lrp.cli.options import ModelOptions

EXAMPLES = """Examples:

caffe2lrp serve

caffe2lrp serve --model bvlc_googlenet

caffe2lrp serve --prototxt deploy.prototxt --weights net.caffemodel --labels synset_words.txt --port 8080
"""


def serve(
    model: Model = None,
    prototxt: Prototxt = None,
    weights: Weights = None,
    labels: Labels = None,
    input_shape: InputShape = None,
    plugin: Plugins = None,
    mean: Mean = None,
    channels: ChannelOrder = None,
    scale: Scale = None,
    resize: Resize = None,
    layer: StartLayer = None,
    host: Annotated[
        str,
        typer.Option(metavar="ADDRESS", rich_help_panel=RUNNING, help="What to bind to; else only this machine."),
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, metavar="N", rich_help_panel=RUNNING, help="0 is any that is free.")
    ] = 8000,
    threads: Threads = None,
) -> None:
    """Open a page to explain pictures with: drop a photo, choose a class, move epsilon and beta, compare.

    The network stays loaded, and a picture's forward pass is kept, so that each change is answered at once.
    """
    from caffe2lrp.cli.serve import run

    options = ModelOptions(model, prototxt, weights, labels, input_shape, mean, channels, scale, resize, plugin or ())
    run(options, layer, host, port)
