"""Known models: where they are published, how their nets are built, and one call that loads them."""

from caffe2lrp.models.manifest import Entry, entries, find
from caffe2lrp.models.zoo import find_labels, load

__all__ = ["Entry", "entries", "find", "find_labels", "load"]
