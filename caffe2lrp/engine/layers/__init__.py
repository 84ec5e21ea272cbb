"""How each layer type is run and explained; importing this package fills the tables of `registry`."""

from caffe2lrp.engine.layers import (  # noqa: F401
    activation,
    affine,
    axpy,
    clipped,
    convolution,
    detection,
    eltwise,
    inner_product,
    join,
    lrn,
    normalize,
    permute,
    pooling,
    regions,
    softmax,
    upsample,
)
