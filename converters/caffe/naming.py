"""What blobs and input layers are called in Caffe's files: out of static single assignment, in place again.

In the IR every value has a name of its own; in Caffe's files a layer may write over what it reads. Values that
are written over each other make a chain, and a chain has one name.
"""

from __future__ import annotations

import itertools
from collections import Counter

from caffe2lrp.ir import Layer, Network

IN_PLACE = frozenset(
    {
        *("BatchNorm", "Bias", "BNLL", "Clip", "Dropout", "ELU", "Exp", "Log", "Power", "PReLU", "ReLU", "Scale"),
        *("BN", "HardSigmoid", "HardSwish", "Sigmoid", "Softmax", "Swish", "TanH", "Threshold"),
    }
)
"""Types that Caffe runs in place: its NeuronLayers but AbsVal, and those that copy or rescale their input. Flatten,
Reshape and AbsVal refuse; the others would read what they have overwritten."""


def file_names(network: Network) -> dict[str, str]:
    """The name in the file of each blob of the network.

    Blobs share a name where a layer ran in place and still can: its type allows it and nobody else reads what is
    overwritten (Caffe would insert a Split and then find two writers of one blob). A chain has Caffe's name of its
    blobs unless another chain has a better claim to it; then it is called as its last blob is in the IR.
    """
    chains = _chains(network)
    caffe_names = [network.caffe_name(chain[0]) for chain in chains]
    names: dict[int, str] = {}
    taken: set[str] = set()

    def give(index: int, name: str) -> None:
        if index not in names and name not in taken:
            names[index] = name
            taken.add(name)

    for index, chain in enumerate(chains):
        if caffe_names[index] in chain:
            give(index, caffe_names[index])
    for index in reversed(range(len(chains))):
        give(index, caffe_names[index])
    for index, chain in enumerate(chains):
        name = chain[-1]
        while index not in names:
            give(index, name)
            name += "'"
    return {blob: names[index] for index, chain in enumerate(chains) for blob in chain}


def _chains(network: Network) -> list[list[str]]:
    reads = Counter(blob for layer in network.layers for blob in layer.inputs)
    chains = [[blob] for blob in network.inputs]
    chain_of = dict(zip(network.inputs, chains, strict=True))
    for layer in network.layers:
        for index, blob in enumerate(layer.outputs):
            if index == 0 and layer.inputs and _runs_in_place(network, layer, reads):
                chain_of[blob] = chain_of[layer.inputs[0]]
                chain_of[blob].append(blob)
            else:
                chain_of[blob] = [blob]
                chains.append(chain_of[blob])
    return chains


def _runs_in_place(network: Network, layer: Layer, reads: Counter[str]) -> bool:
    """Whether the first output of a layer was written over its first input, and may be."""
    below, above = layer.inputs[0], layer.outputs[0]
    was = network.caffe_name(below) == network.caffe_name(above)
    return was and layer.type in IN_PLACE and reads[below] == 1


def input_layers(network: Network) -> dict[str, str]:
    """The name of the Input layer of each input: its blob's, or what the name of an overwritten blob speaks of."""
    taken = {layer.name for layer in network.layers}
    return {blob: _input_layer(blob, network.caffe_name(blob), taken) for blob in network.inputs}


def _input_layer(blob: str, caffe_name: str, taken: set[str]) -> str:
    if blob.startswith(f"{caffe_name}@"):
        return blob.removeprefix(f"{caffe_name}@")
    return next(name for name in (f"{blob}{'_input' * n}" for n in itertools.count()) if name not in taken)
