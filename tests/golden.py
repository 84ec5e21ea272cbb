"""The golden nets: definitions from ``shared/golden``, weights and inputs rebuilt from the seed (its README)."""

from __future__ import annotations

import dataclasses
import json
import math
from functools import cache
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from caffe2lrp.converters.caffe import load_definition
from caffe2lrp.ir import Network, with_weights
from caffe2lrp.layers import LayerParams


class Golden(NamedTuple):
    """One golden net; arrays in the type that was asked for."""

    network: Network
    x: np.ndarray  # (N, C, H, W)
    imagemean: np.ndarray  # (C, H, W), for the bounds of z^B; not subtracted from x
    runs: list[dict[str, Any]]
    npz: Any  # the arrays of NET.npz, read when asked for


@cache
def golden_info(shared: Path, name: str) -> dict[str, Any]:
    """NET.json: net, seed, input_shape, logits_blob, layers and runs."""
    return json.loads((shared / "golden" / f"{name}.json").read_text())


def golden_definition(shared: Path, name: str) -> Network:
    """The net without its weights."""
    return load_definition(shared / "golden" / golden_info(shared, name)["prototxt"])


def golden_network(shared: Path, name: str, dtype: Any) -> Golden:
    """The net with weights, input and expected numbers.

    All numbers of the reference are single-precision numbers, also in its 64-bit evaluation: weights and inputs are
    rounded to float32 before they become `dtype`, and so are the layers' parameters (an LRN's alpha of 0.0001 is
    9.99999974737875163555e-05 there).
    """
    info = golden_info(shared, name)
    definition = golden_definition(shared, name)
    rs = np.random.RandomState(info["seed"])  # one stream for the whole net
    layers = []
    for layer in definition.layers:
        shapes = {key: value.shape for key, value in layer.weights.items()}
        weights = {}
        if layer.type in ("Convolution", "InnerProduct"):
            deviation = math.sqrt(2 / math.prod(shapes["weight"][1:]))
            weights["weight"] = rs.normal(0, deviation, shapes["weight"]).astype(np.float32).astype(dtype)
            if "bias" in shapes:
                weights["bias"] = rs.normal(0, 0.1, shapes["bias"]).astype(np.float32).astype(dtype)
        layers.append(dataclasses.replace(with_weights(layer, weights), params=single_precision(layer.params)))
    shape = tuple(info["input_shape"])
    return Golden(
        definition.with_layers(layers),
        _uniform(info["seed"] + 1, -120, 130, shape).astype(dtype),
        _uniform(info["seed"] + 3, 90, 130, shape[1:]).astype(dtype),
        info["runs"],
        np.load(shared / "golden" / f"{name}.npz"),
    )


def _uniform(seed: int, low: float, high: float, shape: tuple[int, ...]) -> np.ndarray:
    return np.random.RandomState(seed).uniform(low, high, shape).astype(np.float32)


def single_precision(params: LayerParams) -> LayerParams:
    """The same parameters, their real numbers rounded to float32."""
    values = {f.name: getattr(params, f.name) for f in dataclasses.fields(params)}
    rounded = {key: float(np.float32(value)) for key, value in values.items() if isinstance(value, float)}
    for key, value in values.items():
        if isinstance(value, tuple) and any(isinstance(v, float) for v in value):
            rounded[key] = tuple(float(np.float32(v)) for v in value)
    return dataclasses.replace(params, **rounded)
