"""The LRP Toolbox's numbers: its formula codes, options and oddities, for those who compare with it.

The Toolbox (caffe-master-lrp 1.3.1) is the implementation by the authors of LRP. `explain` computes what it
computes; `caffe2lrp.explain` is the mathematics. docs/toolbox.md lists where the two differ.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields, replace
from typing import Any

import numpy as np

from caffe2lrp import rules
from caffe2lrp.engine.backward import Settings
from caffe2lrp.errors import ModelError, OptionError
from caffe2lrp.explanation import Explanation, Target, target_lists
from caffe2lrp.ir import Layer, Network
from caffe2lrp.layers.activation import AbsVal, Power, PReLU, ReLU, Sigmoid, TanH
from caffe2lrp.layers.convolution import Convolution
from caffe2lrp.layers.dropout import Dropout
from caffe2lrp.layers.inner_product import InnerProduct
from caffe2lrp.layers.join import Concat
from caffe2lrp.layers.lrn import LRN
from caffe2lrp.layers.pooling import Pooling
from caffe2lrp.layers.softmax import Softmax
from caffe2lrp.rules import Quirks, Rule

GRADIENT, SENSITIVITY, DECONVOLUTION, GUIDED = 11, 99, 26, 166

# formula: (rule up to layer index AUX, rule of convolutions, rule of fully connected layers)
_BY_INDEX = {
    0: (None, "eps", "eps"),
    2: (None, "ab", "ab"),
    54: ("flat", "eps", "eps"),
    56: ("wsq", "eps", "eps"),
    58: ("flat", "ab", "ab"),
    60: ("wsq", "ab", "ab"),
    100: (None, "ab", "eps"),
    102: ("flat", "ab", "eps"),
    104: ("wsq", "ab", "eps"),
    114: ("ab", "eps", "eps"),
}
# formula: rule of convolutions but the first, which has z^B (22: none has); fully connected ones have fixed alpha-beta
_BY_DEPTH = {6: "ab", 8: "eps", 18: "fixed", 22: "fixed"}
FORMULAS = (*_BY_INDEX, *_BY_DEPTH, GRADIENT, DECONVOLUTION, GUIDED, SENSITIVITY)
"""All values of ``relpropformulatype``."""

# "index > 15" in the formulas by depth is CaffeNet's fc6, written into the Toolbox as a number.
_DEEP = 15
_PASSING = (Sigmoid, TanH, AbsVal, Power, PReLU)
_KNOWN = (Convolution, InnerProduct, Pooling, LRN, Concat, Dropout, ReLU, Softmax, *_PASSING)


@dataclass(frozen=True)
class Options:
    """Options by the Toolbox's names, with the values that its demonstrators and its shipped configuration set."""

    relpropformulatype: int = 100
    epsstab: float = 1.0
    alphabeta_beta: float = 1.0
    lastlayerindex: int = -2
    firstlayerindex: int = 0
    auxiliaryvariable_maxlayerindexforflatdistinconv: int = 0
    codeexectype: int = 0
    biastreatmenttype: int = 0
    lrn_forward_type: int = 0
    lrn_backward_type: int = 1
    maxpoolingtoavgpoolinginbackwardpass: int = 0
    has_init_relevance: int = 0
    relevance_for_init: float = 1.0


_ALIASES = {
    "formula": "relpropformulatype",
    "epsilon": "epsstab",
    "beta": "alphabeta_beta",
    "aux": "auxiliaryvariable_maxlayerindexforflatdistinconv",
}


@dataclass(frozen=True)
class Step:
    """One layer of the net as the Toolbox's Caffe instantiates it.

    Attributes
    ----------
    name, type
        Name and type; Splits are called as Caffe calls them.
    layer
        The layer, or None for a Split.
    blob
        The first blob that it writes.
    """

    name: str
    type: str
    layer: Layer | None
    blob: str


def steps(network: Network) -> list[Step]:
    """All layers as the Toolbox counts them: a Split stands behind every value that is read more than once."""
    readers = network.consumers

    def splits(blobs: Sequence[str], writer: str) -> list[Step]:
        return [
            Step(f"{network.caffe_name(blob)}_{writer}_{i}_split", "Split", None, blob)
            for i, blob in enumerate(blobs)
            if len(readers[blob]) > 1
        ]

    found = splits(list(network.inputs), "input")
    for layer in network.layers:
        found.append(Step(layer.name, layer.type, layer, layer.outputs[0]))
        found += splits(layer.outputs, layer.name)
    return found


def explain(network: Network, x: Any, target: Target = None, *, imagemean: Any = None, **options: Any) -> Explanation:
    """Explain as the LRP Toolbox does, number for number.

    Parameters
    ----------
    network, x, target
        As for `caffe2lrp.explain`; for one image a list of targets is started together.
    imagemean
        Mean image (C, H, W) for the z^B rule of formulas 6, 8 and 18: pixels lie in [0 - mean, 255 - mean].
    options
        `Options` by the Toolbox's names, or by their aliases: ``formula`` (relpropformulatype), ``epsilon``
        (epsstab), ``beta`` (alphabeta_beta), ``aux`` (the layer index of formulas 54 to 114).

    Returns
    -------
    Explanation
        `relevance` in network channel order, (N, C, H, W). Formula 99 gives the same norm in all channels.

    Raises
    ------
    OptionError
        Where the Toolbox stops: unknown formulas, contradictory options, targets that do not exist.
    ModelError
        Where the Toolbox has no relevance for a layer.
    """
    from caffe2lrp.engine.session import Session

    return run(Session(network, x, fold=False), target, imagemean=imagemean, **options)


def run(session: Any, target: Target = None, *, imagemean: Any = None, **options: Any) -> Explanation:
    """As `explain`, on a session, so that several formulas share one forward pass."""
    chosen = parse_options(options)
    network = session.network
    counted = steps(network)
    first, last = _range(counted, chosen)
    _check(network, counted[first : last + 1], chosen)
    formula = chosen.relpropformulatype
    is_gradient = formula in (GRADIENT, SENSITIVITY)
    start = counted[last]
    # A Softmax as last layer sends down all its probabilities, whatever the target.
    softmax = start.layer if start.type == "Softmax" and not is_gradient else None
    blob = softmax.inputs[0] if softmax is not None else start.blob
    settings = Settings(
        rules=_rules(network, counted, chosen),
        start=blob,
        lrn="toolbox" if chosen.lrn_backward_type == 1 else "identity",
        relu={DECONVOLUTION: "positive", GUIDED: "guided"}.get(formula, "pass"),  # type: ignore[arg-type]
        derivative=is_gradient,
        average_max=bool(chosen.maxpoolingtoavgpoolinginbackwardpass) and not is_gradient,
        spread_empty=True,
    )
    mean = None if imagemean is None else np.asarray(imagemean, np.float64)
    backward = session.plan(
        settings, lambda: _bounds(mean, session.x), None if mean is None else (mean.shape, mean.tobytes())
    )
    with session.values() as values:
        memory = values[_final_value(network, start.blob)]
        scores = memory.reshape(memory.shape[0], -1).copy()
        targets = target_lists(target, scores)
        begin = _begin(scores, targets, chosen) if softmax is None else scores
        backward.run(begin.reshape(values[blob].shape))
        relevances = {name: array.copy() for name, array in backward.input_relevances.items()}
    if formula == SENSITIVITY:
        for relevance in relevances.values():
            relevance[:] = np.sqrt((relevance**2).sum(axis=1, keepdims=True))
    return Explanation(
        relevances[network.input],
        begin.sum(axis=1),
        targets,
        scores,
        f"toolbox formula {formula}",
        relevances=relevances,
    )


def parse_options(options: dict[str, Any]) -> Options:
    """Options by name or alias; real numbers are rounded to single precision, which the Toolbox keeps them in."""
    known = {f.name: type(f.default) for f in fields(Options)}
    values: dict[str, Any] = {}
    for name, value in options.items():
        field = _ALIASES.get(name, name)
        if field not in known:
            raise OptionError(f"the Toolbox has no option '{name}'; it has {', '.join([*known, *_ALIASES])}")
        if field in values:
            raise OptionError(f"option {field} is given twice, once as {name}")
        try:
            values[field] = float(np.float32(value)) if known[field] is float else int(value)
        except (TypeError, ValueError):
            raise OptionError(f"option {name} must be a number, not {value!r}") from None
    chosen = replace(Options(), **values)
    formula = chosen.relpropformulatype
    if formula not in FORMULAS:
        raise OptionError(f"relpropformulatype {formula} does not exist; known are {', '.join(map(str, FORMULAS))}")
    aux = chosen.auxiliaryvariable_maxlayerindexforflatdistinconv
    if formula in _BY_INDEX and _BY_INDEX[formula][0] is not None and aux < 0:
        raise OptionError(f"formula {formula} needs auxiliaryvariable_maxlayerindexforflatdistinconv >= 0, not {aux}")
    if chosen.lrn_backward_type not in (-1, 0, 1):
        raise OptionError(f"lrn_backward_type must be 1, 0 or -1, not {chosen.lrn_backward_type}")
    return chosen


def _range(counted: list[Step], options: Options) -> tuple[int, int]:
    """(first, last) layer index of the pass; -1 is below the lowest Softmax, -2 the highest InnerProduct."""
    first, last = options.firstlayerindex, options.lastlayerindex
    if last == -1:
        last = min((i for i, step in enumerate(counted) if step.type == "Softmax"), default=0) - 1
    elif last == -2:
        last = max((i for i, step in enumerate(counted) if step.type == "InnerProduct"), default=-1)
    if first != 0:
        raise OptionError(f"firstlayerindex must be 0, not {first}: the Toolbox's result is undefined otherwise")
    if not first < last < len(counted):
        raise OptionError(
            f"lastlayerindex {options.lastlayerindex} gives no pass: it must name a layer of 1 to {len(counted) - 1}, "
            "-1 needs a Softmax and -2 an InnerProduct layer"
        )
    return first, last


def _check(network: Network, visited: list[Step], options: Options) -> None:
    """Raise for what is fatal in the Toolbox."""
    formula = options.relpropformulatype
    if formula in (GRADIENT, SENSITIVITY):
        return
    for step in visited:
        layer = step.layer
        if layer is None:
            continue
        p = layer.params
        if not isinstance(p, _KNOWN) or (isinstance(p, Convolution) and p.dilation != (1, 1)):
            raise ModelError(f"{layer}: the Toolbox has no relevance for it; use caffe2lrp.explain")
        if isinstance(p, _PASSING) and formula not in (0, 2):
            raise ModelError(f"{layer}: the Toolbox stops at it under formula {formula}; only 0 and 2 pass")
        if isinstance(p, LRN) and p.region == "within" and options.lrn_backward_type == 1:
            raise ModelError(f"{layer}: lrn_backward_type 1 does not work within channels; use 0")
        if options.codeexectype == 1:
            _check_slow_path(layer, formula)


def _check_slow_path(layer: Layer, formula: int) -> None:
    fatal = {"Convolution": (0, 26, 166), "InnerProduct": (0, 26, 166, 100), "Pooling": FORMULAS}
    if formula in fatal.get(layer.type, ()):
        raise ModelError(f"{layer}: formula {formula} has no codeexectype 1")


def _rules(network: Network, counted: list[Step], options: Options) -> tuple[tuple[str, Rule], ...]:
    return tuple(
        (step.layer.name, _rule(step.layer, index, options))
        for index, step in enumerate(counted)
        if step.layer is not None and isinstance(step.layer.params, (Convolution, InnerProduct))
    )


def _rule(layer: Layer, index: int, options: Options) -> Rule:
    kind, beta = _kind(layer, index, options)
    if kind == "lin":
        return rules.gradient()
    if beta < 0 and (kind in ("ab", "zB") or (kind == "wsq" and isinstance(layer.params, Convolution))):
        raise OptionError(f"{layer}: alphabeta_beta must be at least 0, not {beta}")
    if kind == "eps":
        return _epsilon(options.epsstab)
    if kind == "ab":
        return _alphabeta(layer, beta, options)
    if kind == "flat":
        return replace(rules.flat(), quirks=Quirks(flat_by_pixel=isinstance(layer.params, Convolution)))
    if kind == "wsq":
        return rules.wsquare()
    (denominator,) = rules.zbox().denominators
    changed = replace(denominator, bias=rules.POSITIVE, epsilon=1e-12, mode=rules.THRESHOLD)
    return replace(rules.zbox(), denominators=(changed,), quirks=Quirks(high_in_padding=255.0))


def _kind(layer: Layer, index: int, options: Options) -> tuple[str, float]:
    """Kind of rule and its beta: the Toolbox's table of formulas."""
    formula, beta = options.relpropformulatype, options.alphabeta_beta
    is_convolution = isinstance(layer.params, Convolution)
    if formula in (GRADIENT, SENSITIVITY, DECONVOLUTION, GUIDED):
        return "lin", beta
    if formula in _BY_DEPTH:
        fixed = ("ab", 0.0 if index > _DEEP else 1.0)
        if not is_convolution:
            return fixed
        if index == options.firstlayerindex and formula != 22:
            return "zB", beta
        return fixed if _BY_DEPTH[formula] == "fixed" else (_BY_DEPTH[formula], beta)
    low, of_convolution, of_dense = _BY_INDEX[formula]
    if low is not None and index <= options.auxiliaryvariable_maxlayerindexforflatdistinconv:
        return low, beta
    return of_convolution if is_convolution else of_dense, beta


def _epsilon(epsilon: float) -> Rule:
    denominator = rules.Denominator((rules.FULL,), epsilon=epsilon, mode=rules.TOOLBOX)
    return Rule(f"epsilon {epsilon:g}", ("x",), (denominator,))


def _alphabeta(layer: Layer, beta: float, options: Options) -> Rule:
    rule = rules.alphabeta(beta)
    alpha = float(np.float32(1) + np.float32(beta))
    denominators = (replace(rule.denominators[0], factor=alpha), *rule.denominators[1:])
    spread = options.biastreatmenttype == 1 and "bias" in layer.weights
    if spread and not (options.codeexectype == 1 and options.relpropformulatype in (2, 100)):
        raise OptionError(f"{layer}: biastreatmenttype 1 works with codeexectype 1 under formulas 2 and 100 only")
    return replace(rule, denominators=denominators, quirks=Quirks(first_group_bias=True, spread_bias=spread))


def _bounds(mean: np.ndarray | None, x: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None:
    if mean is None:
        return None
    if mean.shape != x.shape[1:]:
        raise OptionError(f"imagemean must have the shape of one input, {x.shape[1:]}, not {mean.shape}")
    return -mean, 255 - mean


def _final_value(network: Network, blob: str) -> str:
    """The value that a blob's memory holds after the forward pass: that of the last layer that works in place."""
    name = network.caffe_name(blob)
    while True:
        readers = network.consumers[blob]
        if len(readers) != 1 or network.caffe_name(readers[0].outputs[0]) != name:
            return blob
        blob = readers[0].outputs[0]


def _begin(scores: np.ndarray, targets: list[list[int]], options: Options) -> np.ndarray:
    begin = np.zeros_like(scores)
    # The Toolbox's batched entry point ignores has_init_relevance.
    fixed = bool(options.has_init_relevance) and len(targets) == 1
    for n, classes in enumerate(targets):
        begin[n, classes] = options.relevance_for_init if fixed else scores[n, classes]
    return begin
