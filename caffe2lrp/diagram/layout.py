"""Layered drawing of a directed graph without cycles (Sugiyama, Tagawa and Toda 1981).

Every box stands below all boxes that it follows; edges that pass other ranks get a slot of their own in each. Ranks are
put in an order with few crossings, and each rank is moved as close to its neighbours as the boxes in it allow.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise

from caffe2lrp.errors import OptionError

GAP, RANK_GAP, SLOT = 18.0, 34.0, 6.0
"""Pixels between neighbours, between ranks, and the width of an edge that passes a rank."""
ORDERINGS, MOVES = 8, 12
"""How often the ranks are gone through, down and up; the last time is downwards, so that chains hang straight."""
LARGEST = 50_000
"""Boxes and slots of the largest drawing."""


@dataclass(eq=False)
class Item:
    """A box, or a slot of an edge that passes a rank."""

    width: float
    height: float
    rank: int = 0
    x: float = 0.0
    y: float = 0.0
    above: list[Item] = field(default_factory=list)
    below: list[Item] = field(default_factory=list)
    is_box: bool = True


@dataclass(frozen=True)
class Layout:
    """Where everything is: `x` is a centre, `y` an upper edge, in pixels.

    Attributes
    ----------
    boxes
        The boxes, in the order of their sizes.
    routes
        For each edge the items from its start to its end; or from the slot where it leaves an edge of the same start.
    width, height
        Size of the drawing.
    """

    boxes: list[Item]
    routes: list[list[Item]]
    width: float
    height: float


def layered(sizes: Sequence[tuple[float, float]], edges: Sequence[tuple[int, int]]) -> Layout:
    """Place boxes.

    Parameters
    ----------
    sizes
        Width and height of each box.
    edges
        Pairs of indices (from, to), where from is less than to.

    Raises
    ------
    OptionError
        If the graph is too large to be drawn.
    """
    _check_count(len(sizes))
    boxes = [Item(*size) for size in sizes]
    _rank(boxes, edges)
    ranks: list[list[Item]] = [[] for _ in range(1 + max((box.rank for box in boxes), default=0))]
    for box in boxes:
        ranks[box.rank].append(box)
    routes = _route(boxes, edges, ranks)
    _order(ranks)
    _place(ranks)
    return Layout(boxes, routes, *_move_to_origin(ranks))


def _rank(boxes: list[Item], edges: Sequence[tuple[int, int]]) -> None:
    """As high as possible, but what nothing leads to directly above what it leads to."""
    for start, end in sorted(edges):
        boxes[end].rank = max(boxes[end].rank, boxes[start].rank + 1)
    nearest: dict[int, int] = {}
    for start, end in edges:
        nearest[start] = min(nearest.get(start, boxes[end].rank), boxes[end].rank)
    for start in nearest.keys() - {end for _, end in edges}:
        boxes[start].rank = nearest[start] - 1


def _route(boxes: list[Item], edges: Sequence[tuple[int, int]], ranks: list[list[Item]]) -> list[list[Item]]:
    """Slots for edges over several ranks; the edges of one start share them, and branch off where they part."""
    chains: dict[int, list[Item]] = {}
    routes, count = [], len(boxes)
    for start, end in edges:
        chain = chains.setdefault(start, [boxes[start]])
        route = [chain[min(len(chain), boxes[end].rank - boxes[start].rank) - 1]]
        for rank in range(route[0].rank + 1, boxes[end].rank):
            count += 1
            _check_count(count)
            slot = Item(SLOT, 0.0, rank, is_box=False)
            ranks[rank].append(slot)
            _join(route[-1], slot)
            chain.append(slot)
            route.append(slot)
        _join(route[-1], boxes[end])
        routes.append([*route, boxes[end]])
    return routes


def _check_count(count: int) -> None:
    if count > LARGEST:
        raise OptionError(f"the network is too large to be drawn: more than {LARGEST} boxes and passing lines")


def _join(upper: Item, lower: Item) -> None:
    upper.below.append(lower)
    lower.above.append(upper)


def _order(ranks: list[list[Item]]) -> None:
    """Sort each rank by the mean position of its neighbours, downwards and upwards in turn."""
    for turn in range(ORDERINGS):
        down = turn % 2 == 0
        for rank in ranks if down else reversed(ranks):
            rank.sort(key=lambda item: _mean(item.above if down else item.below, item.x))
            for position, item in enumerate(rank):
                item.x = position - len(rank) / 2  # so that ranks of different length are compared by their middle


def _mean(items: list[Item], otherwise: float) -> float:
    return sum(item.x for item in items) / len(items) if items else otherwise


def _place(ranks: list[list[Item]]) -> None:
    """Move each rank towards its neighbours, upwards and downwards in turn, so that what is in a row stays in a row."""
    for turn in range(MOVES):
        up = turn % 2 == 0
        for rank in reversed(ranks) if up else ranks:
            _spread(rank, [_mean(item.below if up else item.above, item.x) for item in rank])


def _spread(rank: list[Item], wanted: list[float]) -> None:
    """Move a rank to the wanted places as well as possible (least squares) without overlaps.

    With the least distances taken off, places have to rise: that is isotonic regression, by pooling neighbours that
    are in each other's way.
    """
    offsets = [0.0]
    pools: list[tuple[float, int]] = []  # (place, number of items)
    for left, right in pairwise(rank):
        offsets.append(offsets[-1] + (left.width + right.width) / 2 + GAP)
    for place, offset in zip(wanted, offsets, strict=True):
        pool = (place - offset, 1)
        while pools and pools[-1][0] > pool[0]:
            (a, n), (b, m) = pools.pop(), pool
            pool = ((a * n + b * m) / (n + m), n + m)
        pools.append(pool)
    places = [place for place, count in pools for _ in range(count)]
    for item, place, offset in zip(rank, places, offsets, strict=True):
        item.x = place + offset


def _move_to_origin(ranks: list[list[Item]]) -> tuple[float, float]:
    """Give every rank its height, and make all coordinates positive; returns width and height of the drawing."""
    items = [item for rank in ranks for item in rank]
    left = min((item.x - item.width / 2 for item in items), default=0.0) - GAP
    y = GAP
    for rank in ranks:
        height = max((item.height for item in rank), default=0.0)
        for item in rank:
            item.x, item.y = item.x - left, y
            if not item.is_box:
                item.height = height
        y += height + RANK_GAP
    return max((item.x + item.width / 2 for item in items), default=0.0) + GAP, y - RANK_GAP + GAP
