"""MaxPool, AveragePool and their global forms.

Caffe's pooling pads both ends of an axis alike and rounds the number of windows up; ONNX pads each end by itself and
rounds down unless told otherwise. Where Caffe's rule gives the windows that ONNX wants, the node is one Pooling; else
the padding is a layer of its own. An average over a window that reaches beyond the image is divided by another number
than Caffe does: a Scale with one factor for each pixel makes up for that.
"""

from __future__ import annotations

from typing import Literal

import numpy as np

from caffe2lrp.converters.from_onnx.node import Blob, Node, ReadError
from caffe2lrp.converters.from_onnx.registry import reads
from caffe2lrp.converters.from_onnx.windows import Pair, Window, pad, read_window
from caffe2lrp.layers.affine import Scale
from caffe2lrp.layers.pooling import Pooling

_LOWEST = -float(np.finfo(np.float32).max)  # padding never is the maximum


@reads("GlobalAveragePool")
def _global_average(node: Node) -> None:
    node.add(Pooling("AVE", None), node.blob())


@reads("GlobalMaxPool")
def _global_max(node: Node) -> None:
    node.add(Pooling("MAX", None), node.blob())


@reads("MaxPool")
def _max_pool(node: Node) -> None:
    if node.is_read(1):
        raise ReadError("gives the places of the maxima, too, which is not supported")
    x = node.blob()
    window = _window(node, x)
    params = _pooling(node, "MAX", window, x, _size(node, window, x))
    if params is None:
        x, params = _padded(node, "MAX", window, x)
    node.add(params, x)


@reads("AveragePool")
def _average_pool(node: Node) -> None:
    x = node.blob()
    window, padding_counts = _window(node, x), bool(node.integer("count_include_pad", 0))
    size = _size(node, window, x)
    wanted = _divisors(window, x, size, padding_counts)
    params = _pooling(node, "AVE", window, x, size)
    if params is None:
        border, params = _padded(node, "AVE", window, x)
        ours = np.full(size, float(window.kernel[0] * window.kernel[1]))
    else:
        border, ours = x, _caffe_divisors(params, x, size)
    if np.array_equal(ours, wanted):
        node.add(params, border)
        return
    mean = node.add(params, border, part="mean")
    node.add(Scale(axis=2, num_axes=2), mean, weights={"scale": (ours / wanted).astype(np.float32)})


# -- windows ---------------------------------------------------------------------------------------


def _window(node: Node, x: Blob) -> Window:
    window = read_window(node, x.shape, None)
    if window.dilation != (1, 1):
        raise ReadError(f"has windows with gaps, dilations {window.dilation}, which are not supported")
    for side in (window.begin, window.end):
        if any(p >= k for p, k in zip(side, window.kernel, strict=True)):
            raise ReadError(f"its padding {side} must be smaller than the window {window.kernel}")
    return window


def _size(node: Node, window: Window, x: Blob) -> Pair:
    """Output size by ONNX's rule: a window that would start in the padding behind the image is left out."""
    up = bool(node.integer("ceil_mode", 0))
    sizes = []
    for n, k, s, p, q in zip(x.shape[2:], window.kernel, window.stride, window.begin, window.end, strict=True):
        span = n + p + q - k
        size = (-(-span // s) if up else span // s) + 1
        if up and (size - 1) * s >= n + p:
            size -= 1
        if size < 1:
            raise ReadError(f"its window {window.kernel} is larger than its input {x.shape}")
        sizes.append(size)
    return sizes[0], sizes[1]


def _pooling(node: Node, method: Literal["MAX", "AVE"], window: Window, x: Blob, size: Pair) -> Pooling | None:
    """A pooling with just these windows by Caffe's rule, if there is one."""
    for up in (True, False) if node.integer("ceil_mode", 0) else (False, True):
        params = Pooling(method, window.kernel, window.stride, window.begin, up)
        if params.output_shapes([x.shape])[0][2:] == size:
            return params
    whole = all(p + n <= k for n, k, p in zip(x.shape[2:], window.kernel, window.begin, strict=True))
    return Pooling(method, None) if whole and size == (1, 1) else None


def _padded(node: Node, method: Literal["MAX", "AVE"], window: Window, x: Blob) -> tuple[Blob, Pooling]:
    """The input with a border, so that all windows lie inside, and the pooling of that."""
    size = _size(node, window, x)
    reach = [(o - 1) * s + k for o, s, k in zip(size, window.stride, window.kernel, strict=True)]
    end = [max(r - n - p, 0) for r, n, p in zip(reach, x.shape[2:], window.begin, strict=True)]
    border = pad(node, x, window.begin, (end[0], end[1]), _LOWEST if method == "MAX" else 0.0)
    return border, Pooling(method, window.kernel, window.stride, ceil=False)


# -- divisors of averages --------------------------------------------------------------------------


def _divisors(window: Window, x: Blob, size: Pair, padding_counts: bool) -> np.ndarray:
    """Number of values that each average is over, (height, width): pixels, and the padding if that counts."""
    begin, end = (window.begin, window.end) if padding_counts else ((0, 0), (0, 0))
    return _counts(window.kernel, window.stride, window.begin, x, size, begin, end)


def _caffe_divisors(params: Pooling, x: Blob, size: Pair) -> np.ndarray:
    """The same by Caffe's rule, where padding counts."""
    return _counts(params.window(x.shape), params.stride, params.pad, x, size, params.pad, params.pad)


def _counts(kernel: Pair, stride: Pair, offset: Pair, x: Blob, size: Pair, before: Pair, after: Pair) -> np.ndarray:
    """Size of each window as far as it lies in the image with a border."""
    axes = []
    for n, k, s, p, b, a, o in zip(x.shape[2:], kernel, stride, offset, before, after, size, strict=True):
        start = np.arange(o) * s - p
        axes.append(np.minimum(start + k, n + a) - np.maximum(start, -b))
    return np.multiply.outer(axes[0], axes[1]).astype(np.float64)
