"""``caffe2lrp diff`` as a user types it."""

from __future__ import annotations

from typing import Annotated

import typer

from caffe2lrp.cli.arguments import PROOF, InputShape, Json, Plugins, ReportFile, Seed, Threads, Tolerance
from caffe2lrp.cli.options import ComparisonOptions, ModelOptions

EXAMPLES = """Examples:

caffe2lrp diff deploy.prototxt,net.caffemodel net.onnx

caffe2lrp diff deploy.prototxt,net.caffemodel caffe-blobs/

caffe2lrp diff net.onnx caffe-blobs/ --slash __ --json
"""


def diff(
    first: Annotated[
        str, typer.Argument(metavar="A", help="Caffe files, joined by a comma, an ONNX file or a folder.")
    ],
    second: Annotated[str, typer.Argument(metavar="B", help="The same; A is the measure.")],
    slash: Annotated[
        str, typer.Option(metavar="TEXT", rich_help_panel=PROOF, help="What '/' of blob names is in names of files.")
    ] = "_",
    plugin: Plugins = None,
    input_shape: InputShape = None,
    tolerance: Tolerance = None,
    seed: Seed = 0,
    report: ReportFile = None,
    as_json: Json = False,
    threads: Threads = None,
) -> None:
    """Compare blob by blob any two of Caffe files, an ONNX file and a folder of stored blobs.

    A folder holds one .npy file for each blob, also the input blob (data.npy), for example as an old Caffe made them:
    for name, blob in net.blobs.items(): np.save(name.replace('/', '_'), blob.data). With a folder its input is run,
    else random ones. If a blob departs, its layer is named and the exit code is 2.
    """
    from caffe2lrp.cli.diff import run

    run(
        first,
        second,
        slash,
        ModelOptions(input_shape=input_shape, plugins=plugin or ()),
        ComparisonOptions(tolerance, seed, report, as_json),
    )
