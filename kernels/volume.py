"""Convolution over more than two axes, and its transpose: images of many frames, made of the convolution of images.

The last two axes are images, those before them are frames. The frames that a place of the output sees are
laid side by side as channels of one image; then all is a convolution of images.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from caffe2lrp.kernels import activation, affine, convolution, eltwise
from caffe2lrp.kernels.gemm import STORE, STORE_RELU, STORE_TIMES
from caffe2lrp.kernels.launch import Program
from caffe2lrp.kernels.planes import Source
from caffe2lrp.kernels.selection import Selection, Sizes, window_index


@dataclass(frozen=True)
class SlidingVolume:
    """As `convolution.Sliding`, for shapes (N, C, frames ..., H, W) and one number for each axis behind C."""

    source: Sizes
    target: Sizes
    kernel: Sizes
    stride: Sizes
    pad: Sizes
    dilation: Sizes
    group: int

    @property
    def taps(self) -> int:
        """Cells of the kernel over the frames."""
        return math.prod(self.kernel[:-2])

    @property
    def frames(self) -> int:
        """Frames of the target."""
        return math.prod(self.target[2:-2])

    def images(self) -> convolution.Sliding:
        """The convolution of the images: frames of the target are images of their own, taps are channels."""
        return convolution.Sliding(
            source=(self.source[0] * self.frames, self.source[1] * self.taps, self.source[-2], self.source[-1]),
            target=(self.source[0] * self.frames, self.target[1], self.target[-2], self.target[-1]),
            kernel=_last(self.kernel), stride=_last(self.stride), pad=_last(self.pad), dilation=_last(self.dilation),
            group=self.group,
        )  # fmt: skip

    def seen_frames(self) -> Selection:
        """Of (channel, frame) of the source, what (frame, channel, tap) sees in the target."""
        sizes = self.source[2:-2]
        seen = window_index(
            sizes, self.target[2:-2], self.kernel[:-2], self.stride[:-2], self.pad[:-2], self.dilation[:-2]
        )
        channel = np.arange(self.source[1])[:, None] * math.prod(sizes)
        index = np.where(seen[:, None] < 0, -1, channel + seen[:, None])  # (frames, channels, taps)
        return Selection.of(index.reshape(-1), self.source[1] * math.prod(sizes))

    def frames_last(self) -> Selection:
        """(frame, channel) of the images made to (channel, frame) of the target."""
        index = np.arange(self.frames * self.target[1]).reshape(self.frames, self.target[1]).T
        return Selection.of(index.reshape(-1), index.size)

    def weight(self, weight: np.ndarray) -> np.ndarray:
        """Weights (group, M / group, C / group, cells) as those of the images: taps are channels."""
        return weight.reshape(*weight.shape[:2], weight.shape[2] * self.taps, -1)


def _last(sizes: Sizes) -> tuple[int, int]:
    return sizes[-2], sizes[-1]


def add_forward(
    program: Program, sliding: SlidingVolume, weight: np.ndarray, bias: np.ndarray | None, x: Source, y: np.ndarray,
    factor: np.ndarray, mode: int, label: str,
) -> None:  # fmt: skip
    """Append y = weight * x + bias (or times `factor`, by `mode`)."""
    images = sliding.images()
    x = x if isinstance(x, np.ndarray) else x.add_array(program, label)
    seen, made = np.empty(images.source, x.dtype), np.empty(images.target, x.dtype)
    sliding.seen_frames().add(program, x, seen, label, x.shape[-2] * x.shape[-1])
    first_mode = STORE if mode == STORE_TIMES else mode
    convolution.add_forward(program, images, sliding.weight(weight), bias, seen, made, made, first_mode, label)
    sliding.frames_last().add(program, made, y, label, y.shape[-2] * y.shape[-1])
    if mode == STORE_TIMES:
        program.add(eltwise.times, y.reshape(-1), factor.reshape(-1), y.reshape(-1), label=label)


def add_transposed(
    program: Program, sliding: SlidingVolume, weight: np.ndarray, bias: np.ndarray | None, s: Source, c: np.ndarray,
    factor: np.ndarray, mode: int, label: str,
) -> None:  # fmt: skip
    """Append the transposed product c = weight^T * s + bias (or times `factor`, by `mode`)."""
    images = sliding.images()
    s = s if isinstance(s, np.ndarray) else s.add_array(program, label)
    given, made = np.empty(images.target, s.dtype), np.empty(images.source, s.dtype)
    sliding.frames_last().transposed().add(program, s, given, label, s.shape[-2] * s.shape[-1])
    convolution.add_transposed(program, images, sliding.weight(weight), None, given, made, made, STORE, label)
    sliding.seen_frames().transposed().add(program, made, c, label, c.shape[-2] * c.shape[-1])
    flat = c.reshape(-1)
    if bias is not None:
        planes = c.reshape(*c.shape[:2], -1)
        program.add(affine.affine, planes, np.ones_like(bias), bias, planes, label=label)
    if mode == STORE_RELU:
        program.add(activation.relu, flat, flat, 0.0, label=label)
    elif mode == STORE_TIMES:
        program.add(eltwise.times, flat, factor.reshape(-1), flat, label=label)
