"""Which stored blob is which weight of a layer: by position, or by the name of a parameter that layers share."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from caffe2lrp.converters.caffe.graph import Node
from caffe2lrp.converters.caffe.message import Message
from caffe2lrp.converters.caffe.weights import Blob, Weights
from caffe2lrp.errors import ModelError
from caffe2lrp.layers import LayerParams, Shape


def param_names(layer: Message) -> list[str]:
    """Names of a layer's parameters (``param { name }``), in the order of its blobs; empty ones are not shared."""
    return [param.get("name") for param in layer.all("param")]


@dataclass(frozen=True)
class _Use:
    """The first layer that uses a shared parameter, and what for."""

    node: Node
    weight: str
    shape: Shape


class Sharing:
    """Parameters with a name: all layers that give one the same name have the same blob.

    Caffe copies stored blobs in the order of the file, one over the other where they are shared. So what counts is
    the last one; usually all are equal, or only one is stored.

    Parameters
    ----------
    net
        The net definition. The layers of all phases count: one of them may be the one that stores the blob.
    weights
        Stored weights, or None.
    """

    def __init__(self, net: Message, weights: Weights | None) -> None:
        self._first: dict[str, _Use] = {}
        self._loose: set[str] = set()  # parameters whose shape one of the layers does not insist on
        self._blobs: dict[str, Blob] = {}
        names: dict[str, list[str]] = {}
        for layer in net.all("layer"):
            names[layer.get("name")] = names.get(layer.get("name")) or param_names(layer)
            self._loose.update(p.get("name") for p in layer.all("param") if p.get("share_mode") == "PERMISSIVE")
        for layer_name, blobs in weights.layers.items() if weights else ():
            for name, blob in zip(names.get(layer_name, ()), blobs, strict=False):
                if name and blob is not None:
                    self._blobs[name] = blob

    def blob(self, name: str) -> Blob | None:
        """The stored blob of a parameter."""
        return self._blobs.get(name)

    def is_loose(self, name: str) -> bool:
        """Whether the parameter may have another shape in one layer than in another."""
        return name in self._loose

    def check(self, node: Node, needed: Mapping[str, Shape]) -> None:
        """Check that a layer can share its parameters, as Caffe's ``Net::AppendParam`` does.

        Parameters
        ----------
        node
            The layer; layers come in the order of the net.
        needed
            Shapes of its weights.

        Raises
        ------
        ModelError
            If a parameter has another shape in the first layer that uses it; with share_mode PERMISSIVE, if it has
            another number of values there.
        """
        for param, (weight, needed_shape) in zip(node.message.all("param"), needed.items(), strict=False):
            name, permissive = param.get("name"), param.get("share_mode") == "PERMISSIVE"
            if not name:
                continue
            shape = _stored_shape(node, weight, needed_shape)
            first = self._first.setdefault(name, _Use(node, weight, shape))
            if shape == first.shape or (permissive and math.prod(shape) == math.prod(first.shape)):
                continue
            hint = (
                "the number of values must be the same" if permissive else "with share_mode STRICT they must be equal"
            )
            raise ModelError(
                f"{node}: param: its {weight} has the shape {shape}, but shares the parameter '{name}' with the "
                f"{first.weight} {first.shape} of layer '{first.node.name}' ({first.node.place}); {hint}"
            )


def find_weights(
    node: Node, params: LayerParams, bottoms: list[Shape], weights: Weights | None, sharing: Sharing
) -> dict[str, np.ndarray]:
    """Weights of a layer by name.

    Parameters
    ----------
    node, params
        The layer and its parameters.
    bottoms
        Shapes of its inputs.
    weights
        Stored weights; None gives every weight the value 0 without allocating it.
    sharing
        Parameters that layers share.

    Raises
    ------
    ModelError
        If blobs are missing, have another shape than the layer needs, or cannot be shared.
    """
    needed = params.weight_shapes(bottoms)
    if weights is None:
        return {weight: _zeros(node, shape) for weight, shape in needed.items()}
    stored = weights.layers.get(node.name, []) if needed else []
    names = [*param_names(node.message), *[""] * len(needed)]
    blobs: list[Blob | None] = [*stored, *[None] * len(needed)][: len(needed)]
    blobs = [sharing.blob(name) if name else blob for name, blob in zip(names, blobs, strict=False)]
    found = {}
    for name, blob, (weight, shape) in zip(names, blobs, needed.items(), strict=False):
        if blob is None or len(stored) > len(needed):
            raise ModelError(f"{node}: {_wrong_count(needed, stored, blobs, weights.file)}")
        array = _fit(node, weight, blob, shape, sharing.is_loose(name))
        if array is None:
            given = f" for the input {bottoms[0]}" if bottoms else ""
            raise ModelError(
                f"{node}: its {weight} has the shape {_stored_shape(node, weight, shape)}{given}, but {weights.file} "
                f"stores {blob.shape}. The weights belong to another net, or to another version or input size of it"
            )
        found[weight] = array
    return found


def _wrong_count(needed: dict[str, Shape], stored: list[Blob | None], blobs: list[Blob | None], file: str) -> str:
    missing = [weight for weight, blob in zip(needed, blobs, strict=True) if blob is None]
    have = sum(blob is not None for blob in stored)
    if not have:
        first = f"{missing[0]} {needed[missing[0]]}"
        return f"{file} has no weights for it; it needs {first}. Do the weights belong to this net?"
    lost = f"; blob {list(needed).index(missing[0])} ({missing[0]}) is missing" if missing else ""
    return f"needs {len(needed)} blob(s) ({', '.join(needed)}), but {file} has {have} for it{lost}"


def _is_turned(node: Node, weight: str) -> bool:
    """Whether the file has the transposed matrix."""
    param = node.message.get("inner_product_param")
    return weight == "weight" and node.type == "InnerProduct" and param.get("transpose")


def _stored_shape(node: Node, weight: str, shape: Shape) -> Shape:
    return shape[::-1] if _is_turned(node, weight) else shape


def _fit(node: Node, weight: str, blob: Blob, shape: Shape, loose: bool) -> np.ndarray | None:
    """A stored blob in the shape that the layer needs, or None; with `loose` only the number of values has to fit."""
    stored = _stored_shape(node, weight, shape)
    if not (blob.fits(stored) or (loose and blob.values.size == math.prod(stored))):
        return None
    values = blob.values.reshape(stored)
    return np.ascontiguousarray(values.T) if _is_turned(node, weight) else values


def _zeros(node: Node, shape: Shape) -> np.ndarray:
    try:
        return np.broadcast_to(np.float32(0), shape)
    except ValueError:
        raise ModelError(f"{node}: needs weights of the shape {shape}, which no computer can hold") from None
