"""``caffe2lrp explain`` as a user types it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from caffe2lrp.cli.arguments import (
    LRN,
    OUTPUT,
    RULES,
    Against,
    Alpha,
    ChannelOrder,
    ColourMap,
    Composites,
    Contours,
    DType,
    Images,
    InputShape,
    Json,
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
    StartLayer,
    Target,
    Threads,
    Weights,
)
from caffe2lrp.cli.commands.rules import rules
from caffe2lrp.cli.options import ExplainOptions, LRNRule, ModelOptions, Precision, RuleOptions, Start

EXAMPLES = """Examples:

caffe2lrp explain seven.png

caffe2lrp explain photos/ --model bvlc_googlenet --target top3 --out maps

caffe2lrp explain cat.jpg --prototxt deploy.prototxt --weights net.caffemodel --labels synset_words.txt \
--target "Siamese cat" --rule alphabeta --beta 1

caffe2lrp explain photos/ --model bvlc_googlenet --rule epsilon:epsilon=1 --rule alphabeta:beta=0 \
--composite epsilon_plus

caffe2lrp explain cat.jpg --model bvlc_googlenet --target 284 --against 281 --smooth 4 --contours 4

caffe2lrp explain cat.jpg --model bvlc_googlenet --through inception_4a/output --channel 222 --channel 234

caffe2lrp explain cat.jpg --model bvlc_googlenet --json | jq '.images[].explanations[].files'
"""


def explain(
    images: Images,
    model: Model = None,
    prototxt: Prototxt = None,
    weights: Weights = None,
    labels: Labels = None,
    input_shape: InputShape = None,
    plugin: Plugins = None,
    target: Target = None,
    against: Against = None,
    rule: Rules = None,
    composite: Composites = None,
    beta: Annotated[
        float | None, typer.Option(rich_help_panel=RULES, help="Of all rules that take it; alpha is 1 + beta.")
    ] = None,
    epsilon: Annotated[
        float | None, typer.Option(rich_help_panel=RULES, help="Stabiliser, of all rules that take it.")
    ] = None,
    gamma: Annotated[float | None, typer.Option(rich_help_panel=RULES, help="Of all rules that take it.")] = None,
    lrn: LRN = LRNRule.TAYLOR,
    layer: StartLayer = None,
    start: Annotated[
        Start | None,
        typer.Option(
            rich_help_panel=RULES,
            help="Start with the class score (relevance, if nothing is given) or with 1 (gradients).",
        ),
    ] = None,
    through: Annotated[
        str | None,
        typer.Option(
            metavar="BLOB",
            rich_help_panel=RULES,
            help="Only relevance that passes through this blob or layer, or through some of its channels.",
        ),
    ] = None,
    channel: Annotated[
        list[int] | None,
        typer.Option(min=0, metavar="N", rich_help_panel=RULES, help="Channel of --through. May be repeated."),
    ] = None,
    mean: Mean = None,
    channels: ChannelOrder = None,
    scale: Scale = None,
    resize: Resize = None,
    out: Annotated[
        Path, typer.Option(metavar="DIR", rich_help_panel=OUTPUT, help="Folder to write to; it is made if need be.")
    ] = Path("caffe2lrp-out"),
    cmap: ColourMap = "blue-white-red",
    positive: Positive = False,
    percentile: Percentile = 99.5,
    smooth: Smooth = 0.0,
    alpha: Alpha = 0.9,
    contours: Contours = 0,
    layers: Annotated[
        bool,
        typer.Option("--layers", rich_help_panel=OUTPUT, help="Draw relevance by layer, too: NAME.INDEX.layers.png."),
    ] = False,
    keep: Annotated[
        list[str] | None,
        typer.Option(
            metavar="BLOB",
            rich_help_panel=OUTPUT,
            help="Draw relevance at this inner blob, too, as a map and by channel. May be repeated.",
        ),
    ] = None,
    account: Annotated[
        bool | None,
        typer.Option(
            "--account/--no-account",
            show_default=False,
            rich_help_panel=OUTPUT,
            help="Where relevance went layer by layer, or nothing of it; else in sums.",
        ),
    ] = None,
    as_json: Json = False,
    threads: Threads = None,
    dtype: DType = Precision.FLOAT32,
) -> None:
    """Explain predictions pixel by pixel: heat maps of what speaks for a class and what against it.

    For each picture NAME and class INDEX, NAME.INDEX.heatmap.png, NAME.INDEX.overlay.png and the relevance itself,
    NAME.INDEX.npy (channels, height, width), are written, and a sheet of all side by side: NAME.INDEX.sheet.png, or
    for several classes one sheet, such as NAME.top3.sheet.png. With several rules, the rule follows the class in the
    names, NAME.INDEX.RULE.npy, and a montage of all pictures and rules, montage.png, is written. INDEX is followed by
    -against-OTHER and -through-BLOB-CHANNEL where these options are given.
    """
    if images == ["rules"] and not Path("rules").exists():
        rules()
        return

    from caffe2lrp.cli.explain import run
    from caffe2lrp.pictures import Style

    style = Style(cmap, "sum", "positive" if positive else "symmetric", percentile, smooth, alpha, contours)
    given = {"beta": beta, "epsilon": epsilon, "gamma": gamma}
    run(
        images,
        ModelOptions(model, prototxt, weights, labels, input_shape, mean, channels, scale, resize, plugin or ()),
        RuleOptions(
            rule or (),
            composite or (),
            {k: v for k, v in given.items() if v is not None},
            lrn,
            layer,
            start,
            through,
            channel or (),
        ),
        ExplainOptions(target or (), against or (), out, style, account, layers, keep or (), as_json),
        dtype,
    )
