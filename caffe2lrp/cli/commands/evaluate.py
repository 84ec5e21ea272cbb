"""``caffe2lrp evaluate`` as a user types it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from caffe2lrp.cli.arguments import (
    LRN,
    OUTPUT,
    PERTURBATION,
    ChannelOrder,
    Composites,
    Images,
    Json,
    Labels,
    Mean,
    Model,
    Plugins,
    Prototxt,
    Resize,
    Rules,
    Scale,
    Threads,
    Weights,
)
from caffe2lrp.cli.options import LRNRule, ModelOptions, Operator, RuleOptions

EXAMPLES = """Examples:

caffe2lrp evaluate photos/ --model bvlc_googlenet --rule alphabeta:beta=1 --rule epsilon:epsilon=1 \\
--composite sensitivity

caffe2lrp evaluate digits/ --rule alphabeta --region 1 --operator flip --out flipping

caffe2lrp evaluate JPEGImages/ --model bvlc_googlenet --no-perturb --objects Annotations/
"""


def evaluate(
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
    rule: Rules = None,
    composite: Composites = None,
    lrn: LRN = LRNRule.TAYLOR,
    perturb: Annotated[
        bool, typer.Option(rich_help_panel=PERTURBATION, help="Measure how fast the score falls.")
    ] = True,
    region: Annotated[int, typer.Option(min=1, rich_help_panel=PERTURBATION, help="Side of a region, in pixels.")] = 9,
    steps: Annotated[int, typer.Option(min=1, rich_help_panel=PERTURBATION, help="Regions that are replaced.")] = 100,
    draws: Annotated[int, typer.Option(min=1, rich_help_panel=PERTURBATION, help="Random draws to average.")] = 10,
    operator: Annotated[
        Operator, typer.Option(rich_help_panel=PERTURBATION, help="What regions are replaced by.")
    ] = Operator.UNIFORM,
    seed: Annotated[int, typer.Option(min=0, rich_help_panel=PERTURBATION, help="Of all random numbers.")] = 0,
    objects: Annotated[
        Path | None,
        typer.Option(
            metavar="DIR",
            help="Folder of PASCAL VOC boxes (NAME.xml) or masks (NAME.png): how much relevance lies on the object.",
        ),
    ] = None,
    out: Annotated[Path, typer.Option(metavar="DIR", rich_help_panel=OUTPUT, help="Folder to write to.")] = Path(
        "evaluation"
    ),
    restart: Annotated[
        bool, typer.Option("--restart", rich_help_panel=OUTPUT, help="Begin anew; else goes on where it was stopped.")
    ] = False,
    as_json: Json = False,
    threads: Threads = None,
) -> None:
    """Measure how good explanations are, by any rules and baselines, on pictures.

    Region perturbation as in Samek et al. 2017 (AOPC, and ABPC between most and least relevant first, with 95 %
    intervals over the pictures), relevance mass and rank inside boxes or masks, and complexity of the maps. Each record
    is kept in records.jsonl as soon as it is there; images.csv, curves.csv and curves.png are written in the end.
    """
    from caffe2lrp.cli.evaluate import EvaluateOptions, run
    from caffe2lrp.evaluation.perturbation import Perturbation

    run(
        images,
        ModelOptions(model, prototxt, weights, labels, None, mean, channels, scale, resize, plugin or ()),
        RuleOptions(rule or (), composite or (), {}, lrn),
        EvaluateOptions(
            Perturbation(region, steps, draws, operator.value, seed), perturb, objects, out, restart, as_json
        ),
    )
