"""GoogLeNet's real weights on real photos, against the authors' implementation."""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import caffe2lrp
from caffe2lrp import Network

PHOTOS = ("cat1", "rooster1", "scooter1", "volcano2")

# What the reference calls a run -> how `explain` is asked for it.
RUNS: dict[str, dict[str, Any]] = {
    "eps1": {"rule": "epsilon", "epsilon": 1.0, "lrn": "toolbox"},
    "eps100": {"rule": "epsilon", "epsilon": 100.0, "lrn": "toolbox"},
    "eps0.01": {"rule": "epsilon", "epsilon": 0.01, "lrn": "toolbox"},
    "ab0": {"rule": "alphabeta", "beta": 0.0, "lrn": "toolbox"},
    "ab1": {"rule": "alphabeta", "beta": 1.0, "lrn": "toolbox"},
    "ab1_lrnid": {"rule": "alphabeta", "beta": 1.0, "lrn": "identity"},
    "eps1_lrnid": {"rule": "epsilon", "epsilon": 1.0, "lrn": "identity"},
    "layerdep100": {"composite": "toolbox_100", "lrn": "toolbox"},
}


@cache
def googlenet(shared: Path) -> Network:
    folder = shared / "models" / "bvlc_googlenet"
    return caffe2lrp.load(folder / "deploy.prototxt", folder / "bvlc_googlenet.caffemodel")


@cache
def photo(shared: Path, name: str) -> np.ndarray:
    """The crop as the reference prepared it: BGR, minus (104, 117, 123)."""
    pixels = np.asarray(Image.open(shared / "golden" / "photos_googlenet" / f"{name}.png").convert("RGB"))
    planes = pixels[:, :, ::-1].transpose(2, 0, 1).astype(np.float32)
    return planes[None] - np.array([104, 117, 123], np.float32)[:, None, None]


def expected(shared: Path, name: str) -> tuple[Any, int, list[dict[str, Any]]]:
    """The reference's arrays, class, and runs with their options."""
    folder = shared / "golden" / "photos_googlenet"
    (entry,) = [e for e in json.loads((folder / "runs.json").read_text()) if e["photo"] == f"{name}.png"]
    return np.load(folder / f"{name}.npz"), entry["class"], entry["runs"]


def assert_same_map(relevance: np.ndarray, npz: Any, run: str) -> None:
    """Relative L2 of 3e-3: near-ties of max pooling move relevance locally (golden/README.md)."""
    theirs = npz[f"chansum/{run}"]
    size = 3e-3 * np.linalg.norm(theirs)
    assert np.linalg.norm(relevance.sum(axis=0, dtype=np.float64) - theirs) <= size
    totals = relevance.sum(axis=(1, 2), dtype=np.float64)
    np.testing.assert_allclose(totals, npz[f"channel_totals/{run}"], rtol=0, atol=size)


@pytest.mark.parametrize("name", PHOTOS)
def test_probabilities(shared: Path, name: str) -> None:
    network = googlenet(shared)
    npz, target, _ = expected(shared, name)
    blobs = network.forward(photo(shared, name), keep=[network.outputs[0], "loss3/classifier"])
    probabilities = blobs[network.outputs[0]].ravel()
    assert probabilities.argmax() == npz["prob"].argmax() == target
    np.testing.assert_allclose(probabilities, npz["prob"], rtol=0, atol=1e-4)
    np.testing.assert_allclose(blobs["loss3/classifier"].ravel(), npz["logits"], rtol=0, atol=1e-3)


@pytest.mark.parametrize("name", PHOTOS)
def test_the_toolbox_by_its_options(shared: Path, name: str) -> None:
    npz, target, runs = expected(shared, name)
    assert len(runs) == 12
    for run in runs:
        options = {key: value for key, value in run.items() if key != "name"}
        e = caffe2lrp.toolbox.explain(googlenet(shared), photo(shared, name), target, **options)
        assert_same_map(e.relevance[0], npz, run["name"])


@pytest.mark.parametrize("name", PHOTOS)
@pytest.mark.parametrize("run", RUNS)
def test_the_same_by_rules_and_composites(shared: Path, name: str, run: str) -> None:
    npz, target, _ = expected(shared, name)
    e = caffe2lrp.explain(googlenet(shared), photo(shared, name), target, **RUNS[run])
    assert_same_map(e.relevance[0], npz, run)
    assert e.score[0] == pytest.approx(npz["logits"][target], abs=1e-3)
