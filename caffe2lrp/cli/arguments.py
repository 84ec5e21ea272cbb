"""Arguments and options that several commands share, and the panels of the help that they stand in."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from caffe2lrp.cli.options import Channels, LRNRule, Precision

MODEL, PREPARATION, RULES, OUTPUT, RUNNING = "Model", "Preparation of pictures", "Relevance", "Output", "Running"
CHANGES = "Changes"
PROOF = "Proof"
PERTURBATION = "Perturbation"
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
Against = Annotated[
    list[str] | None,
    typer.Option(
        metavar="INDEX|LABEL|topN",
        rich_help_panel=RULES,
        help="Explain in contrast to this class: what speaks for the one and not for the other. May be repeated; "
        "of several it is the mean. The class itself is left out.",
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


def _use_threads(context: typer.Context, count: int | None) -> int | None:
    """Set the number of threads while arguments are read, so that no command has to."""
    if count is not None and not context.resilient_parsing:
        from caffe2lrp.kernels import team

        team.set_threads(count)
    return count


Threads = Annotated[
    int | None,
    typer.Option(
        min=1,
        metavar="N",
        rich_help_panel=RUNNING,
        callback=_use_threads,
        help="Number of threads; else the environment's NUMBA_NUM_THREADS, or all cores.",
    ),
]
DType = Annotated[Precision, typer.Option(rich_help_panel=RUNNING, help="Precision of all arithmetic.")]
Json = Annotated[bool, typer.Option("--json", rich_help_panel=OUTPUT, help="Print JSON in place of text.")]
