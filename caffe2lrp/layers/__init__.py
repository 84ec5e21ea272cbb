"""Layer types: one module per idea, all in one registry by Caffe's name."""

from caffe2lrp.layers import (  # noqa: F401  (importing registers the types)
    activation,
    affine,
    argmax,
    batch_norm,
    convolution,
    dropout,
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
    reshape,
    selection,
    softmax,
    source,
    tile,
)
from caffe2lrp.layers.base import REGISTRY, LayerParams, Shape, ShapeError, register

__all__ = ["REGISTRY", "LayerParams", "Shape", "ShapeError", "register"]
