"""How each layer type is run and explained; importing this package fills the tables of `registry`."""

from caffe2lrp.engine.layers import (  # noqa: F401
    activation,
    affine,
    convolution,
    eltwise,
    inner_product,
    join,
    lrn,
    pad,
    pooling,
    softmax,
)
