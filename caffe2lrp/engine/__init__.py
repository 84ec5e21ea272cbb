"""Running networks and explaining them: layers are lowered to programs of kernel calls.

One module for each layer family says how it is run (`@forward`) and how relevance goes through it
(`@relevance`); `plan` puts the pieces together and keeps what is computed once per network.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from caffe2lrp.errors import ModelError, OptionError
from caffe2lrp.ir import Network

__all__ = ["as_input", "forward"]


def as_input(network: Network, x: Any) -> np.ndarray:
    """Check an input (N, C, H, W) and bring it to float32 or float64; float64 stays what it is.

    Raises
    ------
    OptionError
        If the array is not numeric or has another number of axes or channels than the network's input.
    ModelError
        If the network has several inputs.
    """
    if len(network.inputs) > 1:
        raise ModelError(f"{network.name} has the inputs {', '.join(network.inputs)}; only one can be given")
    array = np.asarray(x)
    if array.dtype.kind not in "fiub":
        raise OptionError(f"the input must be an array of numbers, not of {array.dtype}")
    dtype = np.float64 if array.dtype == np.float64 else np.float32
    array = np.ascontiguousarray(array, dtype)
    wanted = network.input_shape
    if array.ndim != len(wanted):
        raise OptionError(
            f"the input must have {len(wanted)} axes like {network.input} {wanted}, but its shape is {array.shape}"
        )
    if array.shape[0] == 0:
        raise OptionError("the input is an empty batch")
    if array.ndim > 1 and array.shape[1] != wanted[1]:
        raise OptionError(f"{network.name} takes {wanted[1]} channels, but the input has the shape {array.shape}")
    return array


def forward(network: Network, x: Any, keep: str | Sequence[str] | None = None) -> dict[str, np.ndarray]:
    """Run a network.

    Parameters
    ----------
    network
        The network; it is fitted to the batch size and image size of `x`.
    x
        Input, (N, C, H, W), preprocessed. float64 runs everything in float64, anything else in float32.
    keep
        None returns the output blobs, ``"all"`` every blob by its Caffe name (its last value where layers
        run in place), a list the blobs of these names.

    Returns
    -------
    dict
        Arrays by blob name.

    Raises
    ------
    OptionError
        If the input does not fit or `keep` names an unknown blob.
    ModelError
        If the network cannot run at this input size.
    """
    from caffe2lrp.engine.plan import forward_plan

    array = as_input(network, x)
    names = _wanted(network, keep)
    plan = forward_plan(network, array.shape, array.dtype, frozenset(names))
    return plan.run(array, names)


def _wanted(network: Network, keep: str | Sequence[str] | None) -> list[str]:
    last = [blob for blob in network.shapes if network.caffe_name(blob) == blob]
    if keep is None:
        return list(network.outputs)
    if keep == "all":
        return last
    chosen = [keep] if isinstance(keep, str) else list(keep)
    for blob in chosen:
        if blob not in network.shapes:
            raise OptionError(f"{network.name} has no blob '{blob}'; its blobs are: {', '.join(last)}")
    return chosen
