"""Means over images with confidence intervals, as rows and as CSV."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from caffe2lrp.errors import OptionError
from caffe2lrp.evaluation.study import CHANCE, ORDERS, Record

_RESAMPLES = 2000
MEASURES = ("aopc", "abpc", "mass", "rank", "entropy", "file_size")
"""Columns of the summary: perturbation (higher is better), localisation (higher), complexity (lower)."""


def measures(record: Record) -> dict[str, float]:
    """The numbers of one image and method that there are."""
    found: dict[str, float] = {}
    if "morf" in record:
        found["aopc"] = record["morf"]["aopc"]
    if "morf" in record and "lerf" in record:
        found["abpc"] = record["morf"]["aopc"] - record["lerf"]["aopc"]
    found.update({name: record[name] for name in ("mass", "rank", "entropy", "file_size") if name in record})
    return found


def interval(values: Sequence[float], seed: int = 0) -> tuple[float, float, float]:
    """Mean and 95 % bootstrap interval over images (percentiles of 2,000 resamples); NaN for the ends of one image."""
    array = np.asarray([v for v in values if np.isfinite(v)])
    if not array.size:
        return (float("nan"),) * 3
    if array.size == 1:
        return float(array[0]), float("nan"), float("nan")
    rng = np.random.default_rng(seed)
    means = array[rng.integers(0, array.size, (_RESAMPLES, array.size))].mean(axis=1)
    low, high = np.percentile(means, (2.5, 97.5))
    return float(array.mean()), float(low), float(high)


def summarise(records: Sequence[Record]) -> list[dict[str, Any]]:
    """One row for each method, best AOPC first: its name, number of images, and [mean, low, high] by measure."""
    methods = dict.fromkeys(record["method"] for record in records)
    rows: list[dict[str, Any]] = []
    for method in methods:
        mine = [measures(record) for record in records if record["method"] == method]
        row: dict[str, Any] = {"method": method, "images": len(mine)}
        for name in MEASURES:
            values = [numbers[name] for numbers in mine if name in numbers]
            if values:
                row[name] = interval(values)
        rows.append(row)
    return sorted(rows, key=lambda row: -row["aopc"][0] if "aopc" in row else 0.0)


def mean_curve(records: Sequence[Record], method: str, order: str) -> np.ndarray | None:
    """Mean over images of f(xk) - f(x0) along the steps, as far as all images go; None where there is none."""
    curves = [np.asarray(r[order]["curve"]) for r in records if r["method"] == method and order in r]
    if not curves:
        return None
    length = min(map(len, curves))
    return np.mean([c[:length] - c[0] for c in curves], axis=0)


def write_csv(records: Sequence[Record], folder: Path) -> list[Path]:
    """Write ``images.csv`` (one row for each image and method) and ``curves.csv`` (mean curves)."""
    images = [["image", "sha256", "class", "score", "method", *MEASURES]]
    for record in records:
        numbers = measures(record)
        head = [record["image"], record["sha256"], record["target"], record["score"], record["method"]]
        images.append([*head, *(numbers.get(name, "") for name in MEASURES)])
    curves = [["method", "order", "step", "score difference"]]
    for method in dict.fromkeys(record["method"] for record in records):
        for order in ORDERS:
            mean = mean_curve(records, method, order)
            if mean is not None:
                name = CHANCE if method == CHANCE else order
                curves += [[method, name, str(k), repr(float(v))] for k, v in enumerate(mean)]
    paths = []
    for name, rows in (("images.csv", images), ("curves.csv", curves)):
        try:
            with (folder / name).open("w", newline="", encoding="utf-8") as file:
                csv.writer(file).writerows(rows)
        except OSError as error:
            raise OptionError(f"cannot write '{folder / name}': {error.strerror or error}") from None
        paths.append(folder / name)
    return paths
