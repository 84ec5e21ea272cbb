"""What a network says about a picture, as plain data and as rows of a table."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from caffe2lrp.classes import class_count, highest, label, unit
from caffe2lrp.ir import Network

_SHOWN = 16
"""Outputs of at most so many values are shown whole."""


def prediction(network: Network, values: Mapping[str, np.ndarray], top: int) -> dict[str, Any]:
    """The highest classes of one picture; or a summary of each output where outputs are no classes."""
    if class_count(network) is None:
        return {"outputs": {blob: _summary(values[blob]) for blob in network.outputs}}
    flat = values[network.outputs[0]].reshape(-1)
    name = unit(network)
    return {
        "classes": [
            {"index": i, "label": label(network, i, flat.size), name: float(flat[i])} for i in highest(flat, top)
        ]
    }


def _summary(values: np.ndarray) -> dict[str, Any]:
    summary = {
        "shape": list(values.shape),
        "min": float(values.min()),
        "max": float(values.max()),
        "mean": float(values.mean(dtype=np.float64)),
    }
    if values.size <= _SHOWN:
        summary["values"] = [float(v) for v in values.reshape(-1)]
    return summary


def prediction_rows(network: Network, predicted: Mapping[str, Any]) -> tuple[list[str], list[list[str]]]:
    """Headings and rows of a prediction for a table."""
    if "outputs" in predicted:
        columns = ["output", "shape", ">min", ">max", ">mean", "values"]
        return columns, [_output_row(name, summary) for name, summary in predicted["outputs"].items()]
    name = unit(network)
    number = "{:.4f}" if name == "probability" else "{:.4g}"
    rows = [[number.format(c[name]), str(c["index"]), c["label"] or ""] for c in predicted["classes"]]
    if all(row[2] in ("", row[1]) for row in rows):
        return [f">{name}", ">class"], [row[:2] for row in rows]
    return [f">{name}", ">class", "name"], rows


def _output_row(name: str, summary: Mapping[str, Any]) -> list[str]:
    shape = "x".join(map(str, summary["shape"]))
    numbers = [f"{summary[key]:.4g}" for key in ("min", "max", "mean")]
    return [name, shape, *numbers, " ".join(f"{value:.4g}" for value in summary.get("values", ()))]
