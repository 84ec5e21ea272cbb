"""``caffe2lrp convert`` as a user types it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from caffe2lrp.cli.arguments import (
    OUTPUT,
    PROOF,
    ChannelOrder,
    Files,
    InputShape,
    Json,
    Labels,
    Mean,
    Model,
    Plugins,
    Prototxt,
    ReportFile,
    Resize,
    Scale,
    Seed,
    Threads,
    Tolerance,
    Weights,
)
from caffe2lrp.cli.options import ComparisonOptions, ConvertOptions, ModelOptions

EXAMPLES = """Examples:

caffe2lrp convert deploy.prototxt net.caffemodel -o net.onnx

caffe2lrp convert --model bvlc_googlenet -o googlenet.onnx --with-preprocessing --image cat.jpg

caffe2lrp convert deploy.prototxt net.caffemodel -o net.onnx --simplify --batch 1 --report proof.json
"""


def convert(
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", rich_help_panel=OUTPUT, help="The ONNX file.")],
    files: Files = None,
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
    opset: Annotated[
        int | None,
        typer.Option(metavar="N", show_default=False, rich_help_panel=OUTPUT, help="ONNX opset, from 13 on; else 20."),
    ] = None,
    batch: Annotated[
        int | None, typer.Option(min=1, metavar="N", rich_help_panel=OUTPUT, help="A fixed batch size; else any.")
    ] = None,
    with_preprocessing: Annotated[
        bool,
        typer.Option(
            "--with-preprocessing",
            rich_help_panel=OUTPUT,
            help="Begin with RGB images, uint8, (N, H, W, 3), of the input's size: channel order, mean and scale are "
            "done by the model.",
        ),
    ] = False,
    simplify: Annotated[
        bool,
        typer.Option(
            "--simplify",
            rich_help_panel=OUTPUT,
            help="Merge BatchNorm, Scale and Bias into linear layers, and leave out what does nothing.",
        ),
    ] = False,
    fp16: Annotated[
        bool, typer.Option("--fp16", rich_help_panel=OUTPUT, help="Half precision; inputs and outputs stay float32.")
    ] = False,
    verify: Annotated[
        bool, typer.Option(rich_help_panel=PROOF, help="Compare all blobs with onnxruntime's, on the same inputs.")
    ] = True,
    image: Annotated[
        list[str] | None,
        typer.Option(
            metavar="IMAGE",
            rich_help_panel=PROOF,
            help="Picture, folder or pattern to compare with, beside random inputs. May be repeated.",
        ),
    ] = None,
    tolerance: Tolerance = None,
    seed: Seed = 0,
    report: ReportFile = None,
    as_json: Json = False,
    threads: Threads = None,
) -> None:
    """Convert a net to ONNX, and prove that the result computes the same.

    The file is valid by onnx's full check, and every blob has the size that Caffe gives it. Then onnxruntime and this
    program run the same inputs, and all blobs are compared; if one departs, its layer is named and the exit code is 2.
    """
    from caffe2lrp.cli.convert import run

    run(
        files or (),
        ModelOptions(model, prototxt, weights, labels, input_shape, mean, channels, scale, resize, plugin or ()),
        ConvertOptions(out, opset, batch, with_preprocessing, simplify, fp16, verify, image or ()),
        ComparisonOptions(tolerance, seed, report, as_json),
    )
