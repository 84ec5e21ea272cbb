"""``caffe2lrp convert``."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import typer

from caffe2lrp.cli.comparison import check_report, departs, print_report, write_report
from caffe2lrp.cli.images import find_pictures
from caffe2lrp.cli.loading import check_files, open_network, source_files
from caffe2lrp.cli.options import ComparisonOptions, ConvertOptions, ModelOptions
from caffe2lrp.cli.terminal import FAILED, Bar, error, one_line, print_json
from caffe2lrp.converters.onnx import Exported, Report, export_onnx, verify
from caffe2lrp.converters.onnx.comparing import merged
from caffe2lrp.converters.onnx.export import DEFAULT_OPSET
from caffe2lrp.errors import ImageError, OptionError
from caffe2lrp.ir import Network


def run(
    files: Sequence[Path],
    options: ModelOptions,
    wanted: ConvertOptions,
    comparison: ComparisonOptions,
) -> None:
    """Convert, verify and tell."""
    if not wanted.verify and (wanted.images or comparison.report is not None):
        raise OptionError("--image and --report are for the proof, which --no-verify leaves out")
    check_report(comparison)
    options = _with_files(options, files)
    with Bar(1) as bar:
        bar.show("loading the network")
        network = open_network(options, pictures=wanted.with_preprocessing or bool(wanted.images))
        batches = _batches(network, wanted)
        bar.show("converting")
        exported = export_onnx(
            network,
            wanted.out,
            opset=DEFAULT_OPSET if wanted.opset is None else wanted.opset,
            batch=wanted.batch,
            with_preprocessing=wanted.with_preprocessing,
            simplify=wanted.simplify,
            fp16=wanted.fp16,
            sources=source_files(options),
        )
        bar.show("comparing with onnxruntime")
        report = _verified(network, wanted, comparison, batches) if wanted.verify else None
    _tell(network, exported, report, comparison)
    if report is not None and not report.passed:
        error(departs(report))
        raise typer.Exit(FAILED)


def _with_files(options: ModelOptions, files: Sequence[Path]) -> ModelOptions:
    """The reader tells definition and weights apart by content, so any order will do."""
    check_files(options, files)
    if not files:
        return options
    return dataclasses.replace(options, prototxt=files[0], weights=files[1] if len(files) > 1 else None)


def _batches(network: Network, wanted: ConvertOptions) -> list[np.ndarray]:
    """The pictures, each as a batch of its own: as the network sees them, or as its input blob."""
    pictures, failures = find_pictures(wanted.images)
    if failures:
        raise ImageError(failures[0].error)
    if not pictures:
        return []
    assert network.preprocessing is not None  # open_network sees to it
    prepared = [network.preprocessing.prepare(picture.path, network.input_shape) for picture in pictures]
    return [each.view[np.newaxis] if wanted.with_preprocessing else each.blob for each in prepared]


def _verified(
    network: Network, wanted: ConvertOptions, comparison: ComparisonOptions, batches: Sequence[np.ndarray]
) -> Report:
    options: dict[str, Any] = {"tolerance": comparison.tolerance, "seed": comparison.seed}
    reports = [verify(network, wanted.out, **options)]
    if batches:
        reports.append(verify(network, wanted.out, *batches, **options))
    return merged(reports)


def _tell(network: Network, exported: Exported, report: Report | None, comparison: ComparisonOptions) -> None:
    notes = [*network.notes, *exported.notes]
    if report is not None:
        write_report(report, comparison)
    if comparison.json:
        facts = {
            "files": [str(file) for file in exported.files],
            "opset": exported.opset,
            "batch": exported.batch,
            "notes": notes,
            "verification": None if report is None else report.to_dict(),
        }
        print_json(facts)
        return
    for file in exported.files:
        print(f"{file}  {file.stat().st_size / 1e6:.1f} MB")
    print(f"opset {exported.opset}, batch size {'open' if exported.batch is None else exported.batch}")
    for note in notes:
        print(f"note: {one_line(note)}")
    if report is None:
        print("not verified")
    else:
        print()
        print_report(report)
