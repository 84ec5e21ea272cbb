"""Windows that slide over images, as convolution and pooling have them."""

from __future__ import annotations

from dataclasses import dataclass

from caffe2lrp.converters.from_onnx.node import Blob, Node, ReadError
from caffe2lrp.layers import Shape
from caffe2lrp.layers.pad import Pad

Pair = tuple[int, int]


@dataclass(frozen=True)
class Window:
    """Size and steps of a window, and the padding at the start and end of each axis: (vertical, horizontal)."""

    kernel: Pair
    stride: Pair
    dilation: Pair
    begin: Pair
    end: Pair

    @property
    def extent(self) -> Pair:
        """Size with the gaps of the dilation."""
        return tuple(d * (k - 1) + 1 for k, d in zip(self.kernel, self.dilation, strict=True))  # type: ignore[return-value]


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
    if len(shape) != 4:
        raise ReadError(f"its input has the shape {shape}; only images, (N, C, H, W), are supported")
    given = node.integers("kernel_shape")
    if given is not None and kernel is not None and given != kernel:
        raise ReadError(f"kernel_shape is {given}, but its weights are for {kernel}")
    size = _positive("kernel_shape", given or kernel)
    stride = _positive("strides", node.integers("strides") or (1, 1))
    dilation = _positive("dilations", node.integers("dilations") or (1, 1))
    window = Window(size, stride, dilation, (0, 0), (0, 0))
    begin, end = _padding(node, window, (shape[2], shape[3]))
    return Window(size, stride, dilation, begin, end)


def pad(node: Node, x: Blob, begin: Pair, end: Pair, value: float) -> Blob:
    """The blob with a border of its own."""
    return node.add(Pad((0, 0, *begin), (0, 0, *end), value), x, part="pad")


def _positive(name: str, values: tuple[int, ...] | None) -> Pair:
    if values is None:
        raise ReadError(f"{name} is missing")
    if len(values) != 2 or min(values) < 1:
        raise ReadError(f"{name} is {values}, but an image needs two numbers of at least 1")
    return values[0], values[1]


def _padding(node: Node, window: Window, image: Pair) -> tuple[Pair, Pair]:
    """Padding at the start and the end of both axes."""
    mode = node.text("auto_pad", "NOTSET")
    if mode in ("SAME_UPPER", "SAME_LOWER"):
        sizes = [
            max((-(-n // s) - 1) * s + extent - n, 0)
            for n, s, extent in zip(image, window.stride, window.extent, strict=True)
        ]
        less, more = (sizes[0] // 2, sizes[1] // 2), (sizes[0] - sizes[0] // 2, sizes[1] - sizes[1] // 2)
        return (less, more) if mode == "SAME_UPPER" else (more, less)
    if mode not in ("NOTSET", "VALID"):
        raise ReadError(f"auto_pad is {mode}, which ONNX does not have")
    pads = node.integers("pads")
    if mode == "VALID" or not pads:
        return (0, 0), (0, 0)
    if len(pads) != 4 or min(pads) < 0:
        raise ReadError(f"pads is {pads}, but an image needs four numbers of at least 0")
    return (pads[0], pads[1]), (pads[2], pads[3])
