"""Perturbation curves as a plot."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from caffe2lrp.errors import OptionError
from caffe2lrp.evaluation.study import CHANCE, ORDERS, Record
from caffe2lrp.evaluation.summary import mean_curve

_STYLES = {"morf": "-", "lerf": "--"}


def draw_curves(records: Sequence[Record], path: Path, title: str) -> None:
    """Write a PNG of the mean curves: the steeper the solid and the flatter the dashed line, the better the map.

    Parameters
    ----------
    records
        What was measured.
    path
        The file.
    title
        Heading.

    Raises
    ------
    OptionError
        If the file cannot be written.
    """
    from matplotlib import colormaps
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.2, 4.6), dpi=150, layout="constrained")
    axes = figure.add_subplot()
    colours = iter(colormaps["tab10"].colors * 3)  # type: ignore[attr-defined]
    for method in dict.fromkeys(record["method"] for record in records):
        colour = "#777777" if method == CHANCE else next(colours)
        for order in ORDERS:
            mean = mean_curve(records, method, order)
            if mean is None:
                continue
            style = ":" if method == CHANCE else _STYLES[order]
            name = "random order" if method == CHANCE else f"{method}, {'most' if order == 'morf' else 'least'} first"
            axes.plot(mean, style, color=colour, linewidth=1.4, label=name)
    axes.set_xlabel("regions replaced")
    axes.set_ylabel("change of the class score (mean over images)")
    axes.set_title(title, fontsize=10)
    axes.legend(fontsize=7, frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    axes.axhline(0, color="#bbbbbb", linewidth=0.6)
    try:
        FigureCanvasAgg(figure).print_png(path, metadata={"Software": None})
    except OSError as error:
        raise OptionError(f"cannot write '{path}': {error.strerror or error}") from None
