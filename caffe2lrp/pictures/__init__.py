"""From relevance to pictures: colour maps, heat maps, overlays on the photo, and captioned sheets."""

from caffe2lrp.pictures.colormaps import COLORMAPS, DEFAULT_COLORMAP, Colormap, colormap
from caffe2lrp.pictures.drawing import heatmap, overlay, save_png
from caffe2lrp.pictures.maps import normalise, to_map
from caffe2lrp.pictures.montage import Strip, montage
from caffe2lrp.pictures.sheet import Row, sheet

__all__ = [
    "COLORMAPS",
    "DEFAULT_COLORMAP",
    "Colormap",
    "Row",
    "Strip",
    "colormap",
    "heatmap",
    "montage",
    "normalise",
    "overlay",
    "save_png",
    "sheet",
    "to_map",
]
