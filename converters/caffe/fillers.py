"""Weights that no file stores: interpolation is fixed by its filler, and files of such nets may leave it out.

Caffe fills the weights of every layer before it reads a file, and keeps what the file has nothing for. Only the
bilinear filler (filler.hpp) gives a layer that works without training; all others mean that weights are missing.
"""

from __future__ import annotations

import math

import numpy as np

from caffe2lrp.converters.caffe.layers import ParameterError
from caffe2lrp.converters.caffe.message import Message
from caffe2lrp.layers import Shape

_LARGEST = 2048  # pixels; the widest known is 64, of FCN-32s


def is_bilinear(layer: Message) -> bool:
    """Whether a convolution or deconvolution is bilinear interpolation unless its file stores other weights."""
    filler: str = layer.get("convolution_param").get("weight_filler").get("type")
    return layer.get("type") in ("Convolution", "Deconvolution") and filler == "bilinear"


def fill(layer: Message, name: str, shape: Shape) -> np.ndarray:
    """The values that Caffe starts with, float32, for the ``weight`` or the ``bias`` of a bilinear layer (not copied).

    Raises
    ------
    ParameterError
        If the kernel is not square, or the bias has a filler of random numbers.
    """
    if name == "weight":
        return bilinear(shape)
    filler = layer.get("convolution_param").get("bias_filler")
    if filler.get("type") != "constant":
        raise ParameterError(f"has no stored bias, and its filler {filler.get('type')} cannot stand for it")
    return np.broadcast_to(np.float32(filler.get("value")), shape)


def bilinear(shape: Shape) -> np.ndarray:
    """Weights (outputs, inputs, k, k) of bilinear interpolation: tents (1 - |x / f - c|), the same for all channels."""
    if len(shape) != 4 or shape[2] != shape[3]:
        raise ParameterError(f"its filler is bilinear, which needs a square kernel, but its weight is {shape}")
    size = shape[3]
    if size > _LARGEST:
        raise ParameterError(f"its filler is bilinear, but no interpolation is {size} pixels wide")
    f = math.ceil(size / 2)
    c = (size - 1) / (2 * f)
    tent = 1 - np.abs(np.arange(size) / f - c)
    return np.broadcast_to(np.outer(tent, tent).astype(np.float32), shape)
