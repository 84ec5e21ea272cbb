"""Pooling: maximum or average over windows, with Caffe's rounding up; SPP: a pyramid of poolings."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Literal, Self

from caffe2lrp.layers.base import LayerParams, Shape, ShapeError, count, register
from caffe2lrp.layers.windows import Sizes, check_rank, fitted, spread

Method = Literal["MAX", "AVE", "STOCHASTIC"]


@register
@dataclass(frozen=True)
class Pooling(LayerParams):
    """Pooling over (N, C, H, W), and over (N, C, W) and (N, C, D, H, W), which some forks of Caffe have.

    Attributes
    ----------
    method
        ``"MAX"``, ``"AVE"`` or ``"STOCHASTIC"``. The last takes a value of the window by chance, in proportion to
        the values, when a network is trained; when it is run, it takes what is to be expected:
        sum of x^2 / sum of x, and 0 where that sum is not positive.
    kernel
        (vertical, horizontal), or one number for each axis behind the channels; None pools over the whole image
        (``global_pooling``).
    stride, pad
        Alike, in pixels. Two equal numbers will do for any number of axes.
    ceil
        Whether the output size is rounded up, as Caffe does; some forks round down on request.
    mask
        Whether there is a second output: where each maximum was, as a number of a pixel in row-major order (-1 where
        a window has no pixel).
    """

    type = "Pooling"

    method: Method
    kernel: Sizes | None
    stride: Sizes = (1, 1)
    pad: Sizes = (0, 0)
    ceil: bool = True
    mask: bool = False

    def __post_init__(self) -> None:
        if self.kernel is not None:
            spread(self, ("stride", "pad"), len(self.kernel))

    def for_inputs(self, inputs: list[Shape]) -> Self:
        return self if self.kernel is None else replace(self, kernel=fitted(self.kernel, len(inputs[0]) - 2))

    def window(self, shape: Shape) -> Sizes:
        """Window size for an input shape; the whole image for global pooling."""
        return self.kernel if self.kernel is not None else shape[2:]

    def on(self, shape: Shape) -> Pooling:
        """The same pooling with everything spelled out for an input shape: kernel, stride and pad of each axis."""
        return replace(self, kernel=self.window(shape))

    def output_shapes(self, inputs: list[Shape]) -> list[Shape]:
        (shape,) = inputs
        if not 3 <= len(shape) <= 5:
            raise ShapeError(
                f"pools images (N, C, H, W), or (N, C, W) and (N, C, D, H, W), but its input has the shape {shape}"
            )
        window, spelled = self.window(shape), self.on(shape)
        check_rank(spelled, ("kernel", "stride", "pad"), shape, len(shape) - 2)
        if any(p >= k for p, k in zip(spelled.pad, window, strict=True)):
            raise ShapeError(f"padding {spelled.pad} must be smaller than the window {window}")
        if self.method == "STOCHASTIC" and any(self.pad):
            raise ShapeError(f"STOCHASTIC pooling has no padding, but pad is {self.pad}")
        if self.mask and (self.method != "MAX" or len(shape) != 4):
            raise ShapeError(f"{self.method} pooling of {shape} has no mask; only MAX pooling of images has")
        out = (*shape[:2], *map(self._size, shape[2:], window, spelled.stride, spelled.pad))
        return [out] * (2 if self.mask else 1)

    def _size(self, size: int, k: int, s: int, p: int) -> int:
        span = size + 2 * p - k
        out = (-(-span // s) if self.ceil else span // s) + 1
        # Where any side is padded, Caffe drops a last window that starts beyond the image (pooling_layer.cpp).
        if any(self.pad) and (out - 1) * s >= size + p:
            out -= 1
        return out


@register
@dataclass(frozen=True)
class SPP(LayerParams):
    """Spatial pyramid pooling over (N, C, H, W): the image pooled into 1, 4, 16, ... bins, all in one row.

    Level i cuts height and width into 2^i bins, of the size and with the padding that Caffe chooses (spp_layer.cpp).
    The output is (N, bins), level by level; a pyramid of height 1 is plain pooling with an output (N, C, 1, 1).
    """

    type = "SPP"

    pyramid_height: int
    method: Method = "MAX"

    def levels(self, shape: Shape) -> list[Pooling]:
        """The pooling of each level."""
        return [self._level(2**i, shape[2:]) for i in range(self.pyramid_height)]

    def _level(self, bins: int, image: Sizes) -> Pooling:
        kernel = tuple(-(-size // bins) for size in image)
        pad = tuple((k * bins - size + 1) // 2 for k, size in zip(kernel, image, strict=True))
        return Pooling(self.method, kernel, kernel, pad)

    def level_shapes(self, shape: Shape) -> list[Shape]:
        """Output shape of each level, (N, C, bins, bins)."""
        return [pooling.output_shapes([shape])[0] for pooling in self.levels(shape)]

    def output_shapes(self, inputs: list[Shape]) -> list[Shape]:
        (shape,) = inputs
        if len(shape) != 4:
            raise ShapeError(f"pools images, but its input has the shape {shape} and not (N, C, H, W)")
        if not 1 <= self.pyramid_height <= min(shape[2:]).bit_length():
            raise ShapeError(f"cannot build a pyramid of height {self.pyramid_height} over an image of {shape[2:]}")
        shapes = self.level_shapes(shape)
        return shapes if len(shapes) == 1 else [(shape[0], sum(count(level, 1) for level in shapes))]
