"""The commands as a user types them: arguments, options and help. The work is done elsewhere."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from caffe2lrp.cli.options import (
    Channels,
    ComparisonOptions,
    ConvertOptions,
    ExplainOptions,
    LRNRule,
    Mode,
    ModelOptions,
    Operator,
    Precision,
    RuleOptions,
    SheetName,
    Start,
)

MODEL, PREPARATION, RULES, OUTPUT, RUNNING = "Model", "Preparation of pictures", "Relevance", "Output", "Running"
CHANGES = "Changes"
PROOF = "Proof"
PERTURBATION = "Perturbation"

# Paragraphs are separated by empty lines; typer sets each of them as one.
EXPLAIN_EXAMPLES = """Examples:

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
PREDICT_EXAMPLES = """Examples:

caffe2lrp predict seven.png

caffe2lrp predict 'photos/*.jpg' --model bvlc_googlenet --top 3

caffe2lrp predict face.png --prototxt det1.prototxt --weights det1.caffemodel --mean 127.5 --scale 1/128 --json
"""
EVALUATE_EXAMPLES = """Examples:

caffe2lrp evaluate photos/ --model bvlc_googlenet --rule alphabeta:beta=1 --rule epsilon:epsilon=1 \\
--composite sensitivity

caffe2lrp evaluate digits/ --rule alphabeta --region 1 --operator flip --out flipping

caffe2lrp evaluate JPEGImages/ --model bvlc_googlenet --no-perturb --objects Annotations/
"""
FIGURES_EXAMPLES = """Examples:

caffe2lrp figures photos/

caffe2lrp figures photos/ --model bvlc_googlenet --as toolbox --sheet parameters

caffe2lrp figures photos/*.jpg --prototxt deploy.prototxt --weights net.caffemodel --out study
"""
REPORT_EXAMPLES = """Examples:

caffe2lrp report photos/ --model bvlc_googlenet --target top3 --rule epsilon --rule alphabeta --out photos.html
"""
SERVE_EXAMPLES = """Examples:

caffe2lrp serve

caffe2lrp serve --model bvlc_googlenet

caffe2lrp serve --prototxt deploy.prototxt --weights net.caffemodel --labels synset_words.txt --port 8080
"""
RULES_EXAMPLES = """Examples:

caffe2lrp rules

caffe2lrp rules gamma epsilon_gamma_box
"""
INSPECT_EXAMPLES = """Examples:

caffe2lrp inspect deploy.prototxt

caffe2lrp inspect deploy.prototxt net.caffemodel --batch 1

caffe2lrp inspect net.onnx

caffe2lrp inspect --model bvlc_googlenet --json | jq '.totals'

caffe2lrp inspect deploy.prototxt --graph net.svg
"""
UPGRADE_EXAMPLES = """Examples:

caffe2lrp upgrade old.prototxt old.caffemodel --out new

caffe2lrp upgrade deploy.prototxt net.caffemodel --out plain --fold --input-shape 1,3,320,240

caffe2lrp upgrade --model bvlc_googlenet --until pool5/7x7_s1 --out features
"""
WEIGHTS_EXAMPLES = """Examples:

caffe2lrp weights deploy.prototxt net.caffemodel --out net.npz

caffe2lrp weights --model bvlc_googlenet --out googlenet.safetensors

caffe2lrp weights net.caffemodel --input-shape 1,3,224,224 --out arrays
"""
CONVERT_EXAMPLES = """Examples:

caffe2lrp convert deploy.prototxt net.caffemodel -o net.onnx

caffe2lrp convert --model bvlc_googlenet -o googlenet.onnx --with-preprocessing --image cat.jpg

caffe2lrp convert deploy.prototxt net.caffemodel -o net.onnx --simplify --batch 1 --report proof.json
"""
DIFF_EXAMPLES = """Examples:

caffe2lrp diff deploy.prototxt,net.caffemodel net.onnx

caffe2lrp diff deploy.prototxt,net.caffemodel caffe-blobs/

caffe2lrp diff net.onnx caffe-blobs/ --slash __ --json
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
Files = Annotated[
    list[Path] | None,
    typer.Argument(
        metavar="[FILE [FILE]]", help="Definition, weights or both, in any order; or ONNX.", show_default=False
    ),
]
Tolerance = Annotated[
    float | None,
    typer.Option(
        min=0.0,
        metavar="RATIO",
        show_default=False,
        rich_help_panel=PROOF,
        help="What a blob may differ by, divided by its largest value; else 1e-4, and 2e-2 for half precision.",
    ),
]
Seed = Annotated[int, typer.Option(min=0, metavar="N", rich_help_panel=PROOF, help="Seed of the random inputs.")]
ReportFile = Annotated[
    Path | None, typer.Option(metavar="FILE", rich_help_panel=PROOF, help="Write all numbers to a JSON file.")
]
Overwrite = Annotated[
    bool, typer.Option("--overwrite", rich_help_panel=OUTPUT, help="Replace files that are there already.")
]
Plugins = Annotated[
    list[Path] | None,
    typer.Option(
        "--plugin",
        metavar="FILE.py",
        rich_help_panel=MODEL,
        help="Python file with layer types of your own, see docs/own-layers.md; it is run. May be repeated.",
    ),
]
Target = Annotated[
    list[str] | None,
    typer.Option(
        metavar="INDEX|LABEL|topN",
        rich_help_panel=RULES,
        help="Class to explain: its number, its name or a part of it, or the N highest. May be repeated. "
        "Else the highest.",
    ),
]
ColourMap = Annotated[
    str,
    typer.Option(
        metavar="NAME",
        rich_help_panel=OUTPUT,
        help="Colour map: blue-white-red, gray-red, black-firered, hot, seismic, ..., or any of matplotlib.",
    ),
]
Positive = Annotated[
    bool, typer.Option("--positive", rich_help_panel=OUTPUT, help="Show only what speaks for the class.")
]
Percentile = Annotated[
    float,
    typer.Option(
        metavar="P",
        rich_help_panel=OUTPUT,
        help="Full colour is this percentile of each map's magnitudes; 100 is the largest.",
    ),
]
Smooth = Annotated[
    float, typer.Option(metavar="SIGMA", rich_help_panel=OUTPUT, help="Blur the maps by a Gaussian, in pixels.")
]
Alpha = Annotated[
    float, typer.Option(metavar="A", rich_help_panel=OUTPUT, help="Opacity of the overlay, between 0 and 1.")
]
Contours = Annotated[
    int,
    typer.Option(
        metavar="N",
        rich_help_panel=OUTPUT,
        help="Overlay lines of equal relevance at N levels in place of colours; best with --smooth 4.",
    ),
]
Rules = Annotated[
    list[str] | None,
    typer.Option(
        "--rule",
        metavar="NAME[:P=X,..]",
        rich_help_panel=RULES,
        help="One rule for all layers: epsilon, z, alphabeta, zplus, excitation, gamma, generalized_gamma, "
        "wsquare, flat, zbox, norm, pass; with parameters such as alphabeta:beta=2. May be repeated. "
        "'caffe2lrp rules' tells which to choose.",
    ),
]
Composites = Annotated[
    list[str] | None,
    typer.Option(
        "--composite",
        metavar="NAME[:P=X,..]|FILE",
        rich_help_panel=RULES,
        help="Rules by layer: epsilon_alpha2_beta1 (the default), epsilon_alpha2_beta1_flat, epsilon_plus, "
        "epsilon_plus_flat, epsilon_gamma_box, alphabeta, epsilon, excitation_backprop, deep_taylor, toolbox_100, "
        "toolbox_102, toolbox_104; baselines: gradient, gradient_x_input, sensitivity, deconvolution, "
        "guided_backprop, smoothgrad, integrated_gradients; or a TOML file. May be repeated.",
    ),
]
LRN = Annotated[LRNRule, typer.Option(rich_help_panel=RULES, help="How relevance passes LRN layers.")]
StartLayer = Annotated[
    str | None,
    typer.Option(
        metavar="BLOB", rich_help_panel=RULES, help="Blob or layer to start at; else the scores below the softmax."
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
    plugin: Plugins = None,
    target: Target = None,
    against: Annotated[
        list[str] | None,
        typer.Option(
            metavar="INDEX|LABEL|topN",
            rich_help_panel=RULES,
            help="Explain in contrast to this class: what speaks for the one and not for the other. May be repeated; "
            "of several it is the mean. The class itself is left out.",
        ),
    ] = None,
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
        threads,
    )


def serve(
    model: Model = None,
    prototxt: Prototxt = None,
    weights: Weights = None,
    labels: Labels = None,
    input_shape: InputShape = None,
    plugin: Plugins = None,
    mean: Mean = None,
    channels: ChannelOrder = None,
    scale: Scale = None,
    resize: Resize = None,
    layer: StartLayer = None,
    host: Annotated[
        str,
        typer.Option(metavar="ADDRESS", rich_help_panel=RUNNING, help="What to bind to; else only this machine."),
    ] = "127.0.0.1",
    port: Annotated[
        int, typer.Option(min=0, max=65535, metavar="N", rich_help_panel=RUNNING, help="0 is any that is free.")
    ] = 8000,
    threads: Threads = None,
) -> None:
    """Open a page to explain pictures with: drop a photo, choose a class, move epsilon and beta, compare.

    The network stays loaded, and a picture's forward pass is kept, so that each change is answered at once.
    """
    from caffe2lrp.cli.serve import run

    options = ModelOptions(model, prototxt, weights, labels, input_shape, mean, channels, scale, resize, plugin or ())
    run(options, layer, host, port, threads)


def rules(
    names: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME...]", help="Only these, in full.", show_default=False)
    ] = None,
    as_json: Json = False,
) -> None:
    """Tell which rules, composites and baselines there are, their formulas, and which to choose.

    'caffe2lrp explain rules' does the same.
    """
    from caffe2lrp.cli.rules import run

    run(names or (), as_json=as_json)


def figures(
    images: Annotated[
        list[str] | None,
        typer.Argument(
            metavar="[PHOTO...]",
            help="Photo files, folders or patterns. Without any: the bundled digits.",
            show_default=False,
        ),
    ] = None,
    model: Annotated[
        list[str] | None,
        typer.Option(
            metavar="NAME",
            rich_help_panel=MODEL,
            help="A known model; may be repeated. Else the nets of the study, CaffeNet and GoogLeNet, trained on "
            "ImageNet and on Places, as far as they are at hand or can be fetched.",
        ),
    ] = None,
    prototxt: Prototxt = None,
    weights: Weights = None,
    labels: Labels = None,
    plugin: Plugins = None,
    mean: Mean = None,
    channels: ChannelOrder = None,
    scale: Scale = None,
    resize: Resize = None,
    mode: Annotated[
        Mode,
        typer.Option(
            "--as", help="The mathematics of the rules, or the numbers of the LRP Toolbox's Caffe code of 2016."
        ),
    ] = Mode.CLEAN,
    sheet: Annotated[
        list[SheetName] | None,
        typer.Option(help="What to compare; may be repeated. Else all that the net allows.", show_default=False),
    ] = None,
    out: Annotated[Path, typer.Option(metavar="DIR", rich_help_panel=OUTPUT, help="Folder to write to.")] = Path(
        "figures"
    ),
    cmap: ColourMap = "blue-white-red",
    download: Annotated[bool, typer.Option(rich_help_panel=MODEL, help="Fetch what is missing.")] = True,
    as_json: Json = False,
    threads: Threads = None,
) -> None:
    """Draw the parameter study of Binder et al. 2016 for print: photos x settings, for each net at hand.

    Three sheets are made of each net: 'parameters' (epsilon 0.01, 1, 100; beta 0, 1, 2), 'lrn' (ways through LRN
    layers) and 'methods' (sensitivity, deconvolution, guided backpropagation, LRP), each as PNG, PDF and JSON. The same
    command gives the same files.
    """
    from caffe2lrp.cli.figures import FigureOptions, run

    own = ModelOptions(None, prototxt, weights, labels, None, mean, channels, scale, resize, plugin or ())
    sheets = [s.value for s in sheet or SheetName]
    run(images or (), model or (), own, FigureOptions(mode.value, sheets, out, cmap, download, as_json), threads)


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
        threads,
    )


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
        ReportOptions(target or (), out, style),
        threads,
    )


def predict(
    images: Images,
    model: Model = None,
    prototxt: Prototxt = None,
    weights: Weights = None,
    labels: Labels = None,
    input_shape: InputShape = None,
    plugin: Plugins = None,
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

    options = ModelOptions(model, prototxt, weights, labels, input_shape, mean, channels, scale, resize, plugin or ())
    run(images, options, top, dtype, threads, as_json=as_json)


def inspect(
    files: Files = None,
    model: Model = None,
    prototxt: Prototxt = None,
    weights: Weights = None,
    input_shape: InputShape = None,
    plugin: Plugins = None,
    batch: Annotated[
        int | None, typer.Option(min=1, metavar="N", rich_help_panel=MODEL, help="Batch size in place of the file's.")
    ] = None,
    graph: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE.svg", rich_help_panel=OUTPUT, help="Draw the net, too; an existing file is replaced."
        ),
    ] = None,
    as_json: Json = False,
) -> None:
    """Show a net: layers with shapes, parameters, multiply-adds and where they were defined. No weights are needed."""
    from caffe2lrp.cli.inspect import run

    options = ModelOptions(model, prototxt, weights, input_shape=input_shape, plugins=plugin or ())
    run(files or (), options, batch, graph, as_json=as_json)


def upgrade(
    out: Annotated[
        Path,
        typer.Option(metavar="STEM", rich_help_panel=OUTPUT, help="Writes STEM.prototxt and STEM.caffemodel."),
    ],
    files: Files = None,
    model: Model = None,
    prototxt: Prototxt = None,
    weights: Weights = None,
    plugin: Plugins = None,
    input_shape: InputShape = None,
    until: Annotated[
        str | None,
        typer.Option(metavar="BLOB", rich_help_panel=CHANGES, help="Keep only what computes this blob (or layer)."),
    ] = None,
    fold: Annotated[
        bool,
        typer.Option(
            "--fold", rich_help_panel=CHANGES, help="Merge BatchNorm, Scale and Bias into the linear layer before them."
        ),
    ] = False,
    hdf5: Annotated[
        bool,
        typer.Option("--hdf5", rich_help_panel=OUTPUT, help="Weights as HDF5: STEM.caffemodel.h5."),
    ] = False,
    overwrite: Overwrite = False,
) -> None:
    """Write a net as Caffe files of the newest generation, made smaller or changed on the way.

    Reads all generations. Training-only layers are gone, inputs are Input layers. A definition alone gives a
    definition alone. Prints the files that were written.
    """
    from caffe2lrp.cli.upgrade import run

    options = ModelOptions(model, prototxt, weights, input_shape=input_shape, plugins=plugin or ())
    run(files or (), options, out, fold=fold, until=until, hdf5=hdf5, overwrite=overwrite)


def weights(
    out: Annotated[
        Path,
        typer.Option(
            metavar="FOLDER|FILE", rich_help_panel=OUTPUT, help="A folder for npy files, FILE.npz or FILE.safetensors."
        ),
    ],
    files: Files = None,
    model: Model = None,
    prototxt: Prototxt = None,
    weights: Weights = None,
    plugin: Plugins = None,
    input_shape: InputShape = None,
    overwrite: Overwrite = False,
) -> None:
    """Write a net's weights for other programs, as arrays called LAYER/weight, LAYER/bias and so on."""
    from caffe2lrp.cli.weights import run

    run(
        files or (),
        ModelOptions(model, prototxt, weights, input_shape=input_shape, plugins=plugin or ()),
        out,
        overwrite=overwrite,
    )


def convert(
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", rich_help_panel=OUTPUT, help="The ONNX file.")],
    files: Files = None,
    model: Model = None,
    prototxt: Prototxt = None,
    weights: Weights = None,
    labels: Labels = None,
    input_shape: InputShape = None,
    plugin: Plugins = None,
    mean: Mean = None,
    channels: ChannelOrder = None,
    scale: Scale = None,
    resize: Resize = None,
    opset: Annotated[
        int | None,
        typer.Option(metavar="N", show_default=False, rich_help_panel=OUTPUT, help="ONNX opset, from 13 on; else 20."),
    ] = None,
    batch: Annotated[
        int | None, typer.Option(min=1, metavar="N", rich_help_panel=OUTPUT, help="A fixed batch size; else any.")
    ] = None,
    with_preprocessing: Annotated[
        bool,
        typer.Option(
            "--with-preprocessing",
            rich_help_panel=OUTPUT,
            help="Begin with RGB images, uint8, (N, H, W, 3), of the input's size: channel order, mean and scale are "
            "done by the model.",
        ),
    ] = False,
    simplify: Annotated[
        bool,
        typer.Option(
            "--simplify",
            rich_help_panel=OUTPUT,
            help="Merge BatchNorm, Scale and Bias into linear layers, and leave out what does nothing.",
        ),
    ] = False,
    fp16: Annotated[
        bool, typer.Option("--fp16", rich_help_panel=OUTPUT, help="Half precision; inputs and outputs stay float32.")
    ] = False,
    verify: Annotated[
        bool, typer.Option(rich_help_panel=PROOF, help="Compare all blobs with onnxruntime's, on the same inputs.")
    ] = True,
    image: Annotated[
        list[str] | None,
        typer.Option(
            metavar="IMAGE",
            rich_help_panel=PROOF,
            help="Picture, folder or pattern to compare with, beside random inputs. May be repeated.",
        ),
    ] = None,
    tolerance: Tolerance = None,
    seed: Seed = 0,
    report: ReportFile = None,
    as_json: Json = False,
    threads: Threads = None,
) -> None:
    """Convert a net to ONNX, and prove that the result computes the same.

    The file is valid by onnx's full check, and every blob has the size that Caffe gives it. Then onnxruntime and this
    program run the same inputs, and all blobs are compared; if one departs, its layer is named and the exit code is 2.
    """
    from caffe2lrp.cli.convert import run

    run(
        files or (),
        ModelOptions(model, prototxt, weights, labels, input_shape, mean, channels, scale, resize, plugin or ()),
        ConvertOptions(out, opset, batch, with_preprocessing, simplify, fp16, verify, image or ()),
        ComparisonOptions(tolerance, seed, report, as_json),
        threads,
    )


def diff(
    first: Annotated[
        str, typer.Argument(metavar="A", help="Caffe files, joined by a comma, an ONNX file or a folder.")
    ],
    second: Annotated[str, typer.Argument(metavar="B", help="The same; A is the measure.")],
    slash: Annotated[
        str, typer.Option(metavar="TEXT", rich_help_panel=PROOF, help="What '/' of blob names is in names of files.")
    ] = "_",
    plugin: Plugins = None,
    input_shape: InputShape = None,
    tolerance: Tolerance = None,
    seed: Seed = 0,
    report: ReportFile = None,
    as_json: Json = False,
    threads: Threads = None,
) -> None:
    """Compare blob by blob any two of Caffe files, an ONNX file and a folder of stored blobs.

    A folder holds one .npy file for each blob, also the input blob (data.npy), for example as an old Caffe made them:
    for name, blob in net.blobs.items(): np.save(name.replace('/', '_'), blob.data). With a folder its input is run,
    else random ones. If a blob departs, its layer is named and the exit code is 2.
    """
    from caffe2lrp.cli.diff import run

    run(
        first,
        second,
        slash,
        ModelOptions(input_shape=input_shape, plugins=plugin or ()),
        ComparisonOptions(tolerance, seed, report, as_json),
        threads,
    )
