"""Every reference run of the authors' implementation, in float64 and float32."""

from __future__ import annotations

import json
from dataclasses import fields
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from caffe2lrp import toolbox
from tests.golden import golden_network

TINY = (
    *("tiny_avepool", "tiny_conv", "tiny_fc", "tiny_group", "tiny_inception", "tiny_lrn_across"),
    *("tiny_lrn_within", "tiny_maxpool", "tiny_notinplace", "tiny_signed"),
)
LARGE = ("bvlc_reference_caffenet", "bvlc_googlenet")
NAMES = {f.name for f in fields(toolbox.Options)}

network = cache(golden_network)


def explained(net: Any, run: dict[str, Any]) -> np.ndarray:
    """Relevance of a run, called as the reference was."""
    options = {key: value for key, value in run.items() if key in NAMES}
    mean = net.imagemean if run["uses_imagemean"] else None
    return toolbox.explain(net.network, net.x, target=run["class"], imagemean=mean, **options).relevance


def error(mine: np.ndarray, theirs: np.ndarray) -> float:
    """Largest difference relative to the largest value."""
    return float(np.abs(mine - theirs).max() / max(np.abs(theirs).max(), 1e-300))


@pytest.mark.parametrize("name", TINY)
def test_tiny_nets_in_float64(shared: Path, name: str) -> None:
    net = network(shared, name, np.float64)
    errors = {run["name"]: error(explained(net, run), net.npz[f"rel64/{run['name']}"]) for run in net.runs}
    assert len(errors) == len(net.runs) >= 36
    assert {key: value for key, value in errors.items() if not value <= 1e-10} == {}


@pytest.mark.parametrize("name", TINY)
def test_tiny_nets_in_float32(shared: Path, name: str) -> None:
    net = network(shared, name, np.float32)
    errors = {run["name"]: error(explained(net, run), net.npz[f"rel/{run['name']}"]) for run in net.runs}
    limits = {run["name"]: max(1e-5, 4 * run["float32_vs_float64"]["max_abs_diff_over_abs_max"]) for run in net.runs}
    assert {key: value for key, value in errors.items() if not value <= limits[key]} == {}


@pytest.mark.parametrize("name", LARGE)
def test_large_nets_in_float64(shared: Path, name: str) -> None:
    net = network(shared, name, np.float64)
    bad = {}
    for run in net.runs:
        relevance, key = explained(net, run)[0], run["name"]
        samples = relevance.reshape(-1)[net.npz["sample_index"]]
        scale = run["abs_max"]
        found = [
            np.abs(samples - net.npz[f"samples64/{key}"]).max() / scale,
            np.abs(relevance.sum(axis=(1, 2)) - net.npz[f"channel_totals64/{key}"]).max() / np.abs(relevance).sum(),
        ]
        if f"chansum64/{key}" in net.npz:  # stored as float32
            total = relevance.sum(axis=0)
            found.append(error(total.astype(np.float32), net.npz[f"chansum64/{key}"]) * 1e-3)
        if not max(found) <= 1e-10:
            bad[key] = found
    assert bad == {}


@pytest.mark.parametrize("name", LARGE)
def test_large_nets_in_float32(shared: Path, name: str) -> None:
    net = network(shared, name, np.float32)
    bad = {}
    for run in net.runs:
        mine, theirs = explained(net, run)[0].sum(axis=0), net.npz[f"chansum/{run['name']}"]
        distance = np.linalg.norm(mine - theirs) / np.linalg.norm(theirs)
        # near-ties of GoogLeNet's max pooling move relevance locally (golden/README.md)
        limit = 3e-3 if name == "bvlc_googlenet" else 2e-4
        if not distance <= max(limit, 4 * run["float32_vs_float64"]["l2_rel"]):
            bad[run["name"]] = distance
    assert bad == {}


@pytest.mark.parametrize("name", [*TINY, *LARGE])
def test_layer_indices_are_counted_as_the_reference_counts_them(shared: Path, name: str) -> None:
    theirs = json.loads((shared / "golden" / f"{name}.json").read_text())["layers"]
    mine = toolbox.steps(network(shared, name, np.float32).network)
    assert [(step.name, step.type) for step in mine] == [(layer["name"], layer["type"]) for layer in theirs]
