"""Bar plots: relevance by layer and by channel."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from caffe2lrp.errors import OptionError

if TYPE_CHECKING:
    from caffe2lrp.conservation import Account

FOR, AGAINST = "#c9302c", "#2161d9"


def channel_sums(relevance: np.ndarray) -> np.ndarray:
    """Relevance of each channel: (C, ...) to (C,), float64."""
    return np.asarray(relevance).reshape(len(relevance), -1).sum(axis=1, dtype=np.float64)


def strongest_channels(relevance: np.ndarray, count: int) -> list[int]:
    """The channels of (C, ...) with the largest sums, in magnitude; of equal ones the first."""
    return [int(c) for c in np.argsort(-np.abs(channel_sums(relevance)), kind="stable")[:count]]


def layer_bars(account: Account, title: str = "") -> Image.Image:
    """Relevance that reached the inputs of each linear layer, from the input up to the start.

    Of layers side by side it tells which branch has carried the decision; along a chain, where relevance was lost.

    Raises
    ------
    OptionError
        If the account has no linear layers.
    """
    entries = [entry for entry in reversed(account.entries) if entry.rule]
    return bars([entry.layer for entry in entries], [entry.below for entry in entries], title)


def channel_bars(relevance: np.ndarray, count: int = 20, title: str = "") -> Image.Image:
    """The channels of a blob (C, ...) with the largest relevance, in magnitude."""
    channels = strongest_channels(relevance, count)
    sums = channel_sums(relevance)
    return bars([f"channel {c}" for c in channels], [float(sums[c]) for c in channels], title)


def bars(names: Sequence[str], values: Sequence[float], title: str = "") -> Image.Image:
    """Draw horizontal bars, the first at the top: red to the right for positive, blue to the left for negative values.

    Parameters
    ----------
    names, values
        One name and one number for each bar.
    title
        Heading.

    Returns
    -------
    PIL.Image.Image
        Mode RGB.

    Raises
    ------
    OptionError
        If there is nothing to draw.
    """
    if not names or len(names) != len(values):
        raise OptionError(
            f"a bar plot needs one name for each value, and at least one; not {len(names)} and {len(values)}"
        )
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(7.0, 0.9 + 0.19 * len(names)), dpi=120, layout="constrained")
    axes = figure.add_subplot()
    places = np.arange(len(names))
    axes.barh(places, values, height=0.72, color=[FOR if value > 0 else AGAINST for value in values])
    axes.set_yticks(places, names, fontsize=7.5)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.axvline(0, color="#1c1c1c", linewidth=0.8)
    axes.set_xlabel("relevance", fontsize=8)
    axes.tick_params(axis="x", labelsize=7.5)
    axes.tick_params(axis="y", length=0)
    axes.grid(axis="x", color="#e4e4e4", linewidth=0.7)
    axes.set_axisbelow(True)
    axes.spines[["top", "right", "left"]].set_visible(False)
    if title:
        figure.suptitle(title, fontsize=10, x=0.01, ha="left")
    buffer = io.BytesIO()
    FigureCanvasAgg(figure).print_png(buffer)
    return Image.open(buffer).convert("RGB")
