"""``caffe2lrp figures`` as a user types it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from caffe2lrp.cli.arguments import (
    MODEL,
    OUTPUT,
    ChannelOrder,
    ColourMap,
    Json,
    Labels,
    Mean,
    Plugins,
    Prototxt,
    Resize,
    Scale,
    Threads,
    Weights,
)
from caffe2lrp.cli.options import Mode, ModelOptions, SheetName

EXAMPLES = """Examples:

caffe2lrp figures photos/

caffe2lrp figures photos/ --model bvlc_googlenet --as toolbox --sheet parameters

caffe2lrp figures photos/*.jpg --prototxt deploy.prototxt --weights net.caffemodel --out study
"""


def figures(
    images: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[PHOTO...]",
            help="Photo files, folders or patterns. Without any: the bundled digits.",
            show_default=False,
        ),
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            rich_help_panel=MODEL,
            help="A known model; may be repeated. Else the nets of the study, CaffeNet and GoogLeNet, trained on "
            "ImageNet and on Places, as far as they are at hand or can be fetched.",
        ),
    ] = None,
    prototxt: Prototxt = None,
    weights: Weights = None,
    labels: Labels = None,
    plugin: Plugins = None,
    mean: Mean = None,
    channels: ChannelOrder = None,
    scale: Scale = None,
    resize: Resize = None,
    mode: Annotated[
        Mode,
        typer.Option(
            "--as", help="The mathematics of the rules, or the numbers of the LRP Toolbox's Caffe code of 2016."
        ),
    ] = Mode.CLEAN,
    sheet: Annotated[
        list[SheetName] | None,
        typer.Option(help="What to compare; may be repeated. Else all that the net allows.", show_default=False),
    ] = None,
    out: Annotated[Path, typer.Option(metavar="DIR", rich_help_panel=OUTPUT, help="Folder to write to.")] = Path(
        "figures"
    ),
    cmap: ColourMap = "blue-white-red",
    download: Annotated[bool, typer.Option(rich_help_panel=MODEL, help="Fetch what is missing.")] = True,
    as_json: Json = False,
    threads: Threads = None,
) -> None:
    """Draw the parameter study of Binder et al. 2016 for print: photos x settings, for each net at hand.

    Three sheets are made of each net: 'parameters' (epsilon 0.01, 1, 100; beta 0, 1, 2), 'lrn' (ways through LRN
    layers) and 'methods' (sensitivity, deconvolution, guided backpropagation, LRP), each as PNG, PDF and JSON. The same
    command gives the same files.
    """
    from caffe2lrp.cli.figures import FigureOptions, run

    own = ModelOptions(None, prototxt, weights, labels, None, mean, channels, scale, resize, plugin or ())
    sheets = [s.value for s in sheet or SheetName]
    run(images or (), model or (), own, FigureOptions(mode.value, sheets, out, cmap, download, as_json))
