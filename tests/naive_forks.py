"""Naive twins of the layer types of Caffe's forks; a part of `tests.naive`, which says how they are called."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

Array = np.ndarray
Weights = Mapping[str, Array]


# -- values in another order ------------------------------------------------------------------------------


def permute(params: Any, weights: Weights, inputs: list[Array]) -> list[Array]:
    """Axis i of the output is axis order[i] of the input; axes that are not named keep their order behind."""
    rest = [axis for axis in range(inputs[0].ndim) if axis not in params.order]
    return [inputs[0].transpose([*params.order, *rest])]


def permute_back(params: Any, weights: Weights, inputs: list[Array], arriving: list[Array]) -> list[Array]:
    """Every value back to where it was: found by permuting the numbers of the places."""
    places = permute(params, weights, [np.arange(inputs[0].size).reshape(inputs[0].shape)])[0]
    out = np.zeros(inputs[0].size)
    out[places.ravel()] = arriving[0].ravel()
    return [out.reshape(inputs[0].shape)]


def shuffle(params: Any, weights: Weights, inputs: list[Array]) -> list[Array]:
    """Channel c of the output is channel (c mod group) * (C / group) + c // group of the input."""
    channels = inputs[0].shape[1]
    size = channels // params.group
    return [inputs[0][:, [c % params.group * size + c // params.group for c in range(channels)]]]


def shuffle_back(params: Any, weights: Weights, inputs: list[Array], arriving: list[Array]) -> list[Array]:
    """The inverse: channel (c mod group) * (C / group) + c // group gets what arrives at c."""
    size = inputs[0].shape[1] // params.group
    out = np.zeros(inputs[0].shape)
    for c in range(inputs[0].shape[1]):
        out[:, c % params.group * size + c // params.group] = arriving[0][:, c]
    return [out]


FORWARD: dict[str, Any] = {
    "Permute": permute,
    "ShuffleChannel": shuffle,
}
GRADIENT: dict[str, Any] = {
    "Permute": permute_back,
    "ShuffleChannel": shuffle_back,
}
RELEVANCE: dict[str, Any] = {
    "Permute": permute_back,
    "ShuffleChannel": shuffle_back,
}
