"""Caffe's files: prototxt, caffemodel (V0, V1, V2), HDF5 weights and mean images, without Caffe."""

from caffe2lrp.converters.caffe.mean import read_mean
from caffe2lrp.converters.caffe.reading import load, load_definition
from caffe2lrp.converters.caffe.write import write_caffemodel, write_prototxt

__all__ = ["load", "load_definition", "read_mean", "write_caffemodel", "write_prototxt"]
