"""How each layer type is written as ONNX; importing this package fills the table of `registry`."""

from caffe2lrp.converters.onnx.layers import (  # noqa: F401
    activation,
    affine,
    argmax,
    convolution,
    inner_product,
    join,
    lrn,
    mvn,
    pad,
    pooling,
    reduction,
    reshape,
    selection,
    softmax,
    tile,
)
