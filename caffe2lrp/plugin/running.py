"""NumPy functions of plug-ins as steps of a program."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, cast

import numpy as np

from caffe2lrp.engine.backward import RelevancePlan
from caffe2lrp.engine.plan import ForwardPlan
from caffe2lrp.ir import Layer
from caffe2lrp.plugin.blame import PluginError, blamed
from caffe2lrp.plugin.layer import OwnLayer


def add_forward(plan: ForwardPlan, layer: Layer) -> None:
    """Append `OwnLayer.forward` to a forward plan."""
    params = cast(OwnLayer, layer.params)
    inputs, weights = _read_only(plan.inputs(layer)), _weights(plan, layer)
    targets = [plan.output(layer, i) for i in range(len(layer.outputs))]
    _add(plan, layer, "forward", lambda: params.forward(inputs, weights), targets)


def add_backward(plan: RelevancePlan, layer: Layer, name: str) -> None:
    """Append `OwnLayer.relevance` or `OwnLayer.gradient` to a relevance plan."""
    values = plan.forward.values
    inputs, outputs = (_read_only([values[blob] for blob in blobs]) for blobs in (layer.inputs, layer.outputs))
    weights = _weights(plan.forward, layer)
    arriving = _read_only([plan.relevance[blob] for blob in layer.outputs])
    targets = [plan.into(blob) if blob in layer.value_inputs else None for blob in layer.inputs]
    method = getattr(layer.params, name)
    _add(plan, layer, name, lambda: method(inputs, weights, outputs, arriving), targets)


def _add(
    plan: ForwardPlan | RelevancePlan,
    layer: Layer,
    name: str,
    compute: Callable[[], np.ndarray | Sequence[np.ndarray]],
    targets: Sequence[np.ndarray | None],
) -> None:
    def run() -> None:
        what = f"{layer}: {name} of its plug-in"
        with blamed(what):
            found = compute()
            results = [found] if isinstance(found, np.ndarray) else list(found)
        if len(results) != len(targets):
            raise PluginError(f"{what} returned {len(results)} arrays where {len(targets)} are expected")
        for result, target in zip(results, targets, strict=True):
            if target is not None:
                _store(np.asarray(result), target, what)

    plan.program.add_python(run, layer.name)


def _store(result: np.ndarray, target: np.ndarray, what: str) -> None:
    if result.shape != target.shape:
        raise PluginError(f"{what} returned an array of shape {result.shape} where {target.shape} is expected")
    if result.dtype.kind not in "fiub":
        raise PluginError(f"{what} returned an array of {result.dtype} where numbers are expected")
    np.copyto(target, result, casting="unsafe")


def _weights(plan: ForwardPlan, layer: Layer) -> dict[str, np.ndarray]:
    names = list(layer.weights)
    return dict(zip(names, _read_only([plan.weight(layer, name) for name in names]), strict=True))


def _read_only(arrays: list[Any]) -> list[np.ndarray]:
    views = [array.view() for array in arrays]
    for view in views:
        view.flags.writeable = False
    return views
