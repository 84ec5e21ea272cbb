"""Pad with a constant, and Slice, which cuts off what it does not take."""

from __future__ import annotations

from caffe2lrp.converters.from_onnx.node import Blob, Node, ReadError
from caffe2lrp.converters.from_onnx.registry import reads
from caffe2lrp.layers.base import canonical_axis
from caffe2lrp.layers.pad import Pad


@reads("Pad")
def _pad(node: Node) -> None:
    x, mode = node.blob(), node.text("mode", "constant")
    widths = node.constant_integers("paddings" if node.opset < 2 else "pads", 1)
    axes = node.constant_integers("axes", 3) or tuple(range(len(x.shape)))
    value = float(node.constant(2).reshape(-1)[0]) if node.has(2) else node.number("value", 0.0)
    if widths is None or len(widths) != 2 * len(axes):
        raise ReadError(f"has the pads {widths} for {len(axes)} axes of an input of shape {x.shape}")
    if mode != "constant" and any(widths):
        raise ReadError(f"pads in mode {mode}; only constant is supported")
    before, after = [0] * len(x.shape), [0] * len(x.shape)
    for axis, first, last in zip(axes, widths, widths[len(axes) :], strict=False):
        place = canonical_axis(axis, x.shape)
        before[place], after[place] = first, last
    _add(node, before, after, value)


@reads("Slice")
def _slice(node: Node) -> None:
    shape = node.blob().shape
    starts, ends = node.constant_integers("starts", 1), node.constant_integers("ends", 2)
    axes = node.constant_integers("axes", 3) or tuple(range(len(starts or ())))
    steps = node.constant_integers("steps", 4) or (1,) * len(axes)
    if starts is None or ends is None or not len(starts) == len(ends) == len(axes) == len(steps):
        raise ReadError(
            f"has the starts {starts}, ends {ends}, axes {axes} and steps {steps}, which do not fit together"
        )
    if any(step != 1 for step in steps):
        raise ReadError(f"takes steps of {steps}; only 1 is supported")
    before, after = [0] * len(shape), [0] * len(shape)
    for axis, start, end in zip(axes, starts, ends, strict=True):
        place = canonical_axis(axis, shape)
        taken = range(shape[place])[start:end]
        if not taken:
            raise ReadError(f"takes nothing of a size of {shape[place]} with {start}:{end}")
        before[place], after[place] = -taken.start, taken.stop - shape[place]
    _add(node, before, after, 0.0)


def cut(x: Blob, axis: int, start: int, stop: int) -> Pad:
    """The layer that takes a part of an axis."""
    place = canonical_axis(axis, x.shape)
    before, after = [0] * len(x.shape), [0] * len(x.shape)
    before[place], after[place] = -start, stop - x.shape[place]
    return Pad(tuple(before), tuple(after))


def _add(node: Node, before: list[int], after: list[int], value: float) -> None:
    if any(before) or any(after):
        node.add(Pad(tuple(before), tuple(after), value), node.blob())
    else:
        node.give(node.blob())
