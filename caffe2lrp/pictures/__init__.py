"""From relevance to pictures: colour maps, heat maps, overlays and contours, captioned sheets and grids, bar plots."""

from caffe2lrp.pictures.bars import bars, channel_bars, layer_bars
from caffe2lrp.pictures.colormaps import COLORMAPS, DEFAULT_COLORMAP, Colormap, colormap
from caffe2lrp.pictures.drawing import heatmap, overlay, save_png
from caffe2lrp.pictures.grid import grid
from caffe2lrp.pictures.maps import normalise, smoothed, to_map
from caffe2lrp.pictures.montage import Strip, montage
from caffe2lrp.pictures.sheet import Row, sheet
from caffe2lrp.pictures.style import Style

__all__ = [
    "COLORMAPS",
    "DEFAULT_COLORMAP",
    "Colormap",
    "Row",
    "Strip",
    "Style",
    "bars",
    "channel_bars",
    "colormap",
    "grid",
    "heatmap",
    "layer_bars",
    "montage",
    "normalise",
    "overlay",
    "save_png",
    "sheet",
    "smoothed",
    "to_map",
]
