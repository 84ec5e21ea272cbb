"""How each layer type is written as ONNX; importing this package fills the table of `registry`."""

from caffe2lrp.converters.onnx.layers import (  # noqa: F401
    activation,
    affine,
    argmax,
    convolution,
    embed,
    inner_product,
    join,
    lrn,
    mvn,
    pad,
    permute,
    pooling,
    recurrent,
    reduction,
    reshape,
    selection,
    softmax,
    source,
    tile,
)
