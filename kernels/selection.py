"""Picking places of a blob and putting them back: a matrix of zeros and ones, in compressed rows."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from caffe2lrp.kernels.launch import F3, I1, Int, Program, kernel
from caffe2lrp.kernels.share import share

Sizes = tuple[int, ...]


@dataclass(frozen=True)
class Selection:
    """Which places of a source add up to each place of a destination.

    Attributes
    ----------
    starts
        (places of the destination + 1,): where the sources of each place begin in `sources`.
    sources
        Places of the source, one destination after the other.
    size
        Number of places of the source.
    """

    starts: np.ndarray
    sources: np.ndarray
    size: int

    @classmethod
    def of(cls, index: np.ndarray, size: int) -> Selection:
        """Each place of the destination is the sum of the places index[place] of the source but the negative ones.

        One place of the source for each one of the destination may be given without the last axis.
        """
        index = index.reshape(len(index), -1)
        starts = np.concatenate([[0], np.cumsum((index >= 0).sum(axis=1))])
        return cls(starts, np.ascontiguousarray(index[index >= 0], np.int64), size)

    def transposed(self) -> Selection:
        """The way back: every place of the source gets the sum of what was made of it."""
        places = len(self.starts) - 1
        of = np.repeat(np.arange(places), np.diff(self.starts))
        order = np.argsort(self.sources, kind="stable")
        starts = np.searchsorted(self.sources[order], np.arange(self.size + 1))
        return Selection(starts, of[order], places)

    def add(self, program: Program, src: np.ndarray, dst: np.ndarray, label: str, inner: int = 1) -> None:
        """Append dst = selection * src; both are seen as (outer, places, inner)."""
        program.add(
            select, src.reshape(-1, self.size, inner), self.starts, self.sources,
            dst.reshape(-1, len(self.starts) - 1, inner), label=label,
        )  # fmt: skip


def window_index(
    sizes: Sizes, out: Sizes, kernel: Sizes, stride: Sizes, pad: Sizes, dilation: Sizes | None = None
) -> np.ndarray:
    """Places of an array of `sizes` that a sliding window meets: (outputs, cells of the kernel), -1 outside."""
    rank = len(sizes)
    index = np.zeros((*out, *kernel), np.int64)
    outside = np.zeros((*out, *kernel), np.bool_)
    for axis in range(rank):
        step = 1 if dilation is None else dilation[axis]
        place = np.arange(out[axis])[:, None] * stride[axis] - pad[axis] + np.arange(kernel[axis]) * step
        shape = [1] * (2 * rank)
        shape[axis], shape[rank + axis] = place.shape
        place = place.reshape(shape)
        index = index * sizes[axis] + place
        outside |= (place < 0) | (place >= sizes[axis])
    return np.where(outside, -1, index).reshape(math.prod(out), math.prod(kernel))


@kernel
def select(part: Int, parts: Int, src: F3, starts: I1, sources: I1, dst: F3) -> None:
    """dst[o, j] = sum of src[o, k] over the sources k of place j, for arrays (outer, places, inner)."""
    start, stop = share(dst.shape[0] * dst.shape[1], part, parts)
    zero = src.dtype.type(0)
    for unit in range(start, stop):
        o, j = unit // dst.shape[1], unit % dst.shape[1]
        first, last = starts[j], starts[j + 1]
        if first == last:
            for i in range(dst.shape[2]):
                dst[o, j, i] = zero
            continue
        for i in range(dst.shape[2]):
            dst[o, j, i] = src[o, sources[first], i]
        for k in range(first + 1, last):
            for i in range(dst.shape[2]):
                dst[o, j, i] += src[o, sources[k], i]
