"""Layer types: one module per idea, all in one registry by Caffe's name."""

from caffe2lrp.layers import (  # noqa: F401  (importing registers the types)
    activation,
    affine,
    argmax,
    axpy,
    batch,
    batch_norm,
    clipped,
    convolution,
    crop,
    detection,
    dropout,
    eltwise,
    embed,
    im2col,
    inner_product,
    join,
    lrn,
    mvn,
    normalize,
    pad,
    permute,
    pooling,
    recurrent,
    reduction,
    regions,
    reshape,
    softmax,
    source,
    tile,
    upsample,
)
from caffe2lrp.layers.base import REGISTRY, LayerParams, Shape, ShapeError, register

__all__ = ["REGISTRY", "LayerParams", "Shape", "ShapeError", "register"]
