"""``caffe2lrp inspect``."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from caffe2lrp.cli.loading import open_definition
from caffe2lrp.cli.options import ModelOptions
from caffe2lrp.cli.terminal import one_line, print_json, print_table
from caffe2lrp.ir import Layer, Network


def run(files: Sequence[Path], options: ModelOptions, batch: int | None, *, as_json: bool) -> None:
    """Print a net's layers, totals and notes."""
    network = open_definition(options, files)
    if batch is not None:
        network = network.with_batch(batch)
    facts = describe(network)
    if as_json:
        print_json(facts)
    else:
        _print(facts)


def describe(network: Network) -> dict[str, Any]:
    """A network as plain data."""
    return {
        "name": network.name,
        "inputs": {blob: list(shape) for blob, shape in network.inputs.items()},
        "outputs": {blob: list(network.shapes[blob]) for blob in network.outputs},
        "layers": [_layer(network, layer) for layer in network.layers],
        "totals": {
            "layers": len(network.layers),
            "parameters": network.parameter_count,
            "multiply_adds": network.multiply_adds,
        },
        "notes": list(network.notes),
    }


def _layer(network: Network, layer: Layer) -> dict[str, Any]:
    shapes = network.shapes
    work = layer.params.multiply_adds([shapes[b] for b in layer.inputs], [shapes[b] for b in layer.outputs])
    return {
        "name": layer.name,
        "type": layer.type,
        "settings": str(layer.params).partition(" ")[2],
        "inputs": [network.caffe_name(blob) for blob in layer.inputs],
        "outputs": [network.caffe_name(blob) for blob in layer.outputs],
        "shapes": [list(shapes[blob]) for blob in layer.outputs],
        "parameters": sum(int(array.size) for array in layer.weights.values()),
        "multiply_adds": work,
        "file": layer.origin.file,
        "line": layer.origin.line,
    }


def _print(facts: dict[str, Any]) -> None:
    print(facts["name"] or "(no name)")
    for kind in ("inputs", "outputs"):
        blobs = ", ".join(f"{blob} {_shape(shape)}" for blob, shape in facts[kind].items())
        print(f"{kind.removesuffix('s')}: {blobs}")
    names = {_file(layer) for layer in facts["layers"]}
    if len(names) == 1:
        print(f"defined in: {names.pop()}")
    print()
    many = bool(names)  # else the line alone tells the place
    columns = ("layer", "type", "output", ">parameters", ">multiply-adds", "place" if many else ">line")
    print_table(columns, [_row(layer, many) for layer in facts["layers"]])
    totals = facts["totals"]
    images = next(iter(facts["inputs"].values()))[0]
    print()
    print(
        f"{totals['layers']} layers, {totals['parameters']:,} parameters, {totals['multiply_adds']:,} multiply-adds "
        f"for {images} image{'s' if images > 1 else ''}"
    )
    for note in facts["notes"]:
        print(f"note: {one_line(note)}")


def _file(layer: dict[str, Any]) -> str:
    return "" if layer["file"] is None else os.path.basename(layer["file"])


def _row(layer: dict[str, Any], with_file: bool) -> list[str]:
    line = "" if layer["line"] is None else str(layer["line"])
    place = ":".join(part for part in (_file(layer), line) if part) if with_file else line
    counts = [f"{layer[key]:,}" if layer[key] else "" for key in ("parameters", "multiply_adds")]
    return [layer["name"], layer["type"], ", ".join(map(_shape, layer["shapes"])), *counts, place]


def _shape(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape)) or "1 number"
