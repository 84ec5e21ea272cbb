"""Pad with a constant, and Slice, which cuts off what it does not take."""

from __future__ import annotations

from collections.abc import Mapping

from caffe2lrp.converters.from_onnx.node import Node, ReadError
from caffe2lrp.converters.from_onnx.registry import reads
from caffe2lrp.layers import Shape
from caffe2lrp.layers.base import canonical_axis
from caffe2lrp.layers.pad import Pad


@reads("Pad")
def _pad(node: Node) -> None:
    x, mode = node.blob(), node.text("mode", "constant")
    widths = node.constant_integers("paddings" if node.opset < 2 else "pads", 1)
    axes = node.constant_integers("axes", 3) or tuple(range(len(x.shape)))
    value = node.constant_number("value", 2, 0.0)
    if widths is None or len(widths) != 2 * len(axes):
        raise ReadError(f"has the pads {widths} for {len(axes)} axes of an input of shape {x.shape}")
    if mode != "constant" and any(widths):
        raise ReadError(f"pads in mode {mode}; only constant is supported")
    before, after = [0] * len(x.shape), [0] * len(x.shape)
    for axis, first, last in zip(axes, widths, widths[len(axes) :], strict=False):
        place = canonical_axis(axis, x.shape)
        before[place], after[place] = first, last
    _add(node, Pad(tuple(before), tuple(after), value))


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
    _add(node, cut(shape, {axis: slice(*bounds) for axis, *bounds in zip(axes, starts, ends, strict=True)}))


def cut(shape: Shape, parts: Mapping[int, slice]) -> Pad:
    """The layer that takes a part of some axes.

    Raises
    ------
    ReadError
        If nothing is left.
    """
    before, after = [0] * len(shape), [0] * len(shape)
    for axis, part in parts.items():
        place = canonical_axis(axis, shape)
        taken = range(shape[place])[part]
        if not taken:
            raise ReadError(f"takes nothing of a size of {shape[place]}, {part.start}:{part.stop}")
        before[place], after[place] = -taken.start, taken.stop - shape[place]
    return Pad(tuple(before), tuple(after))


def _add(node: Node, params: Pad) -> None:
    if any(params.before) or any(params.after):
        node.add(params, node.blob())
    else:
        node.give(node.blob())
