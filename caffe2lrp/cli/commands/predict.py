"""``caffe2lrp predict`` as a user types it."""

from __future__ import annotations

from typing import Annotated

import typer

from caffe2lrp.cli.arguments import (
    OUTPUT,
    ChannelOrder,
    DType,
    Images,
    InputShape,
    Json,
    Labels,
    Mean,
    Model,
    Plugins,
    Prototxt,
    Resize,
    Scale,
    Threads,
    Weights,
)
from caffe2lrp.cli.options import ModelOptions, Precision

EXAMPLES = """Examples:

caffe2lrp predict seven.png

caffe2lrp predict 'photos/*.jpg' --model bvlc_googlenet --top 3

caffe2lrp predict face.png --prototxt det1.prototxt --weights det1.caffemodel --mean 127.5 --scale 1/128 --json
"""


def predict(
    images: Images,
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
    top: Annotated[int, typer.Option(min=1, metavar="N", rich_help_panel=OUTPUT, help="How many classes.")] = 5,
    as_json: Json = False,
    threads: Threads = None,
    dtype: DType = Precision.FLOAT32,
) -> None:
    """Say what is in pictures: the highest classes with their probability, or score where the net has no softmax.

    Of a net with several outputs, or with maps of classes, each output is summed up.
    """
    from caffe2lrp.cli.predict import run

    options = ModelOptions(model, prototxt, weights, labels, input_shape, mean, channels, scale, resize, plugin or ())
    run(images, options, top, dtype, as_json=as_json)
