"""A smaller network that computes the same: what can be merged is merged, what does nothing is left out."""

from __future__ import annotations

from dataclasses import replace

from caffe2lrp.ir import Layer, Network
from caffe2lrp.layers.activation import Power
from caffe2lrp.layers.dropout import Dropout
from caffe2lrp.layers.join import Concat, Slice
from caffe2lrp.layers.reshape import Flatten, Reshape


def simplify(network: Network) -> Network:
    """Merge BatchNorm, Scale and Bias into the linear layers before them, and leave out layers that do nothing.

    No blob that is left changes beyond rounding; inputs and outputs are all left, under their names.
    """
    from caffe2lrp.engine.folding import fold_affine_layers  # imports kernels

    return _without_identities(fold_affine_layers(network))


def _without_identities(network: Network) -> Network:
    kept = {*network.inputs, *network.outputs}
    renamed: dict[str, str] = {}
    layers: list[Layer] = []
    for layer in network.layers:
        bottoms = tuple(renamed.get(blob, blob) for blob in layer.inputs)
        source, target = bottoms[0], layer.outputs[0]
        readers = sum(renamed.get(blob, blob) == source for other in network.layers for blob in other.inputs)
        needed = target in kept and (source in kept or readers > 1)  # one value under two names
        if needed or not _is_identity(network, layer):
            layers.append(replace(layer, inputs=bottoms))
        elif target in kept or (source not in kept and network.caffe_name(source) == target):
            # The value gets the name that people know it by: that of the output, or of the last value in place.
            layers = [_with_name(other, source, target) for other in layers]
            renamed = {old: target if new == source else new for old, new in renamed.items()} | {source: target}
        else:
            renamed[target] = source
    return network.with_layers(layers)


def _is_identity(network: Network, layer: Layer) -> bool:
    if isinstance(layer.params, Dropout) or layer.params == Power():
        return True
    if len(layer.inputs) != 1 or len(layer.outputs) != 1:
        return False
    if isinstance(layer.params, (Concat, Slice)):
        return True
    same = network.shapes[layer.inputs[0]] == network.shapes[layer.outputs[0]]
    return isinstance(layer.params, (Flatten, Reshape)) and same


def _with_name(layer: Layer, old: str, new: str) -> Layer:
    def named(blobs: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(new if blob == old else blob for blob in blobs)

    return replace(layer, inputs=named(layer.inputs), outputs=named(layer.outputs))
