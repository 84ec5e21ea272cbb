"""Merging BatchNorm, BN, Scale and Bias into the linear layer before them.

conv -> BatchNorm -> Scale is one linear layer: y = factor (w x + b) + offset. Merged, it has the weights
factor * w and the bias factor * b + offset, and rules apply to it as to any other.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from caffe2lrp.ir import Layer, Network, with_weights
from caffe2lrp.layers.affine import Bias, Scale
from caffe2lrp.layers.base import Shape, canonical_axis, count
from caffe2lrp.layers.batch_norm import BN, BatchNorm
from caffe2lrp.layers.convolution import Convolving, Deconvolution
from caffe2lrp.layers.inner_product import InnerProduct


def fold_affine_layers(network: Network) -> Network:
    """The same network with every affine layer merged into the linear layer that alone feeds it."""
    if not any(isinstance(layer.params, (BatchNorm, BN, Scale, Bias)) for layer in network.layers):
        return network
    layers: list[Layer] = []
    position: dict[str, int] = {}  # blob -> index of the linear layer that writes it
    consumers = network.consumers
    for layer in network.layers:
        source = position.get(layer.inputs[0]) if len(layer.inputs) == 1 else None
        if source is not None and _mergeable(layer, network.shapes) and len(consumers[layer.inputs[0]]) == 1:
            layers[source] = _merge(layers[source], layer)
            position[layer.outputs[0]] = source
            continue
        if _writes_channels(layer, network.shapes):
            position[layer.outputs[0]] = len(layers)
        layers.append(layer)
    return network.with_layers(layers)


def _writes_channels(layer: Layer, shapes: Mapping[str, Shape]) -> bool:
    """Whether a layer is linear, and its outputs are the channels that affine layers count."""
    p = layer.params
    return isinstance(p, (Convolving, InnerProduct)) and canonical_axis(p.axis, shapes[layer.inputs[0]]) == 1


def _mergeable(layer: Layer, shapes: Mapping[str, Shape]) -> bool:
    """Whether a layer is affine with one factor for each channel of its input."""
    shape = shapes[layer.inputs[0]]
    p = layer.params
    if isinstance(p, (BatchNorm, BN)):
        return len(shape) > 1
    return isinstance(p, (Scale, Bias)) and p.layout([shape]) == (shape[0], shape[1], count(shape, 2))


def _merge(linear: Layer, affine: Layer) -> Layer:
    from dataclasses import replace

    from caffe2lrp.engine.layers.affine import factor_and_offset

    factor, offset = factor_and_offset(affine)
    weight = np.asarray(linear.weights["weight"], np.float64) * _along_outputs(linear, factor)
    bias = np.asarray(linear.weights.get("bias", np.zeros(len(factor))), np.float64) * factor + offset
    merged = replace(linear, params=replace(linear.params, bias=True), outputs=affine.outputs)  # type: ignore[call-arg]
    return with_weights(merged, {"weight": weight, "bias": bias})


def _along_outputs(linear: Layer, factor: np.ndarray) -> np.ndarray:
    """A factor for each output channel, in a shape that can be multiplied with the stored weight."""
    p, shape = linear.params, linear.weights["weight"].shape
    rest = (1,) * (len(shape) - 2)
    if not isinstance(p, Deconvolution):
        return factor.reshape(-1, 1, *rest)
    # the weight is (C, outputs of a group): the rows of each group meet the outputs of their own
    return np.repeat(factor.reshape(p.group, -1), shape[0] // p.group, axis=0).reshape(*shape[:2], *rest)
