"""Running networks and explaining them: layers are lowered to programs of kernel calls.

One module for each layer family says how it is run (`@forward`) and how relevance goes through it
(`@relevance`); `plan` puts the pieces together and keeps what is computed once per network.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from caffe2lrp.engine.inputs import as_inputs, shapes_of
from caffe2lrp.errors import OptionError
from caffe2lrp.ir import Network

__all__ = ["as_inputs", "forward"]


def forward(network: Network, x: Any, keep: str | Sequence[str] | None = None) -> dict[str, np.ndarray]:
    """Run a network.

    Parameters
    ----------
    network
        The network; it is fitted to the batch size and image size of `x`.
    x
        Input, (N, C, H, W), preprocessed, or a dict of one array for each input blob. float64 (of the first input)
        runs everything in float64, anything else in float32.
    keep
        None returns the output blobs, ``"all"`` every blob by its Caffe name (its last value where layers
        run in place), a list the blobs of these names.

    Returns
    -------
    dict
        Arrays by blob name; a network may have several outputs.

    Raises
    ------
    OptionError
        If the input does not fit or `keep` names an unknown blob.
    ModelError
        If the network cannot run at this input size.
    """
    from caffe2lrp.engine.stages import batch_plan

    inputs = as_inputs(network, x)
    names = _wanted(network, keep)
    plan = batch_plan(network, shapes_of(inputs), inputs[network.input].dtype, frozenset(names))
    return plan.run(inputs, names)


def _wanted(network: Network, keep: str | Sequence[str] | None) -> list[str]:
    if keep is None:
        return list(network.outputs)
    last = [blob for blob in network.shapes if network.caffe_name(blob) == blob]
    if keep == "all":
        return last
    chosen = [keep] if isinstance(keep, str) else list(keep)
    for blob in chosen:
        if blob not in network.shapes:
            raise OptionError(f"{network.name} has no blob '{blob}'; its blobs are: {', '.join(last)}")
    return chosen
