"""What convolution and fully connected layers share when a rule sends relevance through them."""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace

import numpy as np

from caffe2lrp.engine.backward import Ledger, RelevancePlan
from caffe2lrp.engine.plan import ForwardPlan
from caffe2lrp.errors import ModelError
from caffe2lrp.ir import Layer
from caffe2lrp.kernels import relevance as sharing
from caffe2lrp.kernels import spread_bias as kernels
from caffe2lrp.layers.convolution import Convolution
from caffe2lrp.rules import FULL, NEGATIVE, POSITIVE, Denominator, Part, Rule, alphabeta


def part_of(w: np.ndarray, part: Part) -> np.ndarray:
    """f(w) for a part of the weights, in the precision of `w`."""
    if part == FULL:
        return w
    if part == POSITIVE:
        return np.maximum(w, 0)
    if part == NEGATIVE:
        return np.minimum(w, 0)
    value = np.zeros_like(w)
    if part.full:
        value += w.dtype.type(part.full) * w
    if part.positive:
        value += w.dtype.type(part.positive) * np.maximum(w, 0)
    if part.square:
        value += w.dtype.type(part.square) * w * w
    if part.one:
        value += w.dtype.type(part.one)
    return value


@dataclass(frozen=True)
class Form:
    """What a rule looks at in one linear layer: the input, and the parts of weights and bias.

    `rule` has only those sources that are not known to be zero.
    """

    layer: Layer
    rule: Rule
    x: np.ndarray
    bias: np.ndarray | None

    def bias_part(self, denominator: Denominator) -> np.ndarray | None:
        """The part of the bias in a denominator, (M,), or None."""
        if self.bias is None or denominator.bias is None:
            return None
        return part_of(self.bias, denominator.bias)

    @property
    def derivation(self) -> Hashable:
        """What the denominators depend on besides the forward values."""
        rule = self.rule
        return (self.layer.name, rule.sources, tuple((d.parts, d.bias) for d in rule.denominators), rule.quirks)


@dataclass(frozen=True)
class LinearCall(Form):
    """One linear layer on the way back."""

    r: np.ndarray
    ledger: Ledger


_BY_SIGN = alphabeta(1.0)


def divides_by_sign(rule: Rule) -> bool:
    """Whether the denominators of a rule are z+ and z-, which add up to the output of the layer."""
    return (
        rule.sources == _BY_SIGN.sources
        and [(d.parts, d.bias) for d in rule.denominators] == [(d.parts, d.bias) for d in _BY_SIGN.denominators]
        and rule.quirks == _BY_SIGN.quirks
    )


def parts_by_sign(rule: Rule) -> bool:
    """Whether a rule's terms are those of alpha-beta, or the first of them: positive and negative products w x."""
    sources = ("x+", "x-")[: len(rule.sources)]
    parts = [(POSITIVE, NEGATIVE)[: len(sources)], (NEGATIVE, POSITIVE)[: len(sources)]]
    terms = [d.parts for d in rule.denominators]
    return rule.sources == sources and terms == parts[: len(terms)]


def form_by_sign(plan: ForwardPlan, layer: Layer) -> Form:
    """The form of the alpha-beta rule, for the forward pass."""
    bias = plan.weight(layer, "bias") if "bias" in layer.weights else None
    return Form(layer, _present(_BY_SIGN, plan, layer), plan.values[layer.inputs[0]], bias)


def linear_call(plan: RelevancePlan, layer: Layer) -> LinearCall:
    """Rule and arrays of a linear layer."""
    if layer.name not in plan.rules:
        raise ModelError(f"{layer} has no rule")
    rule = _present(plan.rules[layer.name], plan.forward, layer)
    ledger = plan.ledgers[layer.name] = Ledger(layer, rule)
    bias = plan.forward.weight(layer, "bias") if "bias" in layer.weights else None
    if bias is not None and rule.quirks.first_group_bias and isinstance(layer.params, Convolution):
        bias = np.tile(bias[: bias.size // layer.params.group], layer.params.group)
    return LinearCall(layer, rule, plan.forward.values[layer.inputs[0]], bias, plan.relevance[layer.outputs[0]], ledger)


def _present(rule: Rule, plan: ForwardPlan, layer: Layer) -> Rule:
    """The rule without the source that is known to be zero."""
    return _without(rule, "x-") if "x-" in rule.sources and layer.inputs[0] in plan.nonnegative else rule


def _without(rule: Rule, source: str) -> Rule:
    keep = [i for i, s in enumerate(rule.sources) if s != source]
    denominators = tuple(replace(d, parts=tuple(d.parts[i] for i in keep)) for d in rule.denominators)
    return replace(rule, sources=tuple(rule.sources[i] for i in keep), denominators=denominators)


def arriving(plan: RelevancePlan, call: LinearCall, denominator: Denominator) -> np.ndarray:
    """The relevance that a term shares out: all, or that of outputs of one sign."""
    if not denominator.sign:
        return call.r
    chosen, y = plan.new(call.r.shape), plan.forward.values[call.layer.outputs[0]]
    arrays = (call.r.reshape(-1), y.reshape(-1), denominator.sign, chosen.reshape(-1))
    plan.program.add(sharing.of_sign, *arrays, label=call.layer.name)
    return chosen


def pixel_bounds(plan: RelevancePlan, call: LinearCall) -> tuple[np.ndarray, np.ndarray]:
    """Lowest and highest input (C, H, W) for the z^B rule: the rule's own, or those of pixels by the preprocessing."""
    if call.rule.bounds is not None:
        low, high = (np.full(call.x.shape[1:], bound, plan.dtype) for bound in call.rule.bounds)
        return low, high
    if plan.bounds is None:
        raise ModelError(
            f"{call.layer}: the z^B rule needs the bounds of the input, but the preprocessing is not known; "
            "give low=... and high=..."
        )
    if call.x.shape != plan.forward.values[plan.network.input].shape:
        raise ModelError(f"{call.layer}: the z^B rule is for the first layer, whose input are pixels")
    return plan.bounds


def add_spread_bias(
    plan: RelevancePlan,
    call: LinearCall,
    weight: np.ndarray,
    x: np.ndarray,
    r: np.ndarray,
    target: np.ndarray,
    sizes: tuple[int, ...],
) -> None:
    """Alpha-beta rule where w x is replaced by w x + b / K for each of the K inputs (LRP Toolbox, biastreatmenttype 1).

    All arrays are those of a convolution; a fully connected layer is one over a single pixel. `sizes` are
    kernel, stride, pad, dilation (vertical, horizontal each) and group.
    """
    assert call.bias is not None
    k = weight[0].size
    for g, d in enumerate(call.rule.denominators):
        s = plan.new(r.shape)
        sign = 1 if d.parts[0] == POSITIVE else -1
        shared = (x, weight, call.bias / call.bias.dtype.type(k), r, s)
        plan.program.add(kernels.spread_bias_ratio, *shared, *sizes, sign, d.factor, label=call.layer.name)
        plan.program.add(kernels.spread_bias_relevance, *shared, target, *sizes, sign, g, label=call.layer.name)
