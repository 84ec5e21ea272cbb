"""Upsample and Interp: larger images."""

from __future__ import annotations

from dataclasses import dataclass

from caffe2lrp.layers.base import LayerParams, Shape, ShapeError, register


@register
@dataclass(frozen=True)
class Upsample(LayerParams):
    """Larger images, by the places that a pooling layer took its maxima from (SegNet), or by repeating pixels.

    With a second input, the mask of a Pooling layer, each value goes to the pixel that its mask names, as a number in
    row-major order; other pixels are 0, of several values for one pixel the last counts, and places outside of the
    image are passed over. With one input each pixel is repeated (the nearest neighbour; YOLO's forks).

    Attributes
    ----------
    scale
        Factors (vertical, horizontal) of the size.
    size
        Size (height, width) of the output in place of `scale`, for masks only.
    cut
        Pixels (vertical, horizontal) that the output is smaller, for masks only (``pad_out_h``, ``pad_out_w``).
    """

    type = "Upsample"
    input_count = (1, 2)
    selectors = (1,)

    scale: tuple[int, int] = (2, 2)
    size: tuple[int, int] | None = None
    cut: tuple[int, int] = (0, 0)

    def output_shapes(self, inputs: list[Shape]) -> list[Shape]:
        shape = inputs[0]
        if len(shape) != 4:
            raise ShapeError(f"upsamples images, but its input has the shape {shape} and not (N, C, H, W)")
        if len(inputs) == 2 and inputs[1] != shape:
            raise ShapeError(f"its mask {inputs[1]} has another shape than the input {shape}")
        if len(inputs) == 1 and (self.size or any(self.cut)):
            raise ShapeError("an output size or padding is for upsampling by a mask, but there is no second input")
        if self.size is not None:
            return [(*shape[:2], *self.size)]
        height, width = (n * s - c for n, s, c in zip(shape[2:], self.scale, self.cut, strict=True))
        return [(*shape[:2], height, width)]


@register
@dataclass(frozen=True)
class Interp(LayerParams):
    """Bilinear interpolation whose corners are those of the input (DeepLab, PSPNet).

    Attributes
    ----------
    size
        Size (height, width) of the output, or None where the factors say it.
    shrink, zoom
        The input's n pixels are first thinned out to (n - 1) // shrink + 1, then spread to n + (n - 1) (zoom - 1).
    crop
        Pixels cut off at the (beginning, end) of rows and columns before (``-pad_beg``, ``-pad_end``).
    """

    type = "Interp"

    size: tuple[int, int] | None = None
    shrink: int = 1
    zoom: int = 1
    crop: tuple[int, int] = (0, 0)

    def cropped(self, shape: Shape) -> tuple[int, int]:
        """Height and width of the part of the input that is interpolated."""
        height, width = (n - sum(self.crop) for n in shape[2:])
        return height, width

    def output_shapes(self, inputs: list[Shape]) -> list[Shape]:
        (shape,) = inputs
        if len(shape) != 4:
            raise ShapeError(f"interpolates images, but its input has the shape {shape} and not (N, C, H, W)")
        cropped = self.cropped(shape)
        if min(cropped) < 1:
            raise ShapeError(f"nothing is left of an input {shape} when {self.crop} pixels are cut off its edges")
        return [(*shape[:2], *(self.size or tuple(map(self._size, cropped))))]

    def _size(self, size: int) -> int:
        size = (size - 1) // self.shrink + 1
        return size + (size - 1) * (self.zoom - 1)
