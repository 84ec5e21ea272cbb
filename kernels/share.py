"""Cutting work into parts."""

from caffe2lrp.kernels.compiling import device
from caffe2lrp.kernels.team import threads

# A thread's share is cut into so many pieces at most, and each takes as long as so many multiplications at least: some
# ten microseconds.
_PIECES, _PIECE = 8, 2**19


@device
def share(n, part, parts):  # type: ignore[no-untyped-def]
    """The part-th of `parts` nearly equal ranges of range(n): (start, stop)."""
    return n * part // parts, n * (part + 1) // parts


def pieces_of(work: int) -> int:
    """How many pieces to cut each thread's share into, for work that takes as long as so many multiplications."""
    return min(max(work // (threads() * _PIECE), 1), _PIECES)
