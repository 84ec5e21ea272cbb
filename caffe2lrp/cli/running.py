"""What `explain` and `predict` share: going through pictures, of which one that fails does not lose the others."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import typer

from caffe2lrp.cli.images import Failure, Picture, find_pictures
from caffe2lrp.cli.loading import open_network
from caffe2lrp.cli.options import ModelOptions, Precision
from caffe2lrp.cli.terminal import FAILED, Bar, error
from caffe2lrp.engine.session import Session
from caffe2lrp.errors import ImageError, OptionError
from caffe2lrp.ir import Network
from caffe2lrp.preprocessing import Prepared

Work = Callable[[Picture, Prepared, Session], dict[str, Any]]
"""Deals with one picture and returns what the report says about it."""


def run_pictures(
    images: Sequence[str],
    options: ModelOptions,
    precision: Precision,
    begin: Callable[[Network], tuple[Work, Callable[[dict[str, Any]], None]]],
    finish: Callable[[Network, list[dict[str, Any]], list[dict[str, str]]], None],
) -> None:
    """Open the network and go through the pictures.

    Parameters
    ----------
    images, options, precision
        What the user asked for.
    begin
        Checks options against the network; returns the work for a picture, and what shows its outcome.
    finish
        Called in the end with all outcomes, and the pictures that failed.

    Raises
    ------
    typer.Exit
        If a picture failed.
    """
    pictures, failures = find_pictures(images)
    with Bar(len(pictures)) as bar:
        bar.show("loading the network")
        network = open_network(options)
        work, show = begin(network)
        results = []
        for picture in pictures:
            bar.show(picture.path.name)
            try:
                result = _deal_with(picture, network, precision, work)
            except ImageError as problem:
                failures.append(Failure(str(picture.path), str(problem)))
            else:
                results.append(result)
                with bar.aside():
                    show(result)
            bar.step()
    finish(network, results, [{"image": failure.image, "error": failure.error} for failure in failures])
    for failure in failures:
        error(failure.error)
    if failures:
        raise typer.Exit(FAILED)


def _deal_with(picture: Picture, network: Network, precision: Precision, work: Work) -> dict[str, Any]:
    assert network.preprocessing is not None  # open_network sees to it
    prepared = network.preprocessing.prepare(picture.path, network.input_shape)
    session = Session(network, prepared.blob.astype(np.dtype(precision.value), copy=False))
    return {"image": str(picture.path), **work(picture, prepared, session)}


def make_folder(folder: Path) -> None:
    """Make a folder for results, unless it is there."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as problem:
        raise OptionError(f"cannot make the folder '{folder}': {problem.strerror or problem}") from None


def values_of(session: Session, blobs: Sequence[str]) -> dict[str, np.ndarray]:
    """Copies of blobs of the forward pass, which explanations of the same session share."""
    with session.values() as values:
        return {blob: values[blob].copy() for blob in blobs if blob in values}
