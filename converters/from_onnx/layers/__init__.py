"""How ONNX operators are read; importing this package fills the table of `registry`."""

from caffe2lrp.converters.from_onnx.layers import (  # noqa: F401
    activation,
    arithmetic,
    batch_norm,
    convolution,
    eltwise,
    identity,
    inner_product,
    join,
    lrn,
    pad,
    pooling,
    reduction,
    reshape,
    softmax,
    tile,
)
