"""Caffe's files: prototxt, caffemodel (V0, V1, V2), HDF5 weights and mean images, without Caffe.

A file goes through these rooms, each of which can be understood alone:

- `files` tells kinds of files apart by content; `text` and `wire` read protobuf's two formats into the
  generic `message` by the table of `schema`;
- `upgrade` brings old generations to the newest one, `phases` picks the layers of a phase;
- `graph` connects the layers and takes away what serves training only, `inputs` finds the input shapes;
- `layers` turns parameters into those of `caffe2lrp.layers` (and back), `weights` and `hdf5` hold the blobs,
  `build` puts all of it into a `Network`;
- `write` goes the other way, with the blob names of `naming`; `mean` reads mean images, `reading` has the entry
  points.
"""

from caffe2lrp.converters.caffe.mean import read_mean
from caffe2lrp.converters.caffe.reading import load, load_definition
from caffe2lrp.converters.caffe.write import save, write_caffemodel, write_prototxt

__all__ = ["load", "load_definition", "read_mean", "save", "write_caffemodel", "write_prototxt"]
