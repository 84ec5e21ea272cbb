"""Inner blobs: their relevance, and their channels one by one."""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping, Sequence

import numpy as np

from caffe2lrp.errors import OptionError
from caffe2lrp.ir import Network
from caffe2lrp.layers.base import Shape


def find_blobs(given: Network, merged: Network, names: str | Sequence[str]) -> dict[str, str]:
    """Blobs by the names of blobs or layers that were given.

    Raises
    ------
    OptionError
        If there is no such blob, or its layer is merged with the affine one behind it.
    """
    blobs = {name: given.find_blob(name) for name in ([names] if isinstance(names, str) else names)}
    for blob in blobs.values():
        if blob not in merged.shapes:
            raise OptionError(f"blob '{blob}' has no relevance: its layer is merged with the one behind it")
    return blobs


def relevance_of(relevance: Mapping[str, np.ndarray], blob: str, start: str) -> np.ndarray:
    """A copy of a blob's relevance after a pass.

    Raises
    ------
    OptionError
        If the blob is not on the way from the start to an input.
    """
    if blob not in relevance:
        raise OptionError(
            f"no relevance passes through blob '{blob}': it is not on the way from '{start}' to the input"
        )
    return relevance[blob].copy()


def channel_list(channel: int | Sequence[int], blob: str, shape: Shape) -> list[int]:
    """Channels as a list, checked against the blob's shape (N, C, ...).

    Raises
    ------
    OptionError
        If the blob has no channels, or not these.
    """
    if len(shape) < 2:
        raise OptionError(f"blob '{blob}' of shape {tuple(shape)} has no channels")
    try:
        channels = [operator.index(c) for c in (channel if isinstance(channel, Sequence | np.ndarray) else [channel])]
    except TypeError:
        raise OptionError(f"a channel must be an index or a list of them, not {channel!r}") from None
    if not channels:
        raise OptionError(f"no channel of '{blob}' is given")
    for c in channels:
        if not 0 <= c < shape[1]:
            raise OptionError(f"channel {c} does not exist: '{blob}' has {shape[1]} channels (0 to {shape[1] - 1})")
    return channels


def flat_indices(channels: Sequence[int], shape: Shape) -> list[int]:
    """Indices of all values of these channels within one image of a blob (N, C, ...)."""
    size = math.prod(shape[2:])
    return [i for c in channels for i in range(c * size, (c + 1) * size)]


def only_channels(relevance: np.ndarray, channels: Sequence[int]) -> np.ndarray:
    """Relevance (N, C, ...) of these channels, and 0 in all others."""
    kept = np.zeros_like(relevance)
    kept[:, list(channels)] = relevance[:, list(channels)]
    return kept
