"""The proof: a network on our kernels and its ONNX file in onnxruntime agree blob by blob, on the same inputs."""

from __future__ import annotations

import dataclasses
import math
import os
from collections.abc import Iterable, Mapping

import numpy as np

from caffe2lrp.converters.onnx.blobs import Blobs, NetworkBlobs, OnnxBlobs, StoredBlobs, random_inputs, return_memory
from caffe2lrp.converters.onnx.comparing import TOLERANCE, Difference, Report, compare, merged
from caffe2lrp.errors import ModelError, OptionError
from caffe2lrp.ir import Network

HALF_TOLERANCE = 2e-2
"""Of models in half precision, which has 11 bits."""

_IMAGES = 2  # random images; more than one, so that nothing that mixes them is missed
_LARGE = 64 << 20  # bytes of all blobs of an image, from which on one has to do


def verify(
    network: Network,
    path: str | os.PathLike[str],
    *batches: np.ndarray | Mapping[str, np.ndarray],
    tolerance: float | None = None,
    seed: int = 0,
) -> Report:
    """Run a network and its ONNX file and compare all blobs that both have.

    Parameters
    ----------
    network
        The network as it was read, also where the file was simplified.
    path
        The ONNX file.
    *batches
        Inputs, (N, C, H, W), or a dict of one array for each input blob; a file that begins with preprocessing takes
        RGB images, uint8, (N, H, W, 3). None are seeded random ones: between black and white where the network's
        preprocessing is known, else normal values.
    tolerance
        Largest difference in a blob, divided by the blob's largest value; None is 1e-4, and 2e-2 for models in half
        precision.
    seed
        Seed of the random inputs.

    Returns
    -------
    Report
        `Report.passed` is the verdict, `Report.first` the first blob that departs.

    Raises
    ------
    FileFormatError
        If the file is no ONNX model.
    ModelError
        If onnxruntime cannot run it, or it has nothing in common with the network.
    OptionError
        If an input does not fit.
    """
    ours, theirs = NetworkBlobs(network), OnnxBlobs(path)
    if tolerance is None:
        tolerance = HALF_TOLERANCE if theirs.half else TOLERANCE
    if not theirs.takes_images:
        ours.check_inputs(theirs.inputs)
    inputs = batches or (random_batch(network, theirs.batch, seed, images=theirs.takes_images),)
    reports = []
    for batch in inputs:
        for theirs_given in _pieces(batch, theirs):
            ours_given = _prepared(network, theirs_given, theirs.inputs[0]) if theirs.takes_images else theirs_given
            reports.append(_compared(ours, theirs, ours_given, theirs_given, tolerance))
    return merged(reports)


def random_batch(
    network: Network, n: int | None = None, seed: int = 0, *, images: bool = False
) -> dict[str, np.ndarray] | np.ndarray:
    """Seeded random inputs for `verify`, of `n` images.

    None are two, or one if its blobs are large, or the network's own number if that is fixed.
    """
    from caffe2lrp.converters.onnx.export import closed_batch

    if n is None and closed_batch(network) is None:
        size = sum(4 * math.prod(shape) for shape in network.with_batch(1).shapes.values())
        n = _IMAGES if size < _LARGE else 1
    if not images:
        return random_inputs(network, seed, n)
    _, _, height, width = network.input_shape
    shape = (n or network.input_shape[0], height, width, 3)
    return np.random.default_rng(seed).integers(0, 256, shape, np.uint8)


def _pieces(batch: np.ndarray | Mapping[str, np.ndarray], model: OnnxBlobs) -> list[dict[str, np.ndarray]]:
    """A batch as dicts of the size that the model takes; the last one is filled up with its first images."""
    given = dict(batch) if isinstance(batch, Mapping) else {model.inputs[0]: np.asarray(batch)}
    model.check_inputs(list(given))
    size = model.batch
    shape = np.shape(given[model.inputs[0]])
    if not shape or not shape[0]:
        raise OptionError(f"the input '{model.inputs[0]}' is an empty batch")
    count = shape[0]
    if size is None or size == count or len(given) > 1:
        return [given]
    ((name, array),) = given.items()
    return [{name: array[np.arange(start, start + size) % count]} for start in range(0, count, size)]


def _prepared(network: Network, images: Mapping[str, np.ndarray], name: str) -> dict[str, np.ndarray]:
    """The input blob that the network's own preprocessing makes of images of its input size."""
    preprocessing = network.preprocessing
    if preprocessing is None:
        raise OptionError(
            f"the model begins with preprocessing (its input is '{name}'), but that of {network.name} is not known"
        )
    whole = dataclasses.replace(preprocessing, resize=("stretch", None))  # neither resized nor cropped
    rest = {blob: array for blob, array in images.items() if blob != name}
    return {network.input: whole(images[name], network.input_shape), **rest}


def _compared(
    ours: NetworkBlobs, theirs: OnnxBlobs, ours_given: Blobs, theirs_given: Blobs, tolerance: float
) -> Report:
    outputs = [blob for blob in ours.network.outputs if blob in theirs.outputs]
    if not outputs:
        raise ModelError(f"{theirs.title} has no output of {ours.title}: it is another network's")
    return_memory()
    optimised = theirs.run_optimised(theirs_given)  # first, while there are no blobs: it needs all weights at once
    blobs = {**ours_given, **ours.run(ours_given)}
    order = list(blobs)
    as_optimised = compare(blobs, optimised, outputs, ours.origins)
    found: dict[str, Difference] = {}
    written: list[str] = []
    for part in theirs.stretches(theirs_given):
        return_memory()
        names = [blob for blob in part if blob in blobs]
        first = {blob: blobs.pop(blob) for blob in names}  # blobs of a large network would fill the memory
        found |= {d.blob: d for d in compare(first, part, names, ours.origins)}
        written += part
    differences = tuple(found[blob] for blob in order if blob in found)
    return Report(differences, tolerance, as_optimised, only(order, written))


def only(first: Iterable[str], second: Iterable[str]) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names of blobs that only the first and only the second has."""
    a, b = dict.fromkeys(first), dict.fromkeys(second)
    return tuple(name for name in a if name not in b), tuple(name for name in b if name not in a)


Side = Network | OnnxBlobs | StoredBlobs


def diff(first: Side, second: Side, *, tolerance: float = TOLERANCE, seed: int = 0) -> Report:
    """Compare any two of networks, ONNX models and folders of stored blobs, on the same inputs.

    Parameters
    ----------
    first, second
        What is compared. If one is a folder, its stored inputs are used, else seeded random ones.
    tolerance
        Largest difference in a blob, divided by the blob's largest value in `first`.
    seed
        Seed of random inputs.

    Raises
    ------
    ModelError
        If the two have no blob in common, or one cannot be run.
    OptionError
        If their inputs have different names.
    FileFormatError
        If a folder lacks the input, or holds something else than arrays.
    """
    a, b = (NetworkBlobs(side) if isinstance(side, Network) else side for side in (first, second))
    runnable = [side for side in (a, b) if not isinstance(side, StoredBlobs)]
    inputs: Blobs = {}
    if runnable:
        stored = next((side for side in (a, b) if isinstance(side, StoredBlobs)), None)
        wanted = runnable[0].network.inputs if isinstance(runnable[0], NetworkBlobs) else runnable[0].inputs
        sizes = [side.batch for side in runnable if isinstance(side, OnnxBlobs) and side.batch is not None]
        n = sizes[0] if sizes else None
        inputs = runnable[0].random_inputs(seed, n) if stored is None else stored.inputs(list(wanted))
        for side in runnable:
            side.check_inputs(list(inputs))
    of_a, of_b = (side if isinstance(side, StoredBlobs) else side.run(inputs) for side in (a, b))
    order = of_b if isinstance(a, StoredBlobs) else of_a
    names = [blob for blob in order if blob in of_a and blob in of_b and blob not in inputs]
    if not names:
        raise ModelError(f"{a.title} and {b.title} have no blob in common: {_few(of_a)}; {_few(of_b)}")
    origins = next((side.origins for side in runnable), {})
    return Report(compare(of_a, of_b, names, origins), tolerance, (), only(of_a, of_b))


def _few(blobs: Blobs) -> str:
    names = list(blobs)
    return ", ".join(names[:4]) + (", ..." if len(names) > 4 else "")
