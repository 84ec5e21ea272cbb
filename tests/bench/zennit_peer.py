"""Explanations by zennit. To be imported after `tests.bench.peers.find_peers`, which sees to torchvision."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from zennit.composites import LayerMapComposite
from zennit.core import Composite
from zennit.rules import AlphaBeta, Epsilon, Norm, Pass, ZPlus
from zennit.types import Activation, AvgPool, Convolution, Linear

from caffe2lrp.ir import Network
from tests.bench.torch_peer import Normalisation, TorchNetwork


def _composite(convolution: Any, fully_connected: Any) -> Composite:
    """Rules of convolutions and fully connected layers; relevance passes LRN and ReLU, and averages share it out."""
    rows = [(Normalisation, Pass()), (Activation, Pass()), (AvgPool, Norm()), (Convolution, convolution)]
    return LayerMapComposite([*rows, (Linear, fully_connected)])


def composites() -> dict[str, Composite]:
    """zennit's composites for the rules of `tests.bench.passes`."""
    return {
        "epsilon": _composite(Epsilon(1.0), Epsilon(1.0)),
        "alphabeta": _composite(AlphaBeta(2, 1), AlphaBeta(2, 1)),
        "epsilon_alpha2_beta1": _composite(AlphaBeta(2, 1), Epsilon(1e-6)),
        "epsilon_plus": _composite(ZPlus(), Epsilon(1e-6)),
    }


class Zennit:
    """A network in torch and zennit.

    Parameters
    ----------
    network
        The network.
    x
        Its input.
    threads
        Number of threads, for the whole process.
    """

    def __init__(self, network: Network, x: np.ndarray, threads: int) -> None:
        torch.set_num_threads(threads)
        self.model = TorchNetwork(network).eval()
        self.x = torch.tensor(x)
        self.composites = composites()

    def explain(self, rule: str, target: int) -> np.ndarray:
        """Relevance of the input for the score of a class."""
        with self.composites[rule].context(self.model) as model:
            x = self.x.clone().requires_grad_(True)
            scores = model(x)
            start = torch.zeros_like(scores)
            start[:, target] = scores[:, target].detach()
            (relevance,) = torch.autograd.grad(scores, x, start)
        return relevance.detach().numpy()
