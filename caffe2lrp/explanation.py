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
    """

    relevance: np.ndarray = field(repr=False)
    score: np.ndarray
    target: list[list[int]]
    outputs: np.ndarray = field(repr=False)
    rule: str
    account: Account | None = field(default=None, repr=False)
    relevances: dict[str, np.ndarray] = field(default_factory=dict, repr=False)


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
        target, rule=rule, composite=composite, lrn=lrn, layer=layer, start=start, account=account, **parameters
    )


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
