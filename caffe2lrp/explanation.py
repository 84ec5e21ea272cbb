"""Explaining predictions: relevance of every input value for a class score."""

from __future__ import annotations

import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np

from caffe2lrp import composites
from caffe2lrp.composite_file import read_composite
from caffe2lrp.composites import Composite
from caffe2lrp.errors import ModelError, OptionError
from caffe2lrp.ir import Network
from caffe2lrp.layers.softmax import LogSoftmax, Softmax

if TYPE_CHECKING:
    from PIL.Image import Image

    from caffe2lrp.conservation import Account

LRNRule = Literal["taylor", "identity", "toolbox"]
Start = Literal["score", "one"]
DEFAULT_COMPOSITE = "epsilon_alpha2_beta1"

Target = int | Sequence[int] | Sequence[Sequence[int]] | None


@dataclass(frozen=True)
class Explanation:
    """Relevance of an input for a class.

    Attributes
    ----------
    relevance
        (N, C, H, W), in the precision of the input; its sum is the score, less what `account` lists. Of a network
        with several inputs it is the relevance of the first.
    score
        (N,) value at which relevance started: the class score below the softmax (the sum over the
        targets where several were started together).
    target
        The classes of each image.
    outputs
        (N, classes) values of the start blob.
    account
        Where relevance went, layer by layer, if it was asked for.
    rule
        Name of the rule or composite.
    relevances
        Relevance of every input by its blob; together they sum up as `relevance` does where there is one input.
    against
        The classes that each image's target was contrasted with, if it was.
    blobs
        Relevance of the inner blobs that were asked for (`keep`), by name, in the shapes of the blobs.
    labels
        Names of the start blob's values, if they are known.
    """

    relevance: np.ndarray = field(repr=False)
    score: np.ndarray
    target: list[list[int]]
    outputs: np.ndarray = field(repr=False)
    rule: str
    account: Account | None = field(default=None, repr=False)
    relevances: dict[str, np.ndarray] = field(default_factory=dict, repr=False)
    against: list[list[int]] | None = None
    blobs: dict[str, np.ndarray] = field(default_factory=dict, repr=False)
    labels: Sequence[str] | None = field(default=None, repr=False)

    def heatmap(self, image: int | None = None, *, size: int | None = None, **style: Any) -> Image:
        """Draw the relevance of one image, or of a batch side by side.

        Parameters
        ----------
        image
            Which image of the batch; None draws all.
        size
            Length of each map's longer side in pixels; None is one pixel per value, or on a page at least 224.
        **style
            Attributes of `caffe2lrp.pictures.Style`: cmap, mode, percentile, smooth, ...

        Returns
        -------
        PIL.Image.Image
            Mode RGB: the map; of several images a page with a caption below each map.

        Raises
        ------
        OptionError
            If the input is not made of images, there is no such image or an option cannot be used.
        """
        from caffe2lrp.pictures import Style
        from caffe2lrp.pictures.explained import draw

        return draw(self, image, size, Style(**style))

    def _repr_png_(self) -> bytes | None:
        """What notebooks show: the maps with class, score and rule; of an input that is no image the text."""
        from caffe2lrp.pictures.explained import png

        return png(self)


def explain(
    network: Network,
    x: Any,
    target: Target = None,
    *,
    rule: str | None = None,
    composite: str | Composite | None = None,
    lrn: LRNRule = "taylor",
    layer: str | None = None,
    start: Start | None = None,
    account: bool = False,
    against: Target = None,
    keep: str | Sequence[str] = (),
    through: str | None = None,
    channel: int | Sequence[int] | None = None,
    **parameters: float,
) -> Explanation:
    """Explain a class score by layer-wise relevance propagation.

    Parameters
    ----------
    network
        The network.
    x
        Input, (N, C, H, W), preprocessed, or a dict of one array for each input blob. float64 (of the first input)
        runs everything in float64, anything else in float32.
    target
        None explains the highest output of each image. For one image: an index, or a list of indices
        whose relevance is started together. For several images: one entry for each.
    rule
        One rule for all linear layers (`caffe2lrp.rules`), with its parameters as keywords, for example
        ``rule="alphabeta", beta=1.0`` or ``rule="epsilon", epsilon=0.01``.
    composite
        A table of rules by layer, or a baseline (`caffe2lrp.composites`): a name, with its parameters as keywords; the
        name of a TOML file (`caffe2lrp.composite_file`); or an object. The default is ``epsilon_alpha2_beta1``.
    lrn
        Relevance through LRN layers: ``taylor`` (Binder et al. 2016, conserving), ``identity``, or
        ``toolbox`` (the LRP Toolbox's unnormalised expansion).
    layer
        Blob or layer to start at; the default is the output, or what the softmax reads.
    start
        Start with the ``score`` itself, the default for relevance, or with ``one``, the default for gradients.
    account
        Also report where relevance went, layer by layer.
    against
        Explain the target in contrast to these classes, given as targets are: what speaks for class a and not for b.
        Each class starts with its own value, a with f_a and b with -f_b (with ``start="one"``: 1 and -1), so that the
        score is f_a - f_b and, rules being linear in relevance, the map is the difference of the two classes' maps
        (not so for ``deconvolution``, ``guided_backprop`` and ``sensitivity``). Of several b it is their mean that is
        taken off, once for each class of the target: b starts with -f_b A / B for A and B classes. This is relevance
        of the difference of scores. Gu et al. 2018 (arXiv 1812.02100, CLRP1) start both sides with f_a instead, shared
        out over all other classes, and keep the positive part; Iwana et al. 2019 (arXiv 1908.04351) start with
        p_a (1 - p_a) and -p_a p_b for the probabilities p.
    keep
        Inner blobs or layers whose relevance is wanted, too: `Explanation.blobs`.
    through
        Blob or layer: let only that relevance reach the input which passes through it, or through some of its channels
        (`channel`): concept relevance of Achtibat et al. 2023 (arXiv 2206.03208). Score and account are those of the
        way from there on.
    channel
        Channel or channels (axis 1) of the blob `through`. Without it, of the blob `layer`: all their values are
        started together, whatever the class.

    Returns
    -------
    Explanation

    Raises
    ------
    OptionError
        If the input, the target or an option does not fit.
    ModelError
        If relevance cannot pass through the network.
    """
    from caffe2lrp.engine.session import Session

    return Session(network, x).explain(
        target, rule=rule, composite=composite, lrn=lrn, layer=layer, start=start, account=account, against=against,
        keep=keep, through=through, channel=channel, **parameters,
    )  # fmt: skip


def check_options(lrn: str, start: str | None) -> None:
    """Raise `OptionError` for unknown ways through LRN layers and starts."""
    if lrn not in get_args(LRNRule):
        raise OptionError(f"lrn must be one of {', '.join(get_args(LRNRule))}, not {lrn!r}")
    if start not in (None, *get_args(Start)):
        raise OptionError(f"start must be 'score' or 'one', not {start!r}")


def choose_composite(rule: str | None, composite: str | Composite | None, parameters: Mapping[str, float]) -> Composite:
    """The composite that the options of `explain` name."""
    if rule is not None and composite is not None:
        raise OptionError("give a rule or a composite, not both")
    if rule is not None:
        return composites.of_rule(rule, **parameters)
    if parameters and (composite is None or isinstance(composite, Composite) or composite.endswith(".toml")):
        raise OptionError(
            f"{', '.join(parameters)}: parameters go with the name of a rule or composite, "
            "for example rule='alphabeta', beta=1.0"
        )
    if isinstance(composite, Composite):
        return composite
    if composite is not None and composite.endswith(".toml"):
        return read_composite(composite)
    return composites.find(composite or DEFAULT_COMPOSITE, **parameters)


def start_blob(network: Network, name: str | None = None) -> str:
    """The blob at which relevance starts: what `name` says, or the scores below the last softmax.

    Raises
    ------
    OptionError
        If there is no blob or layer of that name.
    ModelError
        If the network has several outputs and none is named.
    """
    if name is not None:
        return network.find_blob(name)
    producers = network.producers
    starts = []
    for blob in network.outputs:
        layer = producers[blob]
        starts.append(layer.inputs[0] if isinstance(layer.params, (Softmax, LogSoftmax)) else blob)
    if len(starts) > 1:
        raise ModelError(
            f"{network.name} has {len(starts)} outputs; choose one with layer=...: {', '.join(sorted(set(starts)))}"
        )
    return starts[0]


def target_lists(target: Target, outputs: np.ndarray) -> list[list[int]]:
    """The classes of each image, checked against the outputs (N, classes)."""
    n, classes = outputs.shape
    if target is None:
        return [[int(i)] for i in outputs.argmax(axis=1)]
    entries: list[Any]
    if n == 1:
        given = [target] if _is_index(target) else _listed(target)
        entries = given if len(given) == 1 and not _is_index(given[0]) else [given]
    elif _is_index(target):
        entries = [target] * n
    else:
        entries = _listed(target)
        if len(entries) != n:
            raise OptionError(f"{len(entries)} targets were given for {n} images")
    lists = [[_index(entry)] if _is_index(entry) else [_index(i) for i in _listed(entry)] for entry in entries]
    for entry in lists:
        for i in entry:
            if not 0 <= i < classes:
                raise OptionError(f"target {i} does not exist: there are {classes} values (0 to {classes - 1})")
    return lists


def start_values(
    outputs: np.ndarray, targets: Sequence[Sequence[int]], against: Sequence[Sequence[int]] | None, start: str
) -> np.ndarray:
    """What each output (N, classes) starts with: see `explain`.

    Raises
    ------
    OptionError
        If a class is to be explained against itself.
    """
    values = outputs if start == "score" else np.ones_like(outputs)
    begin = np.zeros_like(outputs)
    for n, classes in enumerate(targets):
        begin[n, classes] = values[n, classes]
        others = list(against[n]) if against is not None else []
        common = set(others) & set(classes)
        if common:
            raise OptionError(f"class {min(common)} cannot be explained against itself")
        if others:
            begin[n, others] = -values[n, others] * (len(set(classes)) / len(set(others)))
    return begin


def _is_index(value: Any) -> bool:
    return isinstance(value, (int, np.integer)) and not isinstance(value, bool)


def _listed(value: Any) -> list[Any]:
    try:
        return list(value)
    except TypeError:
        raise OptionError(f"a target must be an index or a list of them, not {value!r}") from None


def _index(value: Any) -> int:
    try:
        return operator.index(value)
    except TypeError:
        raise OptionError(f"a target must be an index, not {value!r}") from None
