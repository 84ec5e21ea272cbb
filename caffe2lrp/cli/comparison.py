"""What ``convert`` and ``diff`` tell about a comparison."""

from __future__ import annotations

import json

from caffe2lrp.cli.options import ComparisonOptions
from caffe2lrp.cli.terminal import finite, print_table
from caffe2lrp.converters.onnx import Difference, Report
from caffe2lrp.errors import FileFormatError, OptionError

_LISTED = 5


def check_report(options: ComparisonOptions) -> None:
    """Refuse a report file that cannot be written before the work is done."""
    if options.report is not None and not options.report.absolute().parent.is_dir():
        raise OptionError(f"--report {options.report}: there is no such folder")


def write_report(report: Report, options: ComparisonOptions) -> None:
    """Write all numbers to the file that was asked for, if one was."""
    if options.report is None:
        return
    try:
        options.report.write_text(json.dumps(finite(report.to_dict()), indent=2) + "\n", encoding="utf-8")
    except OSError as error:
        raise FileFormatError(f"{options.report}: cannot write the file: {error.strerror or error}") from None


def print_report(report: Report) -> None:
    """The blobs that differ most, and the verdict."""
    rows = [_row(d) for d in report.worst[:_LISTED]]
    rows += [[*_row(d)[:3], f"{d.blob} (optimised)", d.origin] for d in report.optimised]
    print_table([">relative", ">absolute", ">largest value", "blob", "layer"], rows)
    count = len(report.differences)
    verdict = "all agree" if report.passed else f"the first that departs is '{_first(report).blob}'"
    print(f"\n{count} blob{'s' if count > 1 else ''} compared, {verdict} (tolerance {report.tolerance:g})")


def _row(d: Difference) -> list[str]:
    return [f"{d.relative:.1e}", f"{d.absolute:.1e}", f"{d.largest:.3g}", d.blob, d.origin]


def _first(report: Report) -> Difference:
    assert report.first is not None
    return report.first


def departs(report: Report) -> str:
    """Where to look: the first layer whose blob departs."""
    first = _first(report)
    return (
        f"blob '{first.blob}' of {first.origin or 'an unknown layer'} is the first that departs: "
        f"{first.relative:.1e} of its largest value, {report.tolerance:g} are allowed"
    )
