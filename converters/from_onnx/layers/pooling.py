"""MaxPool, AveragePool and their global forms.

Caffe's pooling pads both ends of an axis alike and rounds the number of windows up; ONNX pads each end by itself and
rounds down unless told otherwise. Where Caffe's rule gives the windows that ONNX wants, the node is one Pooling; else
the padding is a layer of its own. An average over a window that reaches beyond the image is divided by another number
than Caffe does: a Scale with one factor for each pixel makes up for that.
"""

from __future__ import annotations

from functools import reduce
from typing import Literal, cast

import numpy as np

from caffe2lrp.converters.from_onnx.node import Blob, Node, ReadError
from caffe2lrp.converters.from_onnx.registry import reads
from caffe2lrp.converters.from_onnx.windows import Sizes, Window, pad, read_window
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
    window = _window(node, x)
    size, none = _size(node, window, x), (window.none, window.none)
    border = (window.begin, window.end) if node.integer("count_include_pad", 0) else none
    wanted = _divisors(window, x, size, *border)
    params = _pooling(node, "AVE", window, x, size)
    if params is None:
        x, params = _padded(node, "AVE", window, x)
        divisors = np.full(size, float(np.prod(window.kernel)))
    else:
        sides = cast(Sizes, params.pad)
        divisors = _divisors(window, x, size, *(none if params.kernel is None else (sides, sides)))
    if np.array_equal(divisors, wanted):
        node.add(params, x)
        return
    mean = node.add(params, x, part="mean")
    node.add(Scale(axis=2, num_axes=len(size)), mean, weights={"scale": (divisors / wanted).astype(np.float32)})


# -- windows ---------------------------------------------------------------------------------------


def _window(node: Node, x: Blob) -> Window:
    window = read_window(node, x.shape, None)
    if any(d != 1 for d in window.dilation):
        raise ReadError(f"has windows with gaps, dilations {window.dilation}, which are not supported")
    for side in (window.begin, window.end):
        if any(p >= k for p, k in zip(side, window.kernel, strict=True)):
            raise ReadError(f"its padding {side} must be smaller than the window {window.kernel}")
    return window


def _size(node: Node, window: Window, x: Blob) -> Sizes:
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
    return cast(Sizes, tuple(sizes))


def _pooling(node: Node, method: Literal["MAX", "AVE"], window: Window, x: Blob, size: Sizes) -> Pooling | None:
    """A pooling with just these windows by Caffe's rule, if there is one."""
    for up in (True, False) if node.integer("ceil_mode", 0) else (False, True):
        params = Pooling(method, window.kernel, window.stride, window.begin, up)
        if params.output_shapes([x.shape])[0][2:] == size:
            return params
    whole = all(p + n <= k for n, k, p in zip(x.shape[2:], window.kernel, window.begin, strict=True))
    return Pooling(method, None) if whole and set(size) == {1} else None


def _padded(node: Node, method: Literal["MAX", "AVE"], window: Window, x: Blob) -> tuple[Blob, Pooling]:
    """The input with a border, so that all windows lie inside, and the pooling of that."""
    size = _size(node, window, x)
    reach = [(o - 1) * s + k for o, s, k in zip(size, window.stride, window.kernel, strict=True)]
    end = tuple(max(r - n - p, 0) for r, n, p in zip(reach, x.shape[2:], window.begin, strict=True))
    border = pad(node, x, window.begin, cast(Sizes, end), _LOWEST if method == "MAX" else 0.0)
    return border, Pooling(method, window.kernel, window.stride, window.none, ceil=False)


def _divisors(window: Window, x: Blob, size: Sizes, before: Sizes, after: Sizes) -> np.ndarray:
    """Number of values in each window as far as it lies in the image with a border, by place in the output."""
    counts = []
    sides = zip(x.shape[2:], window.kernel, window.stride, window.begin, size, before, after, strict=True)
    for n, k, s, p, o, b, a in sides:
        start = np.arange(o) * s - p
        counts.append(np.minimum(start + k, n + a) - np.maximum(start, -b))
    return reduce(np.multiply.outer, counts).astype(np.float64)
