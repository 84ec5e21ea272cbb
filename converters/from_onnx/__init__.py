"""ONNX files into the layer IR: convolutional classifiers, without any framework.

A file goes through these rooms, each of which can be understood alone:

- `files` tells ONNX files by their content and reads them, weights when they are needed;
- `graph` brings the nodes that lead to the outputs into order and says what comes from outside, `inputs` which shapes
  that has;
- `build` walks over the nodes: `constants` computes those that depend on no image, the others go to the readers of
  `layers`, which are found in the table of `registry` by operator and talk to a `node`;
- `windows` is what convolution and pooling share, `metadata` what caffe2lrp itself has written into a file, `reading`
  has the entry points.
"""

from caffe2lrp.converters.from_onnx.files import is_onnx
from caffe2lrp.converters.from_onnx.reading import load, load_definition

__all__ = ["is_onnx", "load", "load_definition"]
