"""Layer types: one module per idea, all in one registry by Caffe's name."""

from caffe2lrp.layers import (  # noqa: F401  (importing registers the types)
    activation,
    affine,
    argmax,
    batch,
    batch_norm,
    convolution,
    crop,
    dropout,
    eltwise,
    embed,
    im2col,
    inner_product,
    join,
    lrn,
    mvn,
    pooling,
    recurrent,
    reduction,
    reshape,
    softmax,
    source,
    tile,
)
from caffe2lrp.layers.base import REGISTRY, LayerParams, Shape, ShapeError, register

__all__ = ["REGISTRY", "LayerParams", "Shape", "ShapeError", "register"]
