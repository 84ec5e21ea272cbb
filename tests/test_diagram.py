"""Drawings of networks: where boxes are, what they say, and that the picture is sound."""

from __future__ import annotations

import math
import re
import xml.etree.ElementTree as ET
from itertools import combinations, pairwise
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import caffe2lrp
from caffe2lrp.converters import caffe
from caffe2lrp.diagram import layout, svg
from caffe2lrp.diagram.layout import GAP, Layout, layered
from caffe2lrp.errors import FileFormatError, OptionError
from caffe2lrp.ir import Layer, Network
from caffe2lrp.layers import REGISTRY
from caffe2lrp.layers.activation import ReLU
from caffe2lrp.layers.eltwise import Eltwise
from caffe2lrp.layers.join import Slice
from tests.layer_cases import CASES, network_of

SVG = "{http://www.w3.org/2000/svg}"

# -- layout ----------------------------------------------------------------------------------------


@st.composite
def graphs(draw: st.DrawFn) -> tuple[list[tuple[float, float]], list[tuple[int, int]]]:
    n = draw(st.integers(1, 14))
    sizes = draw(
        st.lists(st.tuples(st.sampled_from([20.0, 50.0, 130.0]), st.sampled_from([10.0, 40.0])), min_size=n, max_size=n)
    )
    pairs = list(combinations(range(n), 2))
    return sizes, draw(st.lists(st.sampled_from(pairs), unique=True, max_size=25)) if pairs else []


def check(drawn: Layout, sizes: list[tuple[float, float]], edges: list[tuple[int, int]]) -> None:
    """No overlaps, everything inside, and every edge goes down from box to box, one rank at a time."""
    for box, size in zip(drawn.boxes, sizes, strict=True):
        assert (box.width, box.height) == size
    items = {id(item): item for route in drawn.routes for item in route} | {id(box): box for box in drawn.boxes}
    for item in items.values():
        assert item.x - item.width / 2 > 0
        assert item.x + item.width / 2 < drawn.width
        assert item.y > 0
        assert item.y + item.height < drawn.height
    for a, b in combinations(items.values(), 2):
        if a.rank == b.rank:
            assert abs(a.x - b.x) >= (a.width + b.width) / 2 + GAP - 1e-6
            assert a.y == b.y
        else:
            upper, lower = (a, b) if a.rank < b.rank else (b, a)
            assert upper.y + upper.height < lower.y
    reached: dict[int, list[int]] = {}  # items that the edges of a box go through
    for (start, end), route in zip(edges, drawn.routes, strict=True):
        assert id(route[0]) in reached.setdefault(start, [id(drawn.boxes[start])])
        reached[start] += map(id, route[1:-1])
        assert route[-1] is drawn.boxes[end]
        assert [b.rank - a.rank for a, b in pairwise(route)] == [1] * (len(route) - 1)
        assert not any(item.is_box for item in route[1:-1])


@settings(max_examples=200, deadline=None, derandomize=True)
@given(graph=graphs())
def test_any_graph(graph: tuple[list[tuple[float, float]], list[tuple[int, int]]]) -> None:
    check(layered(*graph), *graph)


def crossings(drawn: Layout) -> int:
    """Pairs of lines between the same ranks that cross."""
    steps = {(id(a), id(b)): (a, b) for route in drawn.routes for a, b in pairwise(route)}.values()
    return sum((a.x - c.x) * (b.x - d.x) < 0 for (a, b), (c, d) in combinations(steps, 2) if a.rank == c.rank)


def test_a_chain_is_straight() -> None:
    drawn = layered([(50.0, 10.0), (80.0, 10.0), (20.0, 10.0)], [(0, 1), (1, 2)])
    assert len({box.x for box in drawn.boxes}) == 1


def test_branches_do_not_cross_though_their_order_is_mixed() -> None:
    # Three branches of two boxes; the second boxes come in another order.
    edges = [(0, 1), (0, 2), (0, 3), (3, 4), (1, 5), (2, 6), (4, 7), (5, 7), (6, 7)]
    drawn = layered([(40.0, 10.0)] * 8, edges)
    assert crossings(drawn) == 0
    for start, end in [(3, 4), (1, 5), (2, 6)]:
        assert math.isclose(drawn.boxes[start].x, drawn.boxes[end].x)


def test_a_shortcut_passes_beside_what_it_skips() -> None:
    drawn = layered([(40.0, 10.0)] * 4, [(0, 1), (1, 2), (2, 3), (0, 3)])
    assert len(drawn.routes[-1]) == 4
    check(drawn, [(40.0, 10.0)] * 4, [(0, 1), (1, 2), (2, 3), (0, 3)])


def test_edges_of_one_start_go_together() -> None:
    sizes, edges = [(40.0, 10.0)] * 5, [(0, 1), (1, 2), (2, 3), (3, 4), (0, 3), (0, 4), (0, 2)]
    drawn = layered(sizes, edges)
    check(drawn, sizes, edges)
    assert sum(not item.is_box for route in drawn.routes for item in route[1:]) == 3  # and not 2 + 3 + 1


def test_a_late_input_stands_above_its_reader() -> None:
    drawn = layered([(40.0, 10.0)] * 5, [(0, 2), (2, 3), (3, 4), (1, 4)])
    assert drawn.boxes[1].rank == 2


def test_spread_is_the_least_squares_solution() -> None:
    rank = [layout.Item(width, 1.0) for width in (10.0, 30.0, 20.0, 10.0)]
    wanted = [50.0, 10.0, 20.0, 300.0]
    layout._spread(rank, wanted)
    distances = np.array([0, 20 + GAP, 45 + GAP * 2])  # the first three touch
    best = np.mean(np.array(wanted[:3]) - distances)
    np.testing.assert_allclose([item.x for item in rank], [*(best + distances), 300.0])


def test_too_large(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(layout, "LARGEST", 100)
    n = 30
    with pytest.raises(OptionError, match="too large to be drawn"):
        layered([(1.0, 1.0)] * n, [(i, i + 1) for i in range(n - 1)] + [(i, n - 1) for i in range(n - 2)])
    with pytest.raises(OptionError, match="too large to be drawn"):
        layered([(1.0, 1.0)] * 101, [])


# -- picture ---------------------------------------------------------------------------------------


def texts(picture: str) -> list[str]:
    return [element.text or "" for element in ET.fromstring(picture).iter(f"{SVG}text")]


def titles(picture: str) -> list[str]:
    return [element.text or "" for element in ET.fromstring(picture).iter(f"{SVG}title")]


def test_every_layer_is_in_the_picture(shared: Path) -> None:
    network = caffe.load_definition(shared / "models/bvlc_googlenet/deploy.prototxt")
    picture = svg(network)
    shown = texts(picture)
    for layer in network.layers:
        assert any(layer.name in text for text in shown), layer.name
    assert "Convolution 7x7/2 → 10x64x112x112" in shown
    assert "ReLU conv1/relu_7x7" in shown
    assert sum("inception_3a/output 10x256x28x28" in title for title in titles(picture)) == 4  # one tooltip an arrow
    assert "conv1/7x7_s2: Convolution num_output=64 kernel=7 stride=2 pad=3" in titles(picture)
    assert svg(network) == picture


@pytest.mark.parametrize("name", sorted(REGISTRY))
@settings(max_examples=5, deadline=None, derandomize=True)
@given(data=st.data())
def test_every_layer_type(name: str, data: st.DataObject) -> None:
    network = network_of(data.draw(CASES[name]))
    assert any(re.search(rf"\b{name}\b", text) for text in texts(svg(network)))


def test_only_what_feeds_nothing_else_is_attached() -> None:
    layers = [
        Layer("in", ReLU(), ("x",), ("a",)),  # not to an input
        Layer("sum", Eltwise(), ("a", "a"), ("b",)),
        Layer("relu", ReLU(), ("b",), ("c",)),
        Layer("again", ReLU(), ("c",), ("d",)),
        Layer("left", ReLU(), ("d",), ("e",)),
        Layer("right", Slice(2), ("d",), ("f", "g")),
    ]
    picture = ET.fromstring(svg(Network("n", {"x": (2, 4)}, layers)))
    bold = [e.text for e in picture.iter(f"{SVG}text") if e.get("font-weight")]
    assert bold == ["x", "in", "sum", "left", "right"]
    assert len(list(picture.iter(f"{SVG}path"))) == 1 + 4  # the arrow head; x-in, in-sum, sum-left, sum-right
    assert "Slice → 2x2, 2x2" in texts(svg(Network("n", {"x": (2, 4)}, layers)))


def test_odd_names(tmp_path: Path) -> None:
    name = 'a<b>&"c"\x01\ud800' + "z" * 100
    network = Network(name, {name: (1,)}, [Layer(name, ReLU(), (name,), (name + "y",))], blob_names={})
    caffe2lrp.draw(network, tmp_path / "x.svg")
    root = ET.fromstring((tmp_path / "x.svg").read_text())
    label = next(e.text for e in root.iter(f"{SVG}text"))
    assert label is not None
    assert label.startswith('a<b>&"c"\ufffd\ufffdzz')
    assert "…" in label
    assert len(label) < 40


def test_draw_refuses(tmp_path: Path) -> None:
    network = Network("n", {"x": (1,)}, [Layer("r", ReLU(), ("x",), ("y",))])
    with pytest.raises(OptionError, match=r"end in \.svg"):
        caffe2lrp.draw(network, tmp_path / "deploy.prototxt")
    with pytest.raises(FileFormatError, match="there is no folder"):
        caffe2lrp.draw(network, tmp_path / "no" / "x.svg")
    assert caffe2lrp.draw(network, tmp_path / "x.svg") == tmp_path / "x.svg"
    assert caffe2lrp.draw(network, tmp_path / "x.svg").read_text().startswith("<svg")
