"""Room that kernels use for a while; all programs share it, because they take turns.

It lies in large pages where the system has them. Small ones are scattered over memory, and with bad luck so many share
the same sets of a cache that it does not hold them.

A thread's own room is always the same, and stays in the cache of its core. What one call of a kernel leaves to the next
lies elsewhere each time. For where another core has read, it may still have a copy, and each cache line of which there
are copies costs the one that writes it 10 ns, or 36 where cores have no cache in common. By and by the copies leave the
caches.
"""

from __future__ import annotations

import numpy as np

from caffe2lrp.kernels.compiling import device

# Bytes that are written elsewhere before memory is written anew. With 8 MB of blobs come four times as many of weights.
REST = 2**23
_PAGE = 2**21  # bytes of a large page
LINE = 64  # bytes of a cache line

_own: dict[str, np.ndarray] = {}
_rings: dict[str, _Ring] = {}


def own_room(dtype: str, size: int) -> np.ndarray:
    """A flat array of at least `size` values, a part of which is each thread's own."""
    if dtype not in _own or _own[dtype].size < size:
        _own[dtype] = _in_large_pages(dtype, size)
    return _own[dtype]


def own_parts(dtype: str, size: int, threads: int) -> np.ndarray:
    """A flat array of which each thread has its own part, see `part_of`, of at least `size` values."""
    line = LINE // np.dtype(dtype).itemsize
    return own_room(dtype, threads * -(-size // line) * line)


@device
def part_of(room, thread, threads):  # type: ignore[no-untyped-def]
    """A thread's part of `own_parts`; it begins with a cache line."""
    line = LINE // room.itemsize
    return room[thread * (room.size // (threads * line) * line) :]


def room_to_pass_on(dtype: str, size: int) -> np.ndarray:
    """A flat array of `size` values that one call of a kernel, or several in a row, leave to the next."""
    rest = REST // np.dtype(dtype).itemsize
    if dtype not in _rings or _rings[dtype].values.size < size + rest:
        halves = -(-2 * (size + rest) // rest)  # larger ones than needed: the next layer may want a little more
        _rings[dtype] = _Ring(_in_large_pages(dtype, halves * rest // 2))
    return _rings[dtype].take(size)


class _Ring:
    """Memory that is handed out piece by piece, and from its beginning again where it ends."""

    def __init__(self, values: np.ndarray) -> None:
        self.values = values
        self._next = 0

    def take(self, size: int) -> np.ndarray:
        """The next piece; pieces begin with a cache line."""
        start = self._next if self._next + size <= self.values.size else 0
        line = LINE // self.values.itemsize
        self._next = start + -(-size // line) * line
        return self.values[start : start + size]


def _in_large_pages(dtype: str, size: int) -> np.ndarray:
    room = max(np.dtype(dtype).itemsize * size, _PAGE)
    raw = np.empty(room + _PAGE, np.uint8)  # for two pages or more, NumPy asks for large ones
    start = -raw.ctypes.data % _PAGE
    return raw[start : start + room].view(dtype)
