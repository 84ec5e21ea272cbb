"""Networks as drawings: `layout` places boxes in layers, `svg` draws a network with it."""

from caffe2lrp.diagram.svg import draw, svg

__all__ = ["draw", "svg"]
