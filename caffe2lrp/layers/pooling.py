"""Pooling: maximum or average over windows, with Caffe's rounding up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from caffe2lrp.layers.base import LayerParams, Shape, ShapeError, register


@register
@dataclass(frozen=True)
class Pooling(LayerParams):
    """2-D pooling over (N, C, H, W).

    Attributes
    ----------
    method
        ``"MAX"`` or ``"AVE"``.
    kernel
        (vertical, horizontal); None pools over the whole image (``global_pooling``).
    stride, pad
        (vertical, horizontal), in pixels.
    ceil
        Whether the output size is rounded up, as Caffe does; some forks round down on request.
    mask
        Whether there is a second output: where each maximum was, as a number of a pixel in row-major order (-1 where
        a window has no pixel).
    """

    type = "Pooling"

    method: Literal["MAX", "AVE"]
    kernel: tuple[int, int] | None
    stride: tuple[int, int] = (1, 1)
    pad: tuple[int, int] = (0, 0)
    ceil: bool = True
    mask: bool = False

    def window(self, shape: Shape) -> tuple[int, int]:
        """Window size for an input shape; the whole image for global pooling."""
        return self.kernel if self.kernel is not None else (shape[2], shape[3])

    def output_shapes(self, inputs: list[Shape]) -> list[Shape]:
        (shape,) = inputs
        if len(shape) != 4:
            raise ShapeError(f"pools images, but its input has the shape {shape} and not (N, C, H, W)")
        window = self.window(shape)
        if any(p >= k for p, k in zip(self.pad, window, strict=True)):
            raise ShapeError(f"padding {self.pad} must be smaller than the window {window}")
        spatial = tuple(map(self._size, shape[2:], window, self.stride, self.pad))
        if self.mask and self.method != "MAX":
            raise ShapeError(f"{self.method} pooling has no mask; only MAX pooling has")
        return [(*shape[:2], *spatial)] * (2 if self.mask else 1)

    def _size(self, size: int, k: int, s: int, p: int) -> int:
        span = size + 2 * p - k
        out = (-(-span // s) if self.ceil else span // s) + 1
        # Caffe drops a last window that would start inside the padding (pooling_layer.cpp).
        if p and (out - 1) * s >= size + p:
            out -= 1
        return out
