"""How each layer type is run and explained; importing this package fills the tables of `registry`."""

from caffe2lrp.engine.layers import (  # noqa: F401
    activation,
    affine,
    argmax,
    convolution,
    eltwise,
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
    selection,
    softmax,
    source,
    tile,
)
