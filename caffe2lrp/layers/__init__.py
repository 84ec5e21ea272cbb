"""Layer types: one module per idea, all in one registry by Caffe's name."""

from caffe2lrp.layers import (  # noqa: F401  (importing registers the types)
    activation,
    affine,
    batch_norm,
    convolution,
    dropout,
    eltwise,
    inner_product,
    join,
    lrn,
    pad,
    pooling,
    reshape,
    softmax,
)
from caffe2lrp.layers.base import REGISTRY, LayerParams, Shape, ShapeError, register

__all__ = ["REGISTRY", "LayerParams", "Shape", "ShapeError", "register"]
