"""Setting a sheet for print: PNG with 300 dots per inch, PDF with text as text, and JSON that says everything."""

from __future__ import annotations

import hashlib
import json
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

import caffe2lrp
from caffe2lrp.errors import OptionError
from caffe2lrp.figures.run import Photo, Sheet
from caffe2lrp.pictures import colormap, normalise

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

PERCENTILE = 99.5
_DPI = 300
_PANEL, _GAP, _MARGIN = 1.12, 0.06, 0.12  # inches
_NAMES = 1.15
_SMALL, _NORMAL = 6.0, 7.5  # points
_STYLE = {"font.family": "DejaVu Sans", "pdf.fonttype": 42, "pdf.compression": 6, "image.interpolation": "none"}


def write_figure(sheet: Sheet, stem: Path, facts: Mapping[str, Any], cmap: str) -> list[Path]:
    """Write a sheet as ``stem.png``, ``stem.pdf`` and ``stem.json``; the same sheet always gives the same bytes.

    Parameters
    ----------
    sheet
        The maps.
    stem
        Path without ending.
    facts
        What else the JSON file is to say, for example the hash of the weights.
    cmap
        Name of a colour map (`caffe2lrp.pictures.colormap`).

    Returns
    -------
    list of pathlib.Path
        The files.

    Raises
    ------
    OptionError
        If a file cannot be written.
    """
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.backends.backend_pdf import FigureCanvasPdf

    png, pdf, report = (stem.with_name(f"{stem.name}.{ending}") for ending in ("png", "pdf", "json"))
    with mpl.rc_context(_STYLE):
        figure = _figure(sheet, cmap)
        try:
            FigureCanvasAgg(figure).print_png(png, metadata={"Software": None})
            FigureCanvasPdf(figure).print_pdf(pdf, metadata={"CreationDate": None, "Producer": None, "Creator": None})
            report.write_text(
                json.dumps({**_settings(sheet, cmap), **facts}, indent=2, ensure_ascii=False) + "\n", "utf-8"
            )
        except OSError as error:
            raise OptionError(f"cannot write '{stem}': {error.strerror or error}") from None
    return [png, pdf, report]


def _figure(sheet: Sheet, cmap: str) -> Figure:
    from matplotlib.figure import Figure

    caption = textwrap.wrap(_caption(sheet), width=int(27 * (len(sheet.columns) + 2)))
    panel = _PANEL
    width = 2 * _MARGIN + _NAMES + (len(sheet.columns) + 1) * (panel + _GAP)
    head = 0.32 if any("\n" in column.title for column in sheet.columns) else 0.2
    foot = 0.32 + 0.115 * len(caption)
    height = head + len(sheet.photos) * (panel + _GAP) + foot
    figure = Figure(figsize=(width, height), dpi=_DPI)

    def axes(row: int, column: int) -> Axes:
        left = _MARGIN + _NAMES + column * (panel + _GAP)
        bottom = height - head - (row + 1) * panel - row * _GAP
        return figure.add_axes((left / width, bottom / height, panel / width, panel / height))

    for row, photo in enumerate(sheet.photos):
        first = axes(row, 0)
        _show(first, photo.view, "input" if row == 0 else "")
        _name(first, photo)
        for i, (column, values) in enumerate(zip(sheet.columns, photo.maps, strict=True), 1):
            coloured = colormap(cmap)(normalise(values, percentile=PERCENTILE))
            _show(axes(row, i), coloured, column.title if row == 0 else "")
    _colour_bar(figure, cmap, (width, height), foot)
    figure.text(
        _MARGIN / width, (foot - 0.3) / height, "\n".join(caption), fontsize=_SMALL, va="top", color="#404040",
        linespacing=1.25,
    )  # fmt: skip
    return figure


def _show(axes: Axes, picture: np.ndarray, title: str) -> None:
    axes.imshow(picture, interpolation="none")
    axes.set_xticks([])
    axes.set_yticks([])
    for spine in axes.spines.values():
        spine.set_linewidth(0.3)
        spine.set_color("#b0b0b0")
    if title:
        axes.set_title(title, fontsize=_NORMAL, pad=3)


def _name(axes: Axes, photo: Photo) -> None:
    """Class and score in the margin."""
    name = photo.label if photo.label is not None else f"class {photo.target}"
    lines = textwrap.wrap(name.split(",")[0], 17)[:3]
    small = [f"class {photo.target}", f"score {photo.score:.3g}"]
    if photo.probability is not None:
        small.append(f"probability {photo.probability:.2f}")
    axes.text(-0.06, 0.98, "\n".join(lines), transform=axes.transAxes, ha="right", va="top", fontsize=_NORMAL)
    offset = 0.98 - 0.12 * len(lines) - 0.04
    axes.text(
        -0.06, offset, "\n".join(small), transform=axes.transAxes, ha="right", va="top", fontsize=_SMALL,
        color="#606060", linespacing=1.25,
    )  # fmt: skip


def _colour_bar(figure: Figure, cmap: str, size: tuple[float, float], foot: float) -> None:
    colours = colormap(cmap)
    bar = (1.4, 0.07)
    left, bottom = size[0] - _MARGIN - bar[0] - 0.5, foot - 0.2
    axes = figure.add_axes((left / size[0], bottom / size[1], bar[0] / size[0], bar[1] / size[1]))
    low = -1 if colours.signed else 0
    axes.imshow(colours(np.linspace(low, 1, 256))[np.newaxis], aspect="auto", interpolation="none")
    axes.set_xticks([])
    axes.set_yticks([])
    for x, text, side in ((-0.03, "against" if colours.signed else "0", "right"), (1.03, "for the class", "left")):
        axes.text(x, 0.4, text, transform=axes.transAxes, ha=side, va="center", fontsize=_SMALL)


def _caption(sheet: Sheet) -> str:
    kinds = {
        "parameters": "Parameter study",
        "lrn": "Ways through the LRN layers",
        "methods": "Sensitivity, deconvolution, guided backpropagation and LRP",
    }
    preprocessing = sheet.network.preprocessing
    assert preprocessing is not None
    kind, n = preprocessing.resize
    settings = "; ".join(column.caption() for column in sheet.columns)
    how = {
        "clean": "the mathematics of the rules (caffe2lrp.explain)",
        "toolbox": "the numbers of the LRP Toolbox's Caffe code of 2016 (caffe2lrp.toolbox)",
    }[sheet.mode]
    name = sheet.network.name or "network"
    return (
        f"{kinds[sheet.name]}, {name}: {how}. alpha = 1 + beta. {settings}. Relevance starts at the class score below "
        f"the softmax and is summed over the colour channels; full colour is percentile {PERCENTILE:g} of each map. "
        f"Photos: {kind} side to {n or 'the input size'}, centre crop, {preprocessing.channels}."
    )


def _settings(sheet: Sheet, cmap: str) -> dict[str, Any]:
    preprocessing = sheet.network.preprocessing
    assert preprocessing is not None
    return {
        "sheet": sheet.name,
        "mode": sheet.mode,
        "network": sheet.network.name,
        "caffe2lrp": caffe2lrp.__version__,
        "preprocessing": preprocessing.to_dict("mean image"),
        "colour map": cmap,
        "percentile": PERCENTILE,
        "columns": [
            {"title": column.title.replace("\n", " "), "options": dict(column.options)} for column in sheet.columns
        ],
        "photos": [
            {
                "file": photo.path.name,
                "sha256": hashlib.sha256(photo.path.read_bytes()).hexdigest(),
                "class": photo.target,
                "label": photo.label,
                "score": photo.score,
                "probability": photo.probability,
            }
            for photo in sheet.photos
        ],
        "caption": _caption(sheet),
    }
