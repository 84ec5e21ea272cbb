"""Windows that slide over images, as convolution and pooling have them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import cast

from caffe2lrp.converters.from_onnx.node import Blob, Node, ReadError
from caffe2lrp.layers import Shape
from caffe2lrp.layers.pad import Pad

Sizes = tuple[int, int]
"""(vertical, horizontal). There are as many numbers as an image has axes, which are two but for odd networks."""


@dataclass(frozen=True)
class Window:
    """Size and steps of a window, and the padding at the start and end of each axis."""

    kernel: Sizes
    stride: Sizes
    dilation: Sizes
    begin: Sizes
    end: Sizes

    @property
    def none(self) -> Sizes:
        """No padding."""
        return cast(Sizes, (0,) * len(self.kernel))


def read_window(node: Node, shape: Shape, kernel: Shape | None) -> Window:
    """The window of a node.

    Parameters
    ----------
    node
        A convolution or pooling.
    shape
        Shape of its input.
    kernel
        Size of the window, if `kernel_shape` need not say it.

    Raises
    ------
    ReadError
        If the input is no image, or if attributes cannot be used.
    """
    image = shape[2:]
    if not image:
        raise ReadError(f"its input has the shape {shape}, which is no image, (N, C, H, W)")
    given = node.integers("kernel_shape")
    if given is not None and kernel is not None and given != kernel:
        raise ReadError(f"kernel_shape is {given}, but its weights are for {kernel}")
    size = _positive("kernel_shape", given or kernel, image)
    stride = _positive("strides", node.integers("strides") or (1,) * len(image), image)
    dilation = _positive("dilations", node.integers("dilations") or (1,) * len(image), image)
    extent = tuple(d * (k - 1) + 1 for k, d in zip(size, dilation, strict=True))
    return Window(size, stride, dilation, *_padding(node, image, stride, extent))


def pad(node: Node, x: Blob, begin: Sizes, end: Sizes, value: float) -> Blob:
    """The blob with a border of its own."""
    return node.add(Pad((0, 0, *begin), (0, 0, *end), value), x, part="pad")


def _positive(name: str, values: Shape | None, image: Shape) -> Sizes:
    if values is None:
        raise ReadError(f"{name} is missing")
    if len(values) != len(image) or min(values) < 1:
        raise ReadError(f"{name} is {values}, but an image of {image} needs {len(image)} number(s) of at least 1")
    return cast(Sizes, values)


def _padding(node: Node, image: Shape, stride: Sizes, extent: Shape) -> tuple[Sizes, Sizes]:
    """Padding at the start and the end of all axes; `extent` is the size of the window with its gaps."""
    none = cast(Sizes, (0,) * len(image))
    mode = node.text("auto_pad", "NOTSET")
    if mode in ("SAME_UPPER", "SAME_LOWER"):
        whole = [max((-(-n // s) - 1) * s + k - n, 0) for n, s, k in zip(image, stride, extent, strict=True)]
        less, more = tuple(n // 2 for n in whole), tuple(n - n // 2 for n in whole)
        return cast(tuple[Sizes, Sizes], (less, more) if mode == "SAME_UPPER" else (more, less))
    if mode not in ("NOTSET", "VALID"):
        raise ReadError(f"auto_pad is {mode}, which ONNX does not have")
    pads = node.integers("pads")
    if mode == "VALID" or not pads:
        return none, none
    if len(pads) != 2 * len(image) or min(pads) < 0:
        raise ReadError(f"pads is {pads}, but an image of {image} needs {2 * len(image)} numbers of at least 0")
    return cast(Sizes, pads[: len(image)]), cast(Sizes, pads[len(image) :])
