"""The networks that are measured, and inputs for them.

GoogLeNet's and SqueezeNet's weights are taken from the folder beside the project that the tests use; CaffeNet has
random weights, which take the same time.
"""

from __future__ import annotations

import functools
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

import caffe2lrp
from caffe2lrp.ir import Network
from tests.bench.timing import ROOT

SHARED = ROOT.parent / "shared"
TITLES = {"googlenet": "GoogLeNet", "squeezenet": "SqueezeNet 1.1", "caffenet": "CaffeNet"}
_FOLDERS = {"googlenet": "bvlc_googlenet", "squeezenet": "squeezenet_v1.1"}


def files(name: str) -> tuple[Path, Path] | None:
    """Definition and weights of a published network, if they are there."""
    folder = SHARED / "models" / _FOLDERS[name]
    found = folder / "deploy.prototxt", folder / f"{_FOLDERS[name]}.caffemodel"
    return found if all(path.is_file() for path in found) else None


@functools.cache
def load(name: str) -> Network | None:
    """A network for one image; None where its weights are missing."""
    if name == "caffenet":
        return random_caffenet().with_batch(1)
    found = files(name)
    return caffe2lrp.load(*found).with_batch(1) if found else None


def random_caffenet() -> Network:
    """CaffeNet with random weights."""
    from caffe2lrp.converters.caffe import load_definition
    from caffe2lrp.models import nets

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "caffenet.prototxt"
        file.write_text(nets.prototxt("caffenet"))
        return with_random_weights(load_definition(file))


def with_random_weights(definition: Network) -> Network:
    """A network with random weights, in a scale that keeps values in theirs from layer to layer."""
    from caffe2lrp.ir import with_weights

    rng = np.random.default_rng(0)
    layers = []
    for layer in definition.layers:
        weights = {}
        for name, value in layer.weights.items():
            deviation = (2 / value[0].size) ** 0.5 if value.ndim > 1 else 0.1
            weights[name] = rng.standard_normal(value.shape, np.float32) * np.float32(deviation)
        layers.append(with_weights(layer, weights))
    return definition.with_layers(layers)


def random_input(network: Network, shape: Sequence[int] | None = None) -> np.ndarray:
    """An input of the range of photos without their mean; the shape is the network's own, if not given."""
    rng = np.random.default_rng(1)
    return rng.uniform(-120, 130, shape or network.input_shape).astype(np.float32)
