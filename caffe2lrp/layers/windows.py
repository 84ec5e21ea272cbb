"""Sizes of windows that slide over the axes of an image: one number for each axis."""

from __future__ import annotations

from typing import Any

from caffe2lrp.layers.base import Shape, ShapeError

Sizes = tuple[int, ...]
"""One number for each spatial axis: (horizontal,), (vertical, horizontal), (depth, vertical, horizontal), ..."""


def spread(params: Any, names: tuple[str, ...], rank: int) -> None:
    """Give equal sizes of frozen parameters, such as defaults, the length `rank`."""
    for name in names:
        sizes = getattr(params, name)
        if len(sizes) != rank and len(set(sizes)) == 1:
            object.__setattr__(params, name, sizes[:1] * rank)


def fitted(sizes: Sizes, rank: int) -> Sizes:
    """One number, which stands for all axes, as one for each of `rank` axes."""
    return sizes * rank if len(sizes) == 1 else sizes


def check_rank(params: Any, names: tuple[str, ...], shape: Shape, rank: int) -> None:
    """Raise `ShapeError` unless there is a size for each of the last `rank` axes of a shape."""
    for name in names:
        sizes = getattr(params, name)
        if len(sizes) != rank:
            raise ShapeError(
                f"its {name} {sizes} is for {len(sizes)} axes, but the input {shape} has {rank} behind its channels"
            )


def slid_size(size: int, kernel: int, stride: int, pad: int, dilation: int) -> int:
    """Number of places of a window that slides over `size` pixels."""
    return (size + 2 * pad - (dilation * (kernel - 1) + 1)) // stride + 1
