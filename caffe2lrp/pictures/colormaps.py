"""Colour maps: what colour a relevance in [-1, 1] gets.

Each map is a list of colours at positions, with straight lines between them; the formulas of the LRP Toolbox are such
lines too. Maps that begin at -1 show negative relevance; maps that begin at 0 show positive relevance only, and give
negative values the colour of zero.
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

from caffe2lrp.errors import OptionError

DEFAULT_COLORMAP = "blue-white-red"

_GREY = (0.8, 0.8, 0.8)
_BLACK, _WHITE = (0, 0, 0), (1, 1, 1)
_RED, _GREEN, _BLUE = (1, 0, 0), (0, 1, 0), (0, 0, 1)
_YELLOW, _CYAN = (1, 1, 0), (0, 1, 1)
_DIM = 0xD0 / 255

COLORMAPS: dict[str, tuple[tuple[float, tuple[float, float, float]], ...]] = {
    # Ours: zero is the paper; the ends are dark, so that the strongest values still differ.
    "blue-white-red": (
        (-1, (0.02, 0.15, 0.45)),
        (-0.6, (0.13, 0.38, 0.85)),
        (0, _WHITE),
        (0.6, (0.88, 0.16, 0.14)),
        (1, (0.45, 0.0, 0.05)),
    ),
    # LRP Toolbox
    "gray-red": ((-1, _BLUE), (0, _GREY), (1, _RED)),
    "gray-red2": ((0, (0.9, 0.9, 0.9)), (0.3, (0.9, 0.4, 0.4)), (1, (0.4, 0, 0))),
    "black-green": ((-1, _BLUE), (0, _BLACK), (1, _GREEN)),
    "black-firered": (
        (-1, _WHITE),
        (-0.5, _CYAN),
        (-0.25, _BLUE),
        (0, _BLACK),
        (0.25, _RED),
        (0.5, _YELLOW),
        (1, _WHITE),
    ),
    "blue-black-yellow": ((-1, _BLUE), (0, _BLACK), (1, _YELLOW)),
    # zennit
    "gray": ((0, _BLACK), (1, _WHITE)),
    "wred": ((0, _WHITE), (1, _RED)),
    "wblue": ((0, _WHITE), (1, _BLUE)),
    "hot": ((0, _BLACK), (1 / 3, _RED), (2 / 3, _YELLOW), (1, _WHITE)),
    "cold": ((0, _BLACK), (0.5, _BLUE), (1, _CYAN)),
    "coldnhot": ((-1, _CYAN), (-0.5, _BLUE), (0, _BLACK), (1 / 3, _RED), (2 / 3, _YELLOW), (1, _WHITE)),
    "bwr": ((-1, _BLUE), (0, _WHITE), (1, _RED)),
    "france": ((-1, (0, 0x55 / 255, 0xA4 / 255)), (0, _WHITE), (1, (0xEF / 255, 0x41 / 255, 0x35 / 255))),
    "seismic": ((-1, (0, 0, _DIM)), (0, (_DIM, _DIM, _DIM)), (1, (_DIM, 0, 0))),
    "coolio": ((-1, (0, _DIM, _DIM)), (0, (_DIM, _DIM, _DIM)), (1, (_DIM, 0, _DIM))),
    "coleus": ((-1, (0, _DIM, 0)), (0, (_DIM, _DIM, _DIM)), (1, (_DIM, 0, _DIM))),
}
"""Our own maps by name: (position, (red, green, blue)) with positions in [-1, 1] and colours in [0, 1]."""


@dataclass(frozen=True, eq=False)
class Colormap:
    """A function from relevance in [-1, 1] to colours.

    Attributes
    ----------
    name
        Name of the map.
    signed
        Whether negative values have colours of their own.
    """

    name: str
    signed: bool
    _colours: Callable[[np.ndarray], np.ndarray]

    def __call__(self, values: ArrayLike) -> np.ndarray:
        """Colours of `values`.

        Parameters
        ----------
        values
            Numbers of any shape; they are clipped to [-1, 1], and NaN gets the colour of zero.

        Returns
        -------
        numpy.ndarray
            uint8, the shape of `values` and one more axis of 3 (red, green, blue).
        """
        return to_bytes(self.fractions(values))

    def fractions(self, values: ArrayLike) -> np.ndarray:
        """Colours of `values` as float64 in [0, 1]; see the call."""
        x = np.nan_to_num(np.asarray(values, np.float64), nan=0.0, posinf=1.0, neginf=-1.0)
        return self._colours(np.clip(x, -1, 1))


def to_bytes(fractions: np.ndarray) -> np.ndarray:
    """Colours in [0, 1] as uint8: clipped, and truncated as the Toolbox and zennit do."""
    # The small term undoes 0.8 * 255 = 203.99999999999997.
    return (np.clip(fractions, 0, 1) * 255 + 1e-9).astype(np.uint8)


def matplotlib_names() -> list[str]:
    """The maps of matplotlib, by the names that `colormap` finds them by."""
    import matplotlib  # slow to import, and most pictures do without

    return sorted((f"matplotlib:{n}" if n in COLORMAPS else n for n in matplotlib.colormaps), key=str.casefold)


def colormap(name: str) -> Colormap:
    """Look a colour map up by name.

    Parameters
    ----------
    name
        One of `COLORMAPS`, or any name that matplotlib knows, whose maps are spread over [-1, 1] with zero in the
        middle. Where both have the name, "matplotlib:seismic" is matplotlib's.

    Raises
    ------
    OptionError
        If there is no such map; the message names those with similar names.
    """
    if name in COLORMAPS:
        nodes = COLORMAPS[name]
        positions = [position for position, _ in nodes]
        table = np.array([colour for _, colour in nodes], np.float64)

        def interpolate(x: np.ndarray) -> np.ndarray:
            return np.stack([np.interp(x, positions, table[:, c]) for c in range(3)], axis=-1)

        return Colormap(name, positions[0] < 0, interpolate)

    import matplotlib  # slow to import, and most pictures do without

    theirs = name.removeprefix("matplotlib:")
    if theirs not in matplotlib.colormaps:
        near = difflib.get_close_matches(name, [*COLORMAPS, *matplotlib.colormaps], 3)
        hint = f"did you mean {' or '.join(near)}? " if near else ""
        raise OptionError(
            f"unknown colour map '{name}'; {hint}possible: {', '.join(COLORMAPS)}, and the names of matplotlib"
        )
    lookup = matplotlib.colormaps[theirs]
    return Colormap(name, True, lambda x: np.asarray(lookup((x + 1) / 2))[..., :3])
