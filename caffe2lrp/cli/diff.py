"""``caffe2lrp diff``."""

from __future__ import annotations

from pathlib import Path

import typer

from caffe2lrp.cli.comparison import check_report, departs, print_report, write_report
from caffe2lrp.cli.loading import load_plugins
from caffe2lrp.cli.options import ComparisonOptions, ModelOptions, parse_shape
from caffe2lrp.cli.terminal import FAILED, error, print_json
from caffe2lrp.converters import loading
from caffe2lrp.converters.onnx import OnnxBlobs, StoredBlobs, diff
from caffe2lrp.converters.onnx.files import is_onnx
from caffe2lrp.converters.onnx.verification import Side
from caffe2lrp.errors import OptionError


def run(first: str, second: str, slash: str, model: ModelOptions, options: ComparisonOptions) -> None:
    """Compare and tell."""
    check_report(options)
    load_plugins(model)
    sides = [_open(text, slash, model.input_shape) for text in (first, second)]
    report = diff(sides[0], sides[1], tolerance=options.tolerance, seed=options.seed)
    write_report(report, options)
    if options.json:
        print_json(report.to_dict())
    else:
        print_report(report)
        for side, names in zip((first, second), report.only, strict=True):
            if names:
                print(f"only in {side}: {len(names)}, such as {', '.join(names[:3])}")
    if not report.passed:
        error(departs(report))
        raise typer.Exit(FAILED)


def _open(text: str, slash: str, input_shape: str | None) -> Side:
    """A folder, an ONNX file, or one or two files of Caffe's."""
    if Path(text).is_dir():
        return StoredBlobs(text, slash)
    paths = [text] if Path(text).exists() else text.split(",")
    if len(paths) > 2:
        raise OptionError(f"'{text}': a Caffe net has at most two files, a definition and weights")
    if len(paths) == 1 and is_onnx(paths[0]):
        return OnnxBlobs(paths[0])
    return loading.load(*paths, input_shape=parse_shape(input_shape))
