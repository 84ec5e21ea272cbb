"""``caffe2lrp evaluate``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import typer

from caffe2lrp.cli.images import SUFFIXES, find_pictures
from caffe2lrp.cli.loading import open_network
from caffe2lrp.cli.options import ModelOptions, RuleOptions
from caffe2lrp.cli.running import make_folder
from caffe2lrp.cli.settings import read_settings
from caffe2lrp.cli.terminal import FAILED, Bar, error, print_json, print_table, say
from caffe2lrp.errors import Caffe2LrpError, ImageError
from caffe2lrp.evaluation.drawing import draw_curves
from caffe2lrp.evaluation.perturbation import Perturbation
from caffe2lrp.evaluation.study import ORDERS, Settings, Store, evaluate, images_to_run
from caffe2lrp.evaluation.summary import MEASURES, summarise, write_csv


@dataclass(frozen=True)
class EvaluateOptions:
    """How maps are judged, and where results go."""

    perturbation: Perturbation
    perturb: bool
    objects: Path | None
    out: Path
    restart: bool
    json: bool


def run(images: Sequence[str], model: ModelOptions, rules: RuleOptions, options: EvaluateOptions) -> None:
    """Evaluate rules and baselines on pictures."""
    methods = read_settings(rules.rules, rules.composites, rules.parameters)
    pictures, failed = find_pictures(images)
    problems = [failure.error for failure in failed]
    network = open_network(model)
    settings = Settings(methods, rules.lrn.value, options.perturbation, ORDERS if options.perturb else ())
    make_folder(options.out)
    file = options.out / "records.jsonl"
    if options.restart:
        file.unlink(missing_ok=True)
    store = Store(file, settings.to_dict(network))
    if store.records:
        say(f"goes on with the {len(store.records)} records in {file}")
    per_picture = images_to_run(network, settings) if pictures else 0
    with Bar(max(per_picture, 1) * len(pictures)) as bar:
        for i, picture in enumerate(pictures):
            bar.show(picture.path.name)
            try:
                evaluate(network, picture.path, _annotation(picture.path, options), settings, store, bar.step)
            except Caffe2LrpError as failure:
                problems.append(str(failure))
            bar.reach((i + 1) * max(per_picture, 1))
    _tell(store, network.name, options, problems)
    for problem in problems:
        error(problem)
    if problems:
        raise typer.Exit(FAILED)


def _annotation(photo: Path, options: EvaluateOptions) -> Path | None:
    """Boxes or mask of the photo: a file of its name in the folder of annotations."""
    if options.objects is None:
        return None
    for suffix in (".xml", *sorted(SUFFIXES)):
        found = options.objects / f"{photo.stem}{suffix}"
        if found.is_file():
            return found
    raise ImageError(f"there are no boxes and no mask for '{photo}' in '{options.objects}': {photo.stem}.xml or .png")


def _tell(store: Store, name: str, options: EvaluateOptions, problems: Sequence[str]) -> None:
    rows = summarise(store.records)
    files = []
    if store.records:
        files = [str(path) for path in write_csv(store.records, options.out)]
        if options.perturb:
            p = options.perturbation
            title = f"{name}: {p.region} x {p.region} pixels, {p.operator}, {rows[0]['images']} image(s)"
            draw_curves(store.records, options.out / "curves.png", title)
            files.append(str(options.out / "curves.png"))
    if options.json:
        print_json({"network": name, "methods": rows, "files": files, "errors": list(problems)})
        return
    present = [measure for measure in MEASURES if any(measure in row for row in rows)]
    print_table(
        ("method", ">images", *(f">{measure}" for measure in present)),
        [[row["method"], str(row["images"]), *(_cell(row.get(measure)) for measure in present)] for row in rows],
    )
    for path in files:
        print(path)


def _cell(value: Any) -> str:
    """``mean [low, high]``."""
    if value is None:
        return ""
    mean, low, high = value
    return f"{mean:.4g}" if np.isnan(low) else f"{mean:.4g} [{low:.4g}, {high:.4g}]"
