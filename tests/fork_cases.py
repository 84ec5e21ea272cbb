"""Random and chosen cases of the layer types of Caffe's forks; a part of `tests.layer_cases`."""

from __future__ import annotations

from hypothesis import strategies as st

from caffe2lrp.layers import permute
from caffe2lrp.layers.base import LayerParams

Shape = tuple[int, ...]
Case = tuple[LayerParams, list[Shape]]
SIZES = st.sampled_from([1, 2, 3, 5])


def blobs(least: int, most: int = 4) -> st.SearchStrategy[Shape]:
    return st.lists(SIZES, min_size=least, max_size=most).map(tuple)


@st.composite
def permutations(draw: st.DrawFn) -> Case:
    shape = draw(blobs(1, 5))
    order = draw(st.permutations(range(len(shape))))
    return permute.Permute(tuple(order[: draw(st.integers(0, len(order)))])), [shape]


@st.composite
def shuffles(draw: st.DrawFn) -> Case:
    shape = list(draw(blobs(2)))
    group = draw(SIZES)
    shape[1] *= group
    return permute.ShuffleChannel(group), [tuple(shape)]


CASES: dict[str, st.SearchStrategy[Case]] = {
    "Permute": permutations(),
    "ShuffleChannel": shuffles(),
}

CHOSEN: dict[str, list[Case]] = {
    "Permute": [
        (permute.Permute((0, 2, 3, 1)), [(2, 3, 5, 7)]),  # SSD
        (permute.Permute((3, 1)), [(2, 3, 5, 7)]),
        (permute.Permute((0, 2, 1, 3, 4)), [(2, 3, 5, 2, 3)]),
    ],
    "ShuffleChannel": [(permute.ShuffleChannel(3), [(2, 15, 7, 2)])],
}
