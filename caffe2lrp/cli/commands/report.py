"""``caffe2lrp report`` as a user types it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from caffe2lrp.cli.arguments import (
    LRN,
    OUTPUT,
    Against,
    Alpha,
    ChannelOrder,
    ColourMap,
    Composites,
    Contours,
    Images,
    Labels,
    Mean,
    Model,
    Percentile,
    Plugins,
    Positive,
    Prototxt,
    Resize,
    Rules,
    Scale,
    Smooth,
    Target,
    Threads,
    Weights,
)
from caffe2lrp.cli.options import LRNRule, ModelOptions, RuleOptions

EXAMPLES = """Examples:

caffe2lrp report photos/ --model bvlc_googlenet --target top3 --rule epsilon --rule alphabeta --out photos.html

caffe2lrp report photos/ --model bvlc_googlenet --target top3 --against top5
"""


def report(
    images: Images,
    model: Model = None,
    prototxt: Prototxt = None,
    weights: Weights = None,
    labels: Labels = None,
    plugin: Plugins = None,
    mean: Mean = None,
    channels: ChannelOrder = None,
    scale: Scale = None,
    resize: Resize = None,
    target: Target = None,
    against: Against = None,
    rule: Rules = None,
    composite: Composites = None,
    lrn: LRN = LRNRule.TAYLOR,
    out: Annotated[Path, typer.Option(metavar="FILE", rich_help_panel=OUTPUT, help="The HTML file.")] = Path(
        "report.html"
    ),
    cmap: ColourMap = "blue-white-red",
    positive: Positive = False,
    percentile: Percentile = 99.5,
    smooth: Smooth = 0.0,
    alpha: Alpha = 0.9,
    contours: Contours = 0,
    threads: Threads = None,
) -> None:
    """Explain a folder of pictures in one HTML file: predictions, maps by rule, where relevance went, settings.

    The file holds everything and opens without network.
    """
    from caffe2lrp.cli.report import ReportOptions, run
    from caffe2lrp.pictures import Style

    style = Style(cmap, "sum", "positive" if positive else "symmetric", percentile, smooth, alpha, contours)
    run(
        images,
        ModelOptions(model, prototxt, weights, labels, None, mean, channels, scale, resize, plugin or ()),
        RuleOptions(rule or (), composite or (), {}, lrn),
        ReportOptions(target or (), against or (), out, style),
    )
