"""What a network is run on: one array, or one for each input blob."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from caffe2lrp.errors import OptionError
from caffe2lrp.ir import Network
from caffe2lrp.layers.base import Shape
from caffe2lrp.layers.recurrent import Recurrent


def as_inputs(network: Network, x: Any) -> dict[str, np.ndarray]:
    """Check the inputs of a network and bring them to one precision.

    Parameters
    ----------
    network
        The network. Batch and image size may differ from its own, the channels may not; so may the numbers of steps
        and streams of recurrent networks.
    x
        An array for the only input, (N, C, H, W), or a mapping from input blobs to arrays. Inputs may be called by
        Caffe's names. If the first input of the network is float64, all are run in float64, else in float32.

    Returns
    -------
    dict
        C-contiguous arrays by input blob, in the order of the network's inputs.

    Raises
    ------
    OptionError
        If an input is missing or unknown, an array is not numeric, or it has another number of axes or channels than
        the network's input.
    """
    arrays = {blob: _numbers(network, blob, value) for blob, value in _by_blob(network, x).items()}
    dtype = np.float64 if arrays[network.input].dtype == np.float64 else np.float32
    return {blob: np.ascontiguousarray(array, dtype) for blob, array in arrays.items()}


def shapes_of(inputs: Mapping[str, np.ndarray]) -> dict[str, Shape]:
    """Shapes of arrays by name."""
    return {blob: array.shape for blob, array in inputs.items()}


def listed(network: Network) -> str:
    """The inputs of a network and their shapes in one line."""
    return ", ".join(f"{blob} {shape}" for blob, shape in network.inputs.items())


def _by_blob(network: Network, x: Any) -> dict[str, Any]:
    """The given values by input blob, one for each."""
    if not isinstance(x, Mapping):
        if len(network.inputs) > 1:
            example = ", ".join(f"'{blob}': ..." for blob in network.inputs)
            raise OptionError(
                f"{network.name} has several inputs, {listed(network)}: give a dict of arrays, {{{example}}}"
            )
        return {network.input: x}
    blobs = {network.caffe_name(blob): blob for blob in network.inputs} | {blob: blob for blob in network.inputs}
    given: dict[str, Any] = {}
    for name, value in x.items():
        if name not in blobs:
            raise OptionError(f"{network.name} has no input '{name}'; its inputs are {listed(network)}")
        if blobs[name] in given:
            raise OptionError(f"the input '{blobs[name]}' is given twice, once as '{name}'")
        given[blobs[name]] = value
    missing = [blob for blob in network.inputs if blob not in given]
    if missing:
        raise OptionError(f"{network.name} has the inputs {listed(network)}, but {', '.join(missing)} is not given")
    return {blob: given[blob] for blob in network.inputs}


def _has_channels(network: Network, shape: Shape) -> bool:
    """Whether axis 1 are channels; sequences have the shape (T, N, ...), where both may differ."""
    return len(shape) == 4 or not any(isinstance(layer.params, Recurrent) for layer in network.layers)


def _numbers(network: Network, blob: str, value: Any) -> np.ndarray:
    """One input as an array of numbers that fits the blob."""
    what = "the input" if len(network.inputs) == 1 else f"the input '{blob}'"
    wanted = network.inputs[blob]
    try:
        array = np.asarray(value)
    except ValueError:  # lists of different lengths
        raise OptionError(f"{what} must be an array of numbers of shape {wanted}") from None
    if array.dtype.kind not in "fiub":
        raise OptionError(f"{what} must be an array of numbers, not of {array.dtype}")
    if array.ndim != len(wanted):
        raise OptionError(f"{what} must have {len(wanted)} axes like {blob} {wanted}, but its shape is {array.shape}")
    if array.shape[:1] == (0,):
        raise OptionError(f"{what} is an empty batch")
    if array.ndim > 1 and array.shape[1] != wanted[1] and _has_channels(network, wanted):
        raise OptionError(f"{what} takes {wanted[1]} channels like {blob} {wanted}, but its shape is {array.shape}")
    return array
