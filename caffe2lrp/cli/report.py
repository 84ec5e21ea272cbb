"""``caffe2lrp report``."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

import caffe2lrp
from caffe2lrp.classes import highest, label
from caffe2lrp.cli.images import Picture
from caffe2lrp.cli.loading import in_words
from caffe2lrp.cli.options import ModelOptions, Precision, RuleOptions
from caffe2lrp.cli.running import run_pictures, values_of
from caffe2lrp.cli.settings import read_settings
from caffe2lrp.cli.targets import Targets
from caffe2lrp.composites import Composite
from caffe2lrp.engine.session import Session
from caffe2lrp.errors import OptionError
from caffe2lrp.explanation import start_blob
from caffe2lrp.ir import Network
from caffe2lrp.layers.base import count
from caffe2lrp.pictures import Style
from caffe2lrp.pictures.sheet import scale_note
from caffe2lrp.preprocessing import Prepared
from caffe2lrp.report import Map, Page, Target, write_report

_SHOWN_CLASSES = 5


@dataclass(frozen=True)
class ReportOptions:
    """What the report shows, and its file."""

    targets: Sequence[str]
    against: Sequence[str]
    out: Path
    style: Style


def run(images: Sequence[str], model: ModelOptions, rules: RuleOptions, options: ReportOptions) -> None:
    """Explain pictures and write a report."""
    settings = read_settings(rules.rules, rules.composites, rules.parameters)
    options.style.check()
    if options.out.suffix.lower() not in (".html", ".htm"):
        raise OptionError(f"a report is an HTML file: name it '{options.out.with_suffix('.html')}'")
    pages: list[Page] = []

    def begin(network: Network) -> Any:
        blob = start_blob(network)
        size = count(network.shapes[blob], 1)
        labels = network.labels if network.labels is not None and len(network.labels) == size else None
        targets = Targets(options.targets, size, labels)
        against = Targets(options.against, size, labels, "--against") if options.against else None

        def work(picture: Picture, prepared: Prepared, session: Session) -> dict[str, Any]:
            pages.append(_page(network, picture, prepared, session, settings, rules, targets, against, blob))
            return {}

        return work, lambda result: None

    def finish(network: Network, results: list[dict[str, Any]], errors: list[dict[str, str]]) -> None:
        if pages:
            title = f"{network.name or 'Network'}: {len(pages)} picture{'s' if len(pages) > 1 else ''} explained"
            write_report(options.out, title, _facts(network, settings, rules, options), pages, options.style)
            print(options.out)

    run_pictures(images, model, Precision.FLOAT32, begin, finish)


def _page(
    network: Network, picture: Picture, prepared: Prepared, session: Session, settings: Sequence[Composite],
    rules: RuleOptions, targets: Targets, against: Targets | None, blob: str,
) -> Page:  # fmt: skip
    values = values_of(session, [network.outputs[0], blob])
    outputs, scores = values[network.outputs[0]].reshape(-1), values[blob].reshape(-1)

    def name(index: int) -> str:
        known = label(network, index, scores.size)
        return f"class {index}" if known in (None, str(index)) else f"{index} {known}"

    def explained(index: int) -> Target:
        others = against.against(index, scores) if against is not None else []
        score = float(scores[index]) - (float(scores[others].mean(dtype=np.float64)) if others else 0.0)
        title = name(index) + (f" against {' and '.join(map(name, others))}" if others else "")
        maps = []
        for composite in settings:
            account = not composite.derivative
            e = session.explain(
                index, against=others or None, composite=composite, lrn=rules.lrn.value, account=account
            )
            maps.append(Map(e.rule, e.relevance[0], e.account))
        return Target(title, score, maps)

    return Page(
        picture.path.name,
        prepared.view,
        [(name(i), float(outputs[i])) for i in highest(outputs, _SHOWN_CLASSES)] if outputs.size == scores.size else [],
        [explained(index) for index in targets.of(scores)],
    )


def _facts(
    network: Network, settings: Sequence[Composite], rules: RuleOptions, options: ReportOptions
) -> dict[str, str]:
    assert network.preprocessing is not None
    less = f", less that of {' and '.join(options.against)}" if options.against else ""
    return {
        "network": f"{network.name}, input {' x '.join(map(str, network.input_shape[1:]))}, "
        f"{network.parameter_count:,} weights",
        "pictures": in_words(network.preprocessing),
        "rules": ", ".join(composite.name for composite in settings),
        "LRN layers": rules.lrn.value,
        "start": f"the score of the class at blob {start_blob(network)}{less}; gradients start with 1",
        "colours": f"summed over the channels; {scale_note(options.style.percentile, 2, options.style.smooth)}",
        "made by": f"caffe2lrp {caffe2lrp.__version__}",
    }
