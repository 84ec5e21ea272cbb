"""What the outputs of a network are: classes, their names, scores and probabilities."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from caffe2lrp.ir import Network
from caffe2lrp.layers.softmax import Softmax


def class_count(network: Network) -> int | None:
    """Number of classes; None where the outputs are not one value for each class."""
    if len(network.outputs) != 1:
        return None
    shape = network.shapes[network.outputs[0]]
    return shape[1] if len(shape) > 1 and all(d == 1 for d in shape[2:]) else None


def unit(network: Network) -> str:
    """What the values of the first output are: ``probability`` or ``score``."""
    layer = network.producers[network.outputs[0]]
    return "probability" if isinstance(layer.params, Softmax) else "score"


def probability(network: Network, values: Mapping[str, np.ndarray], index: int) -> float | None:
    """Probability of a class, None where the outputs are no probabilities of classes."""
    if class_count(network) is None or unit(network) != "probability":
        return None
    return float(values[network.outputs[0]].reshape(-1)[index])


def label(network: Network, index: int, count: int) -> str | None:
    """Name of a class, None where names are not known or belong to another number of classes."""
    labels = network.labels
    return labels[index] if labels is not None and len(labels) == count else None


def highest(values: np.ndarray, n: int) -> list[int]:
    """Indices of the n highest values, highest first; of equal ones the first."""
    return [int(i) for i in np.argsort(-values, kind="stable")[:n]]
