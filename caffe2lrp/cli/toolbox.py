"""``caffe2lrp toolbox`` and ``apply-heatmap``: the LRP Toolbox's demonstrators and its painting of their results."""

from __future__ import annotations

from collections import Counter
from enum import StrEnum
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from caffe2lrp.cli.arguments import OUTPUT, RUNNING, DType, Json, Threads
from caffe2lrp.cli.options import Precision
from caffe2lrp.cli.terminal import FAILED

if TYPE_CHECKING:
    from caffe2lrp.toolbox.demonstrator import Demonstrator, Outcome

TOOLBOX_EXAMPLES = """Examples:

caffe2lrp toolbox config.txt testfilelist.txt ./

caffe2lrp toolbox config.txt testfilelist.txt ./ --minimal --batch 10 --cmap black-firered
"""
APPLY_EXAMPLES = """Examples:

caffe2lrp apply-heatmap lrp_output/someimages/cat1.jpg_rawhm.txt seismic

caffe2lrp apply-heatmap cat1.jpg_rawhm.txt --mode overlay --image cat1.jpg_as_inputted_into_the_dnn.png --gamma 0.7
"""


class Mode(StrEnum):
    """How relevance and image are joined."""

    NORMAL = "normal"
    ALPHA = "alpha"
    OVERLAY = "overlay"


class Aggregate(StrEnum):
    """How channels are joined."""

    SUM = "sum"
    L2 = "l2"
    LINF = "linf"


def toolbox(
    config: Annotated[Path, typer.Argument(metavar="CONFIG", help="The Toolbox's config.txt.")],
    filelist: Annotated[
        Path,
        typer.Argument(
            metavar="FILELIST",
            help="An image and its class a line: -1 is the best class, -2 the best five together.",
        ),
    ],
    prefix: Annotated[str, typer.Argument(metavar="PREFIX", help="What stands before the paths of the list: ./")],
    minimal: Annotated[
        bool,
        typer.Option(
            "--minimal", rich_help_panel=OUTPUT, help="Write no pictures, as the variants with minimal output."
        ),
    ] = False,
    cmap: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            rich_help_panel=OUTPUT,
            help="Also paint the relevance, as apply-heatmap does. May be repeated.",
        ),
    ] = None,
    transposed_mean: Annotated[
        bool,
        typer.Option(
            "--transposed-mean",
            rich_help_panel=RUNNING,
            help="Transpose a binaryproto's mean, a defect of the Toolbox.",
        ),
    ] = False,
    batch: Annotated[
        int, typer.Option(min=1, metavar="N", rich_help_panel=RUNNING, help="So many images are explained at once.")
    ] = 4,
    as_json: Json = False,
    threads: Threads = None,
    dtype: DType = Precision.FLOAT32,
) -> None:
    """Do what the LRP Toolbox's lrp_demo does, and lrp_parallel_demo: same settings, same files.

    For each image of the list, IMAGE_rawhm.txt (relevance) and IMAGE_top10scores.txt are written, and the pictures
    IMAGE_as_inputted_into_the_dnn.png and IMAGE_heatmap.png, in the folders that standalone_outpath and
    standalone_rootpath name.
    """
    from caffe2lrp.cli.terminal import Bar, error, print_json, say
    from caffe2lrp.toolbox.config import read_config, read_filelist
    from caffe2lrp.toolbox.demonstrator import Demonstrator, Output
    from caffe2lrp.toolbox.pictures import find_cmap

    for name in cmap or ():
        find_cmap(name)
    settings = read_config(config)
    entries = read_filelist(filelist, prefix)
    for image, count in Counter(entry.image for entry in entries).items():
        if count > 1:
            say(f"'{image}' is listed {count} times: the last of its results remains")
    reports: list[dict[str, Any]] = []
    with Bar(len(entries)) as bar:
        bar.show("loading the network")
        demonstrator = Demonstrator(settings, transposed_mean=transposed_mean, dtype=dtype.value)
        for outcome in demonstrator.run(entries, Output(not minimal, cmap or ()), batch):
            bar.show(Path(outcome.entry.image).name)
            reports.append(_report(outcome, demonstrator))
            if outcome.result is not None and not as_json:
                with bar.aside():
                    _show(reports[-1])
            bar.step()
    if as_json:
        print_json({"options": settings.options, "images": reports})
    failures = [report["error"] for report in reports if "error" in report]
    for failure in failures:
        error(failure)
    if failures:
        raise typer.Exit(FAILED)


def _report(outcome: Outcome, demonstrator: Demonstrator) -> dict[str, Any]:
    report: dict[str, Any] = {"image": outcome.entry.image, "code": outcome.entry.code}
    result = outcome.result
    if result is None:
        return report | {"error": outcome.error}
    names = demonstrator.labels if len(demonstrator.labels) >= demonstrator.config.numclasses else None
    return report | {
        "classes": result.classes,
        "score": result.score,
        "relevance": float(result.relevance.sum(dtype="float64")),
        "scores": [{"index": i, "label": names[i] if names else None, "value": value} for i, value in result.scores],
        "files": outcome.files,
    }


def _show(report: dict[str, Any]) -> None:
    best = report["scores"][0]
    name = f" {best['label']}" if best["label"] else ""
    explained = "+".join(map(str, report["classes"]))
    print(f"{report['files']['rawhm']}: {best['value']:.4f} {best['index']}{name}, explained: {explained}")


def apply_heatmap(
    rawhm: Annotated[Path, typer.Argument(metavar="RAWHM", help="A _rawhm.txt file, or an array (npy).")],
    cmap: Annotated[
        str,
        typer.Argument(
            metavar="CMAP",
            help="gray-red, gray-red2, black-green, black-firered, blue-black-yellow, or a map of matplotlib.",
        ),
    ] = "black-firered",
    aggregate: Annotated[
        Aggregate, typer.Argument(metavar="AGGREGATE", help="Join channels by sum, l2 or linf.")
    ] = Aggregate.SUM,
    mode: Annotated[
        Mode,
        typer.Option(rich_help_panel=OUTPUT, help="The colours; the image, lit by relevance; or colours on the image."),
    ] = Mode.NORMAL,
    image: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", rich_help_panel=OUTPUT, help="For alpha and overlay: the image as the net saw it."
        ),
    ] = None,
    gamma: Annotated[
        float, typer.Option(rich_help_panel=OUTPUT, help="Exponent of the strength of relevance in alpha and overlay.")
    ] = 0.5,
    blur: Annotated[
        int, typer.Option(min=0, metavar="N", rich_help_panel=OUTPUT, help="Blur by a Gaussian of N pixels, N odd.")
    ] = 0,
    out: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", rich_help_panel=OUTPUT, help="File to write; else RAWHM_CMAP_heatmap.png, as the Toolbox."
        ),
    ] = None,
) -> None:
    """Paint relevance as the LRP Toolbox's apply_heatmap.py does, in its colour maps."""
    from caffe2lrp.pictures import save_png
    from caffe2lrp.preprocessing import read_image
    from caffe2lrp.toolbox import files, pictures
    from caffe2lrp.toolbox.demonstrator import painted_name

    joined = pictures.aggregate(files.read_rawhm(rawhm), aggregate.value)
    photo = None if image is None else read_image(image)
    picture = pictures.paint(joined, cmap, mode=mode.value, image=photo, gamma=gamma, blur=blur)
    print(save_png(picture, out or painted_name(str(rawhm), cmap)))
