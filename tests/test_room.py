"""Room that kernels use for a while: the same for a thread, another from call to call."""

from __future__ import annotations

import itertools

import numpy as np
import pytest

from caffe2lrp.kernels import room


@pytest.fixture(autouse=True)
def fresh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(room, "_own", {})
    monkeypatch.setattr(room, "_rings", {})


def test_own_room_grows_and_is_the_same_for_all() -> None:
    small = room.own_room("float32", 10)
    assert small.dtype == np.float32
    assert room.own_room("float32", small.size) is small
    large = room.own_room("float32", small.size + 1)
    assert large.size > small.size
    assert room.own_room("float32", 1) is large
    assert not np.shares_memory(room.own_room("float64", 1), large)


@pytest.mark.parametrize("dtype", ["float32", "float64"])
def test_room_to_pass_on_rests_before_it_comes_again(dtype: str) -> None:
    size = 100_003
    first = room.room_to_pass_on(dtype, size)
    assert (first.dtype, first.size) == (np.dtype(dtype), size)
    handed_out, pieces = 0, []
    while True:
        piece = room.room_to_pass_on(dtype, size)
        assert piece.ctypes.data % 64 == 0
        if np.shares_memory(piece, first):
            break
        handed_out += piece.nbytes
        pieces.append(piece)
    assert room.REST <= handed_out + first.nbytes < 2 * room.REST
    assert not any(np.shares_memory(*pair) for pair in itertools.pairwise(pieces))


def test_room_to_pass_on_grows() -> None:
    small = room.room_to_pass_on("float32", 10)
    large = room.room_to_pass_on("float32", 2 * room.REST)
    assert large.size == 2 * room.REST
    assert not np.shares_memory(small, large)
    after = room.room_to_pass_on("float32", 10)
    assert not np.shares_memory(after, large)
