"""The same network in torch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import nn

from caffe2lrp.explanation import start_blob
from caffe2lrp.ir import Layer, Network


def _convolution(layer: Layer, network: Network) -> nn.Module:
    p: Any = layer.params
    weight = layer.weights["weight"]
    module = nn.Conv2d(
        weight.shape[1] * p.group, weight.shape[0], p.kernel, p.stride, p.pad, p.dilation, p.group,
        bias="bias" in layer.weights,
    )  # fmt: skip
    return _filled(module, layer)


def _fully_connected(layer: Layer, network: Network) -> nn.Module:
    rows, columns = layer.weights["weight"].shape
    return nn.Sequential(nn.Flatten(), _filled(nn.Linear(columns, rows, bias="bias" in layer.weights), layer))


def _filled(module: nn.Module, layer: Layer) -> nn.Module:
    """A module with a layer's weights."""
    for name, value in layer.weights.items():
        getattr(module, name).data = torch.tensor(np.array(value))
    return module


def _pooling(layer: Layer, network: Network) -> nn.Module:
    shape, params = network.shapes[layer.inputs[0]], layer.params
    spelled: Any = params.on(shape)  # type: ignore[attr-defined]
    if spelled.method == "STOCHASTIC":
        raise ValueError(f"{layer}: there is no such pooling in torch")
    kind = nn.MaxPool2d if spelled.method == "MAX" else nn.AvgPool2d
    return kind(spelled.kernel, spelled.stride, spelled.pad, ceil_mode=spelled.ceil)


class Normalisation(nn.LocalResponseNorm):
    """LRN, as a type of its own for the table of rules."""


def _normalisation(layer: Layer, network: Network) -> nn.Module:
    p: Any = layer.params
    if p.region != "across":
        raise ValueError(f"{layer}: torch normalises across channels only")
    return Normalisation(p.size, p.alpha, p.beta, p.k)


class Concatenation(nn.Module):
    """The channels of several blobs, one after the other."""

    def forward(self, *blobs: torch.Tensor) -> torch.Tensor:
        """Concatenate."""
        return torch.cat(blobs, 1)


_MODULES: dict[str, Callable[[Layer, Network], nn.Module]] = {
    "Convolution": _convolution,
    "InnerProduct": _fully_connected,
    "Pooling": _pooling,
    "LRN": _normalisation,
    "ReLU": lambda layer, network: nn.ReLU(),
    "Concat": lambda layer, network: Concatenation(),
    "Dropout": lambda layer, network: nn.Identity(),
}


class TorchNetwork(nn.Module):
    """A network of ours as a module, up to the scores below the softmax.

    Parameters
    ----------
    network
        Of the layer types that the measured networks have.

    Raises
    ------
    ValueError
        If it has another.
    """

    def __init__(self, network: Network) -> None:
        super().__init__()
        self.source, self.blob = network.input, start_blob(network)
        self.steps: list[tuple[tuple[str, ...], str]] = []  # blobs read and written by each module
        self.modules_in_order = nn.ModuleList()
        for layer in network.until(self.blob).layers:
            if layer.type not in _MODULES:
                raise ValueError(f"{layer}: there is no module for this type")
            self.steps.append((layer.inputs, layer.outputs[0]))
            self.modules_in_order.append(_MODULES[layer.type](layer, network))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """Scores, (N, classes)."""
        blobs = {self.source: x}
        for (inputs, output), module in zip(self.steps, self.modules_in_order, strict=True):
            blobs[output] = module(*[blobs[blob] for blob in inputs])
        return blobs[self.blob].flatten(1)


def torch_forward(network: Network, threads: int) -> Callable[[np.ndarray], np.ndarray]:
    """A function that runs the network in torch and returns its scores below the softmax."""
    torch.set_num_threads(threads)
    model = TorchNetwork(network).eval()

    def forward(x: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return np.asarray(model(torch.from_numpy(x)))

    return forward
