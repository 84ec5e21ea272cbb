"""Region perturbation: how fast the score falls when the most relevant regions are replaced first.

Samek, Binder, Montavon, Lapuschkin, Mueller 2017, "Evaluating the visualization of what a deep neural network has
learned" (arXiv 1509.06321): regions of 9 x 9 pixels on a grid without overlap are ordered by their summed relevance;
one after the other is replaced, 100 in all, by uniform random values; the curve of the score of the class that was
explained is averaged over 10 draws. With regions of one pixel and the operator ``flip`` it is the pixel flipping of
Bach et al. 2015.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from caffe2lrp.errors import OptionError

if TYPE_CHECKING:
    from caffe2lrp.ir import Network

_TOGETHER = 16
"""Perturbed images that are run together: enough to fill the cores."""


@dataclass(frozen=True)
class Perturbation:
    """How images are perturbed.

    Attributes
    ----------
    region
        Side of a region in pixels. The grid begins at the upper left corner; what remains at the right and at the
        bottom is left alone.
    steps
        Number of regions that are replaced, L; fewer where the image has fewer.
    draws
        Number of random draws that are averaged; operators without chance need one.
    operator
        One of `OPERATORS`.
    seed
        Of the random values and of the random order.
    """

    region: int = 9
    steps: int = 100
    draws: int = 10
    operator: str = "uniform"
    seed: int = 0

    def __post_init__(self) -> None:
        if self.operator not in OPERATORS:
            raise OptionError(f"there is no operator '{self.operator}'; known are {', '.join(OPERATORS)}")
        for name in ("region", "steps", "draws"):
            if getattr(self, name) < 1:
                raise OptionError(f"{name} must be at least 1, not {getattr(self, name)}")


Bounds = tuple[np.ndarray, np.ndarray]
Operator = Callable[[np.ndarray, Bounds, np.random.Generator], np.ndarray]


def _uniform(x: np.ndarray, bounds: Bounds, rng: np.random.Generator) -> np.ndarray:
    """Each value uniformly between black and white."""
    low, high = bounds
    return low + (high - low) * rng.random(x.shape, x.dtype)


def _dirichlet(x: np.ndarray, bounds: Bounds, rng: np.random.Generator) -> np.ndarray:
    """Each pixel a random convex combination of four pixels of the image, with weights of the flat Dirichlet."""
    pixels = x.reshape(x.shape[0], -1)
    chosen = pixels[:, rng.integers(0, pixels.shape[1], (pixels.shape[1], 4))]
    weights = rng.dirichlet(np.ones(4), pixels.shape[1]).astype(x.dtype)
    return (chosen * weights).sum(axis=-1).reshape(x.shape)


def _constant(x: np.ndarray, bounds: Bounds, rng: np.random.Generator) -> np.ndarray:
    """The mean colour of the image."""
    return np.broadcast_to(x.mean(axis=(1, 2), keepdims=True), x.shape)


def _blur(x: np.ndarray, bounds: Bounds, rng: np.random.Generator) -> np.ndarray:
    """The image blurred by a Gaussian with a standard deviation of 3 pixels, cut off at 9; edges are repeated."""
    offsets = np.arange(-9, 10)
    weights = np.exp(-(offsets**2) / (2 * 3.0**2))
    weights = (weights / weights.sum()).astype(x.dtype)
    for axis in (1, 2):
        width = [(0, 0)] * 3
        width[axis] = (9, 9)
        padded = np.pad(x, width, mode="edge")
        size = x.shape[axis]
        x = sum(w * np.take(padded, np.arange(i, i + size), axis=axis) for i, w in enumerate(weights))  # type: ignore[assignment]
    return x


def _flip(x: np.ndarray, bounds: Bounds, rng: np.random.Generator) -> np.ndarray:
    """Black becomes white and white black."""
    return bounds[0] + bounds[1] - x


OPERATORS: dict[str, Operator] = {
    "uniform": _uniform,
    "dirichlet": _dirichlet,
    "constant": _constant,
    "blur": _blur,
    "flip": _flip,
}
"""What regions are replaced by: (image (C, H, W), bounds, random numbers) -> image."""
RANDOM = frozenset({"uniform", "dirichlet"})
"""Operators whose outcome depends on chance."""


def region_order(relevance: np.ndarray, region: int) -> np.ndarray:
    """Regions from the most to the least relevant.

    Parameters
    ----------
    relevance
        (C, H, W) or (H, W).
    region
        Side of a region.

    Returns
    -------
    numpy.ndarray
        Indices into the grid of (H // region, W // region) regions, row by row; of equal ones the first comes first.

    Raises
    ------
    OptionError
        If no region fits into the image.
    """
    values = relevance.sum(axis=0, dtype=np.float64) if relevance.ndim == 3 else relevance.astype(np.float64)
    rows, columns = grid(values.shape[0], values.shape[1], region)
    blocks = values[: rows * region, : columns * region].reshape(rows, region, columns, region)
    return np.argsort(-blocks.sum(axis=(1, 3)).reshape(-1), kind="stable")


def grid(height: int, width: int, region: int) -> tuple[int, int]:
    """Rows and columns of regions."""
    if min(height, width) < region:
        raise OptionError(f"regions of {region} pixels do not fit into an image of {height} x {width}")
    return height // region, width // region


def curve(
    network: Network,
    x: np.ndarray,
    target: int,
    order: np.ndarray | None,
    perturbation: Perturbation,
    bounds: Bounds,
    blob: str,
    step: Callable[[int], None] = lambda images: None,
) -> np.ndarray:
    """Scores along the way, for each draw.

    Parameters
    ----------
    network
        The network.
    x
        Input, (C, H, W).
    target
        Class whose score is looked at.
    order
        Regions in the order in which they are replaced, of which the first `perturbation.steps` count; None takes
        another random order for each draw.
    perturbation, bounds
        How; and what black and white are, (C, H, W) each.
    blob
        Blob of the scores.
    step
        Called with the number of images that have been run.

    Returns
    -------
    numpy.ndarray
        (draws, steps + 1), the first column being the score of `x` itself.
    """
    p = perturbation
    regions = int(np.prod(grid(x.shape[1], x.shape[2], p.region)))
    steps = min(p.steps, regions)
    draws = p.draws if order is None or p.operator in RANDOM else 1
    scores = np.empty((draws, steps + 1))
    for d in range(draws):
        rng = np.random.default_rng([p.seed, d])
        way = rng.permutation(regions) if order is None else order
        replaced = OPERATORS[p.operator](x, bounds, rng)
        for first, images in _chunks(x, replaced, way[:steps], p.region):
            out = network.forward(images, keep=[blob])[blob].reshape(len(images), -1)
            scores[d, first : first + len(images)] = out[:, target]
            step(len(images))
    return scores


def _chunks(x: np.ndarray, replaced: np.ndarray, way: np.ndarray, region: int) -> Iterator[tuple[int, np.ndarray]]:
    """The image itself and its perturbed copies, a few at a time, with the number of the first one."""
    columns = x.shape[2] // region
    image = x.copy()
    for first in range(0, len(way) + 1, _TOGETHER):
        images = np.empty((min(_TOGETHER, len(way) + 1 - first), *x.shape), x.dtype)
        for i in range(len(images)):
            if first + i > 0:
                top, left = (int(v) * region for v in divmod(way[first + i - 1], columns))
                part = (slice(None), slice(top, top + region), slice(left, left + region))
                image[part] = replaced[part]
            images[i] = image
        yield first, images


def aopc(scores: np.ndarray) -> float:
    """Area over the perturbation curve of one image: mean of f(x0) - f(xk) over k = 0..L (Samek et al. 2017).

    Parameters
    ----------
    scores
        (draws, steps + 1) of `curve`, or its mean (steps + 1,).
    """
    mean = np.asarray(scores, np.float64).reshape(-1, np.shape(scores)[-1]).mean(axis=0)
    return float((mean[0] - mean).mean())
