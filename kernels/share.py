"""Cutting work into parts."""

from caffe2lrp.kernels.compiling import device


@device
def share(n, part, parts):  # type: ignore[no-untyped-def]
    """The part-th of `parts` nearly equal ranges of range(n): (start, stop)."""
    return n * part // parts, n * (part + 1) // parts
