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


def expected(shared: Path, name: str) -> tuple[Any, int]:
    """The reference's arrays and class."""
    folder = shared / "golden" / "photos_googlenet"
    (entry,) = [e for e in json.loads((folder / "runs.json").read_text()) if e["photo"] == f"{name}.png"]
    assert set(RUNS) <= {run["name"] for run in entry["runs"]}
    return np.load(folder / f"{name}.npz"), entry["class"]


@pytest.mark.parametrize("name", PHOTOS)
def test_probabilities(shared: Path, name: str) -> None:
    network = googlenet(shared)
    npz, target = expected(shared, name)
    blobs = network.forward(photo(shared, name), keep=[network.outputs[0], "loss3/classifier"])
    probabilities = blobs[network.outputs[0]].ravel()
    assert probabilities.argmax() == npz["prob"].argmax() == target
    np.testing.assert_allclose(probabilities, npz["prob"], rtol=0, atol=1e-4)
    np.testing.assert_allclose(blobs["loss3/classifier"].ravel(), npz["logits"], rtol=0, atol=1e-3)


@pytest.mark.parametrize("name", PHOTOS)
@pytest.mark.parametrize("run", RUNS)
def test_relevance(shared: Path, name: str, run: str) -> None:
    npz, target = expected(shared, name)
    e = caffe2lrp.explain(googlenet(shared), photo(shared, name), target, **RUNS[run])
    theirs = npz[f"chansum/{run}"]
    difference = e.relevance[0].sum(axis=0, dtype=np.float64) - theirs
    assert np.linalg.norm(difference) <= 3e-3 * np.linalg.norm(theirs)
    totals = npz[f"channel_totals/{run}"]
    np.testing.assert_allclose(
        e.relevance[0].sum(axis=(1, 2), dtype=np.float64), totals, rtol=0, atol=3e-3 * np.linalg.norm(theirs)
    )
    assert e.score[0] == pytest.approx(npz["logits"][target], abs=1e-3)


@pytest.mark.parametrize("name", PHOTOS)
def test_composite(shared: Path, name: str) -> None:
    """Formula 100 of the reference is alpha-beta on convolutions and epsilon = 1 on the fully connected layer."""
    from caffe2lrp import composites, rules

    npz, target = expected(shared, name)
    table = (("convolution", rules.alphabeta(1.0)), ("dense", rules.epsilon(1.0)))
    e = caffe2lrp.explain(
        googlenet(shared), photo(shared, name), target, composite=composites.Composite("100", table), lrn="toolbox"
    )
    theirs = npz["chansum/layerdep100"]
    difference = e.relevance[0].sum(axis=0, dtype=np.float64) - theirs
    assert np.linalg.norm(difference) <= 3e-3 * np.linalg.norm(theirs)
