"""How each layer type is written as ONNX; importing this package fills the table of `registry`."""

from caffe2lrp.converters.onnx.layers import (  # noqa: F401
    activation,
    affine,
    axpy,
    clipped,
    convolution,
    detection,
    inner_product,
    join,
    lrn,
    normalize,
    permute,
    pooling,
    regions,
    reshape,
    softmax,
    upsample,
)
