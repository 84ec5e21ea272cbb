"""How each layer type is written as ONNX; importing this package fills the table of `registry`."""

from caffe2lrp.converters.onnx.layers import (  # noqa: F401
    activation,
    affine,
    convolution,
    crop,
    inner_product,
    join,
    lrn,
    pooling,
    recurrent,
    reshape,
    softmax,
    source,
)
