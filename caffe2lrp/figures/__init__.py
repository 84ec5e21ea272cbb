"""Figures for print: the parameter study of Binder et al. 2016 for photos and nets at hand.

`study` says which settings a sheet compares, `run` computes the maps, `drawing` sets them as PNG and PDF, and `nets`
finds the models.
"""

from caffe2lrp.figures.drawing import write_figure
from caffe2lrp.figures.run import Photo, Sheet, compute
from caffe2lrp.figures.study import MODES, SHEETS, Column, columns

__all__ = ["MODES", "SHEETS", "Column", "Photo", "Sheet", "columns", "compute", "write_figure"]
