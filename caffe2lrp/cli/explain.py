"""``caffe2lrp explain``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from caffe2lrp.classes import label, probability
from caffe2lrp.cli.drawing import write_array, write_blob, write_layers, write_montage, write_pictures, write_sheet
from caffe2lrp.cli.images import Picture
from caffe2lrp.cli.options import ExplainOptions, ModelOptions, Precision, RuleOptions
from caffe2lrp.cli.prediction import prediction, prediction_rows
from caffe2lrp.cli.running import make_folder, run_pictures, values_of
from caffe2lrp.cli.settings import read_settings, slug
from caffe2lrp.cli.targets import Targets
from caffe2lrp.cli.terminal import print_json, print_table
from caffe2lrp.composites import Composite
from caffe2lrp.conservation import Account
from caffe2lrp.engine.session import Session
from caffe2lrp.errors import OptionError
from caffe2lrp.explanation import Explanation, start_blob
from caffe2lrp.ir import Network
from caffe2lrp.layers.base import count
from caffe2lrp.layers.lrn import LRN
from caffe2lrp.pictures import Row, Strip
from caffe2lrp.preprocessing import Prepared

SHOWN_CLASSES = 5
COLUMNS = ("bias", "epsilon", "dropped", "other")
"""Where relevance can be lost on its way."""


def run(
    images: Sequence[str],
    model: ModelOptions,
    rules: RuleOptions,
    options: ExplainOptions,
    precision: Precision,
) -> None:
    """Explain pictures, write heat maps and print what was explained."""
    # Misspelt names must not cost loading a network first.
    settings = read_settings(rules.rules, rules.composites, rules.parameters)
    options.style.check()
    if rules.channels and rules.through is None:
        raise OptionError("--channel goes with --through BLOB")
    if options.layers and options.account is False:
        raise OptionError("--layers needs the account: leave --no-account out")
    strips: list[Strip] = []

    def begin(network: Network) -> Any:
        job = _job(network, settings, rules, options, strips)
        return job.explain, (lambda result: None) if options.json else job.show

    def finish(network: Network, results: list[dict[str, Any]], errors: list[dict[str, str]]) -> None:
        names = [composite.name for composite in settings]
        pages = {}
        if len(settings) > 1 and strips:
            pages["montage"] = str(options.out / "montage.png")
            title = f"{network.name or 'the network'}, LRN {rules.lrn.value}" if network.has(LRN) else network.name
            write_montage(options.out / "montage.png", strips, names, title, options.style)
        if options.json:
            setting = {"network": network.name, "rules": names, "lrn": rules.lrn.value, **pages}
            print_json({**setting, "images": results, "errors": errors})
        elif pages:
            print(f"all together: {pages['montage']}")

    run_pictures(images, model, precision, begin, finish)


@dataclass(frozen=True)
class _Job:
    """What is the same for all pictures."""

    network: Network
    settings: Sequence[Composite]
    rules: RuleOptions
    options: ExplainOptions
    blob: str
    count: int
    targets: Targets
    against: Targets | None
    strips: list[Strip]

    def explain(self, picture: Picture, prepared: Prepared, session: Session) -> dict[str, Any]:
        """Explain one picture, write the files, and return what there is to say."""
        values = values_of(session, [*self.network.outputs, self.blob])
        if self.blob not in values:
            raise OptionError(f"'{self.blob}' cannot be started at: its layer is merged with the affine one behind it")
        outputs = values[self.blob].reshape(-1)
        entries, rows = [], []
        indices = self.targets.of(outputs)
        for index in indices:
            others = self.against.against(index, outputs) if self.against is not None else []
            score = float(outputs[index]) - (float(outputs[others].mean(dtype=np.float64)) if others else 0.0)
            likely = probability(self.network, values, index) if self.rules.layer is None else None
            heatmaps = []
            for composite in self.settings:
                explanation = self._explain(session, composite, index, others)
                own = score if self.rules.through is None else float(explanation.score[0])  # what a rule lets through
                files = self._write(picture, prepared, explanation, index, composite)
                entries.append(self._entry(explanation, index, own, likely, files))
                rows.append(self._row(prepared, explanation, index, own, likely))
                heatmaps.append(self.options.style.heatmap(explanation.relevance[0]))
            if len(self.settings) > 1:
                label = f"{picture.path.name}: {self._what(index, others)}"
                self.strips.append(
                    Strip(
                        Image.fromarray(prepared.view), heatmaps, label, score if self.rules.through is None else None
                    )
                )
        name = str(indices[0]) if len(indices) == 1 else self.targets.name
        sheet = self._path(picture, f"{name}{self._suffix()}.sheet.png")
        title = f"{picture.path.name} explained by {self.network.name or 'the network'}"
        write_sheet(sheet, rows, title, self.options.style)
        predicted = prediction(self.network, values, SHOWN_CLASSES)
        return {"prediction": predicted, "explanations": entries, "sheet": str(sheet)}

    def _explain(self, session: Session, composite: Composite, index: int, others: list[int]) -> Explanation:
        return session.explain(
            index,
            against=others or None,
            keep=self.options.keep,
            through=self.rules.through,
            channel=self.rules.channels or None,
            composite=composite,
            layer=self.blob,
            lrn=self.rules.lrn.value,
            start=self.rules.start.value if self.rules.start else None,
            account=self._accounted(composite),
        )

    def _accounted(self, composite: Composite) -> bool:
        """Gradients conserve nothing: they get an account only where it is asked for."""
        asked = self.options.account
        return not composite.derivative if asked is None else asked and composite.sampling is None

    def _write(
        self, picture: Picture, prepared: Prepared, explanation: Explanation, index: int, composite: Composite
    ) -> dict[str, str]:
        end = f"{index}{self._suffix()}" + (f".{slug(composite)}" if len(self.settings) > 1 else "")
        path, relevance = self._path(picture, end), explanation.relevance[0]
        files = write_pictures(path, prepared.view, relevance, self.options.style)
        files |= write_array(path, relevance)
        if self.options.layers and explanation.account is not None and not composite.derivative:
            files |= write_layers(path, explanation.account, f"{picture.path.name}: relevance below each layer")
        for blob, inner in explanation.blobs.items():
            files |= write_blob(path, blob, inner[0], self.options.style)
        return files

    def _suffix(self) -> str:
        """What the name of a file tells besides the class: ``-against-281``, ``-through-inception_4a_output-222``."""
        against = "" if self.against is None else f"-against-{self.against.name}"
        if self.rules.through is None:
            return against
        return "-".join([f"{against}-through", _plain(self.rules.through), *map(str, self.rules.channels)])

    def _path(self, picture: Picture, end: str) -> Path:
        """Classes are named by number; values of another blob by its name, too."""
        blob = "" if self.rules.layer is None else f"{_plain(self.blob)}-"
        return self.options.out / f"{picture.name}.{blob}{end}"

    def _row(self, prepared: Prepared, explanation: Explanation, index: int, score: float, likely: float | None) -> Row:
        name = label(self.network, index, self.count)
        detail = [f"class {index}"] if name and self.rules.layer is None else []
        if likely is not None:
            detail.append(f"probability {likely:.4f}")
        detail.append(explanation.rule)
        if self.network.has(LRN):
            detail.append(f"LRN {self.rules.lrn.value}")
        if self.rules.through is not None:
            detail.append(f"through {self.rules.through} {' '.join(map(str, self.rules.channels))}".rstrip())
        others = explanation.against[0] if explanation.against else []
        return Row(prepared.view, explanation.relevance[0], self._what(index, others), score, ", ".join(detail))

    def _what(self, index: int, others: Sequence[int]) -> str:
        names = [self._class_name(other) for other in others]
        return self._class_name(index) + (f" against {' and '.join(names)}" if names else "")

    def _class_name(self, index: int) -> str:
        number = f"class {index}" if self.rules.layer is None else f"{self.blob} {index}"
        return label(self.network, index, self.count) or number

    def _entry(
        self, explanation: Explanation, index: int, score: float, likely: float | None, files: dict[str, str]
    ) -> dict[str, Any]:
        entry: dict[str, Any] = {
            "target": index,
            "label": label(self.network, index, self.count),
            "rule": explanation.rule,
            "blob": self.blob,
            "score": score,
            "probability": likely,
        }
        if explanation.against is not None:
            entry["against"] = explanation.against[0]
        if self.rules.through is not None:
            entry |= {"through": self.rules.through, "channels": list(self.rules.channels)}
        if explanation.account is not None:
            entry["relevance"] = _sums(explanation.account)
            if self.options.account:
                entry["layers"] = explanation.account.to_dict()["layers"]
        return {**entry, "files": files}

    # -- text --------------------------------------------------------------------------------------

    def show(self, result: dict[str, Any]) -> None:
        """Print what there is to say about one picture."""
        print(result["image"])
        print_table(*prediction_rows(self.network, result["prediction"]), indent=2)
        accounted = [entry for entry in result["explanations"] if "relevance" in entry]
        if accounted:
            print()
            columns = ("explained", "by", ">start", *(f">{name}" for name in COLUMNS), ">arrived")
            print_table(columns, [self._sum_row(entry) for entry in accounted], indent=2)
        if self.options.account:
            for entry in accounted:
                _print_layers(f"{self._name(entry)} by {entry['rule']}", entry["layers"])
        print()
        for line in _written(result):
            print(f"  {line}")
        print()

    def _name(self, entry: dict[str, Any]) -> str:
        number, name = str(entry["target"]), entry["label"]
        against = f" against {' and '.join(map(str, entry['against']))}" if "against" in entry else ""
        return (number if name in (None, number) else f"{number} {name}") + against

    def _sum_row(self, entry: dict[str, Any]) -> list[str]:
        sums = entry["relevance"]
        return [self._name(entry), entry["rule"], *(_number(sums[key]) for key in ("start", *COLUMNS, "arrived"))]


def _job(
    network: Network, settings: Sequence[Composite], rules: RuleOptions, options: ExplainOptions, strips: list[Strip]
) -> _Job:
    """Check the options against the network, before the first picture."""
    blob = start_blob(network, rules.layer)
    size = count(network.shapes[blob], 1)
    labels = network.labels if network.labels is not None and len(network.labels) == size else None
    targets = Targets(options.targets, size, labels)
    against = Targets(options.against, size, labels, "--against") if options.against else None
    make_folder(options.out)
    return _Job(network, settings, rules, options, blob, size, targets, against, strips)


def _sums(account: Account) -> dict[str, float]:
    return {"start": account.start, **{name: account.total(name) for name in COLUMNS}, "arrived": account.arrived}


def _print_layers(title: str, layers: Sequence[dict[str, Any]]) -> None:
    columns = ("layer", "type", "rule", ">above", *(f">{name}" for name in COLUMNS), ">below")
    rows = [
        [layer["layer"], layer["type"], layer["rule"], *(_number(layer[k]) for k in ("above", *COLUMNS, "below"))]
        for layer in layers
    ]
    print()
    print(f"  {title}")
    print_table(columns, rows, indent=2)


def _plain(blob: str) -> str:
    return blob.replace("/", "_")


def _number(value: float) -> str:
    return "0" if value == 0 else f"{value:.4g}"


def _written(result: dict[str, Any]) -> list[str]:
    """Where the files are: one line for each class, and one for the sheet."""
    lines = []
    for entry in result["explanations"]:
        stem = entry["files"]["array"].removesuffix(".npy")
        lines.append(f"{stem}.{{heatmap.png,overlay.png,npy}}")
        lines += [file for kind, file in entry["files"].items() if kind not in ("heatmap", "overlay", "array")]
    return [*lines, result["sheet"]]
