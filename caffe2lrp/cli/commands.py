"""The commands as a user types them: arguments, options and help. The work is done elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from caffe2lrp.cli.options import Channels, ExplainOptions, LRNRule, ModelOptions, Precision, RuleOptions, Start

MODEL, PREPARATION, RULES, OUTPUT, RUNNING = "Model", "Preparation of pictures", "Relevance", "Output", "Running"

# Paragraphs are separated by empty lines; typer sets each of them as one.
EXPLAIN_EXAMPLES = """Examples:

caffe2lrp explain seven.png

caffe2lrp explain photos/ --model bvlc_googlenet --target top3 --out maps

caffe2lrp explain cat.jpg --prototxt deploy.prototxt --weights net.caffemodel --labels synset_words.txt \
--target "Siamese cat" --rule alphabeta --beta 1

caffe2lrp explain cat.jpg --model bvlc_googlenet --json | jq '.images[].explanations[].files'
"""
PREDICT_EXAMPLES = """Examples:

caffe2lrp predict seven.png

caffe2lrp predict 'photos/*.jpg' --model bvlc_googlenet --top 3

caffe2lrp predict face.png --prototxt det1.prototxt --weights det1.caffemodel --mean 127.5 --scale 1/128 --json
"""
INSPECT_EXAMPLES = """Examples:

caffe2lrp inspect deploy.prototxt

caffe2lrp inspect deploy.prototxt net.caffemodel --batch 1

caffe2lrp inspect net.onnx

caffe2lrp inspect --model bvlc_googlenet --json | jq '.totals'
"""

Images = Annotated[
    list[str],
    typer.Argument(metavar="IMAGE...", help="Picture files, folders of pictures, or patterns such as 'photos/*.jpg'."),
]
Model = Annotated[
    str | None,
    typer.Option(
        metavar="NAME",
        rich_help_panel=MODEL,
        help="A known model, see 'caffe2lrp models list'. Without model and files: the bundled digits.",
    ),
]
Prototxt = Annotated[
    Path | None, typer.Option(metavar="FILE", rich_help_panel=MODEL, help="Net definition of a model of your own.")
]
Weights = Annotated[
    Path | None,
    typer.Option(metavar="FILE", rich_help_panel=MODEL, help="Its weights: caffemodel, HDF5, or ONNX with everything."),
]
Labels = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE",
        rich_help_panel=MODEL,
        help="Class names, one per line. Else the model's own, or synset_words.txt beside the weights.",
    ),
]
InputShape = Annotated[
    str | None,
    typer.Option(metavar="N,C,H,W", rich_help_panel=MODEL, help="Shape of the input in place of the file's."),
]
Mean = Annotated[
    str | None,
    typer.Option(
        metavar="VALUES|FILE",
        rich_help_panel=PREPARATION,
        help="What is subtracted, in the order of the channels: 104,117,123, or a binaryproto or npy file.",
    ),
]
ChannelOrder = Annotated[Channels | None, typer.Option(rich_help_panel=PREPARATION, help="Order of the channels.")]
Scale = Annotated[
    str | None,
    typer.Option(metavar="FACTOR", rich_help_panel=PREPARATION, help="Factor after the subtraction: 0.017 or 1/256."),
]
Resize = Annotated[
    str | None,
    typer.Option(
        metavar="MODE [N]",
        rich_help_panel=PREPARATION,
        help="Before the centre crop: 'short 256', 'long 227' or 'stretch 256'; without number, the input's size.",
    ),
]
Threads = Annotated[
    int | None, typer.Option(min=1, metavar="N", rich_help_panel=RUNNING, help="Number of threads; else all cores.")
]
DType = Annotated[Precision, typer.Option(rich_help_panel=RUNNING, help="Precision of all arithmetic.")]
Json = Annotated[bool, typer.Option("--json", rich_help_panel=OUTPUT, help="Print JSON in place of text.")]


def explain(
    images: Images,
    model: Model = None,
    prototxt: Prototxt = None,
    weights: Weights = None,
    labels: Labels = None,
    input_shape: InputShape = None,
    target: Annotated[
        list[str] | None,
        typer.Option(
            metavar="INDEX|LABEL|topN",
            rich_help_panel=RULES,
            help="Class to explain: its number, its name or a part of it, or the N highest. May be repeated. "
            "Else the highest.",
        ),
    ] = None,
    rule: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            rich_help_panel=RULES,
            help="One rule for all layers: epsilon, alphabeta, zplus, gamma, wsquare, flat, zbox.",
        ),
    ] = None,
    composite: Annotated[
        str | None,
        typer.Option(
            metavar="NAME",
            rich_help_panel=RULES,
            help="Rules by layer: epsilon_alpha2_beta1 (the default), epsilon_alpha2_beta1_flat, epsilon_plus, "
            "epsilon_plus_flat, epsilon_gamma_box, alphabeta, epsilon; baselines: gradient, deconvolution, "
            "guided_backprop.",
        ),
    ] = None,
    beta: Annotated[float | None, typer.Option(rich_help_panel=RULES, help="Of alphabeta; alpha is 1 + beta.")] = None,
    epsilon: Annotated[
        float | None, typer.Option(rich_help_panel=RULES, help="Stabiliser of epsilon, gamma and zbox.")
    ] = None,
    gamma: Annotated[float | None, typer.Option(rich_help_panel=RULES, help="Of gamma.")] = None,
    lrn: Annotated[
        LRNRule, typer.Option(rich_help_panel=RULES, help="How relevance passes LRN layers.")
    ] = LRNRule.TAYLOR,
    layer: Annotated[
        str | None,
        typer.Option(
            metavar="BLOB", rich_help_panel=RULES, help="Blob or layer to start at; else the scores below the softmax."
        ),
    ] = None,
    start: Annotated[
        Start, typer.Option(rich_help_panel=RULES, help="Start with the class score, or with 1.")
    ] = Start.SCORE,
    mean: Mean = None,
    channels: ChannelOrder = None,
    scale: Scale = None,
    resize: Resize = None,
    out: Annotated[
        Path, typer.Option(metavar="DIR", rich_help_panel=OUTPUT, help="Folder to write to; it is made if need be.")
    ] = Path("caffe2lrp-out"),
    cmap: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            rich_help_panel=OUTPUT,
            help="Colour map: blue-white-red, gray-red, black-firered, hot, seismic, ..., or any of matplotlib.",
        ),
    ] = "blue-white-red",
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
    for several classes one sheet, such as NAME.top3.sheet.png.
    """
    from caffe2lrp.cli.explain import run

    given = {"beta": beta, "epsilon": epsilon, "gamma": gamma}
    run(
        images,
        ModelOptions(model, prototxt, weights, labels, input_shape, mean, channels, scale, resize),
        RuleOptions(rule, composite, {k: v for k, v in given.items() if v is not None}, lrn, layer, start),
        ExplainOptions(target or (), out, cmap, account, as_json),
        dtype,
        threads,
    )


def predict(
    images: Images,
    model: Model = None,
    prototxt: Prototxt = None,
    weights: Weights = None,
    labels: Labels = None,
    input_shape: InputShape = None,
    mean: Mean = None,
    channels: ChannelOrder = None,
    scale: Scale = None,
    resize: Resize = None,
    top: Annotated[int, typer.Option(min=1, metavar="N", rich_help_panel=OUTPUT, help="How many classes.")] = 5,
    as_json: Json = False,
    threads: Threads = None,
    dtype: DType = Precision.FLOAT32,
) -> None:
    """Say what is in pictures: the highest classes with their probability, or score where the net has no softmax.

    Of a net with several outputs, or with maps of classes, each output is summed up.
    """
    from caffe2lrp.cli.predict import run

    options = ModelOptions(model, prototxt, weights, labels, input_shape, mean, channels, scale, resize)
    run(images, options, top, dtype, threads, as_json=as_json)


def inspect(
    files: Annotated[
        list[Path] | None,
        typer.Argument(
            metavar="[FILE [FILE]]", help="Definition, weights or both, in any order; or ONNX.", show_default=False
        ),
    ] = None,
    model: Model = None,
    prototxt: Prototxt = None,
    weights: Weights = None,
    input_shape: InputShape = None,
    batch: Annotated[
        int | None, typer.Option(min=1, metavar="N", rich_help_panel=MODEL, help="Batch size in place of the file's.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Show a net: layers with shapes, parameters, multiply-adds and where they were defined. No weights are needed."""
    from caffe2lrp.cli.inspect import run

    options = ModelOptions(model, prototxt, weights, input_shape=input_shape)
    run(files or (), options, batch, as_json=as_json)
