"""A network as an SVG picture: a box for each layer, data flowing downwards."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from xml.sax.saxutils import escape

from caffe2lrp.diagram.layout import Item, Layout, layered
from caffe2lrp.errors import OptionError
from caffe2lrp.ir import Layer, Network
from caffe2lrp.saving import PathLike, check_target, replacing

LINE, CHARACTER, MARGIN = 14.0, 6.5, 6.0
"""Height of a line of text, width of a character (of a wide font), and room around text, in pixels."""
LONGEST = 34
"""Longer texts are cut in their middle; tooltips have the whole."""
PORT = 14.0
"""Pixels between arrows that end at one box."""

_FAMILIES = {
    "convolution": "#c6dbef",
    "inner_product": "#9ecae1",
    "activation": "#fee6a8",
    "pooling": "#c7e9c0",
    "lrn": "#dadaeb",
    "batch_norm": "#dadaeb",
    "affine": "#e7e0f2",
    "eltwise": "#fdd0a2",
    "join": "#fdd0a2",
    "reshape": "#ececec",
    "dropout": "#ececec",
    "softmax": "#fcbba1",
}
_INPUT, _OTHER = "#ffffff", "#e3d5c5"
_ATTACHED = frozenset({"activation", "batch_norm", "affine", "dropout"})
"""Families that are drawn right below the layer they belong to."""
_ILLEGAL = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True)
class _Row:
    """An input or a layer: one line of text, or two of which the first is its name."""

    colour: str
    tooltip: str
    lines: tuple[str, ...]

    @property
    def height(self) -> float:
        return len(self.lines) * LINE + MARGIN


_Box = list[_Row]
"""A layer and the layers that belong to it."""


def draw(network: Network, path: PathLike) -> Path:
    """Draw a network into an SVG file.

    Parameters
    ----------
    network
        The network.
    path
        File to write, ending in ``.svg``; an existing file is replaced.

    Raises
    ------
    OptionError
        If the name does not end in ``.svg``, or the network is too large to be drawn.
    FileFormatError
        If the file cannot be written.
    """
    if Path(path).suffix.lower() != ".svg":
        raise OptionError(f"'{path}': networks are drawn as SVG: let the name end in .svg")
    check_target(path)
    text = svg(network)
    with replacing(path) as draft:
        draft.write_text(text, encoding="utf-8")
    return Path(path)


def svg(network: Network) -> str:
    """The drawing of a network; the same network always gives the same text.

    A box shows a layer's name, type and output shape, and below it the activations and the like that only it feeds.
    Tooltips show all parameters.

    Raises
    ------
    OptionError
        If the network is too large to be drawn.
    """
    boxes, edges = _boxes(network)
    layout = layered([_size(box) for box in boxes], list(edges))
    lines = zip(layout.routes, _ports(layout), edges.values(), strict=True)
    parts = [_edge(route, port, blobs) for route, port, blobs in lines]
    parts += [_draw_box(box, item) for box, item in zip(boxes, layout.boxes, strict=True)]
    head = _HEAD.format(width=f"{layout.width:.0f}", height=f"{layout.height:.0f}", title=_text(network.name))
    return "\n".join([head, *parts, "</svg>\n"])


_HEAD = """<svg xmlns="http://www.w3.org/2000/svg" width="{width}" height="{height}" viewBox="0 0 {width} {height}" \
font-family="Helvetica, Arial, sans-serif" font-size="11">
<title>{title}</title>
<defs><marker id="arrow" viewBox="0 0 8 8" refX="8" refY="4" markerWidth="7" markerHeight="7" orient="auto">\
<path d="M0 0L8 4L0 8z" fill="#555"/></marker></defs>
<rect width="{width}" height="{height}" fill="#fff"/>"""


# -- from layers to boxes --------------------------------------------------------------------------


def _boxes(network: Network) -> tuple[list[_Box], dict[tuple[int, int], list[str]]]:
    """Boxes, and the blobs that lead from one to another."""
    boxes = [[_input_row(network, blob)] for blob in network.inputs]
    home = {blob: index for index, blob in enumerate(network.inputs)}  # the box that a blob comes from
    edges: dict[tuple[int, int], list[str]] = {}
    readers = network.consumers
    for layer in network.layers:
        if _is_attached(layer) and len(readers[layer.inputs[0]]) == 1 and home[layer.inputs[0]] >= len(network.inputs):
            home[layer.outputs[0]] = home[layer.inputs[0]]
            boxes[home[layer.outputs[0]]].append(_attached_row(layer))
            continue
        for blob in layer.inputs:
            text = f"{network.caffe_name(blob)} {_shape(network.shapes[blob])}"
            edges.setdefault((home[blob], len(boxes)), []).append(text)
        home.update(dict.fromkeys(layer.outputs, len(boxes)))
        boxes.append([_row(network, layer)])
    return boxes, edges


def _input_row(network: Network, blob: str) -> _Row:
    name = network.caffe_name(blob)
    return _Row(_INPUT, f"input {name}", (_short(name), f"input {_shape(network.inputs[blob])}"))


def _row(network: Network, layer: Layer) -> _Row:
    shapes = ", ".join(_shape(network.shapes[blob]) for blob in layer.outputs)
    lines = (_short(layer.name), _short(f"{_kind(layer)} → {shapes}"))
    return _Row(_colour(layer), f"{layer.name}: {layer.params}", lines)


def _attached_row(layer: Layer) -> _Row:
    return _Row(_colour(layer), f"{layer.name}: {layer.params}", (_short(f"{layer.type} {layer.name}"),))


def _is_attached(layer: Layer) -> bool:
    return _family(layer) in _ATTACHED and len(layer.inputs) == len(layer.outputs) == 1


def _family(layer: Layer) -> str:
    """The module of the layer type says what it is akin to."""
    return type(layer.params).__module__.rpartition(".")[2]


def _colour(layer: Layer) -> str:
    return _FAMILIES.get(_family(layer), _OTHER)


def _kind(layer: Layer) -> str:
    """Type, and the window where there is one: ``Convolution 7x7/2`` has stride 2."""
    kernel, stride = getattr(layer.params, "kernel", None), getattr(layer.params, "stride", (1, 1))
    if not kernel:
        return layer.type
    step = "" if set(stride) == {1} else f"/{_shape(stride) if len(set(stride)) > 1 else stride[0]}"
    return f"{layer.type} {_shape(kernel)}{step}"


def _shape(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape)) or "scalar"


def _short(text: str) -> str:
    return text if len(text) <= LONGEST else f"{text[: LONGEST // 2]}…{text[1 - LONGEST // 2 :]}"


# -- drawing ---------------------------------------------------------------------------------------


def _size(box: _Box) -> tuple[float, float]:
    longest = max(len(line) for row in box for line in row.lines)
    return longest * CHARACTER + 2 * MARGIN, sum(row.height for row in box)


def _draw_box(box: _Box, item: Item) -> str:
    left, y = item.x - item.width / 2, item.y
    parts = []
    for row in box:
        place = f'x="{left:.1f}" y="{y:.1f}" width="{item.width:.1f}" height="{row.height:.1f}"'
        parts.append(f'<g><title>{_text(row.tooltip)}</title><rect {place} fill="{row.colour}"/>')
        for number, line in enumerate(row.lines):
            weight = ' font-weight="bold"' if number < len(row.lines) - 1 else ""
            base = y + (number + 1) * LINE
            parts.append(f'<text x="{item.x:.1f}" y="{base:.1f}" text-anchor="middle"{weight}>{_text(line)}</text>')
        parts.append("</g>")
        y += row.height
    frame = f'x="{left:.1f}" y="{item.y:.1f}" width="{item.width:.1f}" height="{item.height:.1f}"'
    return "\n".join([*parts, f'<rect {frame} fill="none" stroke="#555"/>'])


def _ports(layout: Layout) -> list[float]:
    """Where on its box each edge ends: side by side in the order in which they arrive."""
    arriving: dict[int, list[int]] = {}
    for number, route in enumerate(layout.routes):
        arriving.setdefault(id(route[-1]), []).append(number)
    ports = [0.0] * len(layout.routes)
    for numbers in arriving.values():
        numbers.sort(key=lambda number: layout.routes[number][-2].x)
        end = layout.routes[numbers[0]][-1]
        step = min(PORT, end.width / len(numbers))
        for position, number in enumerate(numbers):
            ports[number] = end.x + (position - (len(numbers) - 1) / 2) * step
    return ports


def _edge(route: list[Item], port: float, blobs: Sequence[str]) -> str:
    x, y = route[0].x, route[0].y + route[0].height
    path = [f"M{x:.1f} {y:.1f}"]
    for item in route[1:]:
        end = port if item is route[-1] else item.x
        middle = (y + item.y) / 2
        path.append(f"C{x:.1f} {middle:.1f} {end:.1f} {middle:.1f} {end:.1f} {item.y:.1f}")
        if not item.is_box:
            path.append(f"V{item.y + item.height:.1f}")
        x, y = end, item.y + item.height
    line = f'<path d="{"".join(path)}" fill="none" stroke="#555" marker-end="url(#arrow)"/>'
    return f"<g><title>{_text(', '.join(blobs))}</title>{line}</g>"


def _text(text: str) -> str:
    """Text for XML; what XML has no character for becomes a question mark in a diamond."""
    return escape(_ILLEGAL.sub("\ufffd", text))
