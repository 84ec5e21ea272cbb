"""InnerProduct: forward, and relevance by any rule. Parts of the weights are formed while they are read."""

from __future__ import annotations

from dataclasses import astuple

import numpy as np

from caffe2lrp.engine.backward import RelevancePlan, Term, constant
from caffe2lrp.engine.linear import (
    Form,
    LinearCall,
    add_spread_bias,
    arriving,
    form_by_sign,
    linear_call,
    part_of,
    parts_by_sign,
    pixel_bounds,
)
from caffe2lrp.engine.plan import ForwardPlan
from caffe2lrp.engine.registry import forward, relevance
from caffe2lrp.ir import Layer
from caffe2lrp.kernels import activation, eltwise
from caffe2lrp.kernels import inner_product as kernels
from caffe2lrp.kernels import relevance as sharing
from caffe2lrp.kernels.gemm import STORE, STORE_RELU
from caffe2lrp.kernels.launch import Program
from caffe2lrp.layers.inner_product import InnerProduct
from caffe2lrp.rules import FULL, NEGATIVE, POSITIVE, Denominator, Rule


@forward(InnerProduct)
def _inner_product(plan: ForwardPlan, layer: Layer) -> None:
    (x,) = plan.inputs(layer)
    plain, rectified = plan.linear_outputs(layer)
    w = plan.weight(layer, "weight")
    first = rectified if plain is None else plain
    assert first is not None
    first = first.reshape(-1, w.shape[0])
    if layer.name in plan.by_sign:
        form = form_by_sign(plan, layer)
        parts = _signed_denominators(plan, form, plan.program)
        plan.found(form.derivation, parts)
        flat = first.reshape(1, -1)
        mode = STORE_RELU if plain is None else STORE
        plan.program.add(sharing.sum_parts, parts.reshape(1, 2, -1), flat, flat, mode, label=layer.name)
    else:
        bias = plan.weight(layer, "bias") if "bias" in layer.weights else np.zeros(w.shape[0], plan.dtype)
        plan.program.add(
            kernels.inner_product, w, x.reshape(-1, w.shape[1]), bias, first, plain is None, label=layer.name,
            pieces=kernels.pieces_of_rows(w, len(first)),
        )  # fmt: skip
    if plain is not None and rectified is not None:
        plan.program.add(activation.relu, plain.reshape(-1), rectified.reshape(-1), 0.0, label=layer.name)


@relevance(InnerProduct)
def _inner_product_relevance(plan: RelevancePlan, layer: Layer) -> None:
    call = linear_call(plan, layer)
    if call.rule.quirks.spread_bias and call.bias is not None:
        w, x, r = _weights(plan, call)
        target = plan.into(layer.inputs[0]).reshape(*x.shape, 1, 1)
        pixel = (1, 1, 1, 1, 0, 0, 1, 1, 1)
        add_spread_bias(plan, call, w[:, :, None, None], x.reshape(target.shape), r[:, :, None, None], target, pixel)
    elif call.rule.sources == ("one",):
        _without_input(plan, call)
    elif _is_signed(call.rule):
        _signed(plan, call)
    else:
        _with_sources(plan, call)


def _is_signed(rule: Rule) -> bool:
    """Whether the rule is alpha-beta, with the bias that goes with the products or none."""
    biases = (POSITIVE, NEGATIVE)
    return parts_by_sign(rule) and all(d.bias in (b, None) for d, b in zip(rule.denominators, biases, strict=False))


def _weights(plan: RelevancePlan, call: LinearCall) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Weight (M, K), and input and relevance as (rows, K) and (rows, M)."""
    w = plan.forward.weight(call.layer, "weight")
    return w, call.x.reshape(-1, w.shape[1]), call.r.reshape(-1, w.shape[0])


def _share(plan: RelevancePlan, call: LinearCall, z: np.ndarray, g: int) -> np.ndarray:
    """s = factor R / z for one denominator, entered into the ledger."""
    d = call.rule.denominators[g]
    r, s = arriving(plan, call, d).reshape(z.shape), plan.new(z.shape)
    plan.program.add(
        sharing.ratio, r.reshape(1, -1), z.reshape(1, 1, -1), 0, d.factor, d.epsilon, d.mode, s.reshape(1, 1, -1),
        label=call.layer.name,
    )  # fmt: skip
    call.ledger.terms.append(Term(r, z, s, call.bias_part(d), d.factor, d.epsilon))
    return s


def _start_with_bias(form: Form, denominator: Denominator, z: np.ndarray, program: Program) -> None:
    """Append what makes a denominator (rows, M) its part of the bias, ready for the products to be added."""
    bias = form.bias_part(denominator)
    start = constant(0 if bias is None else bias, z.shape, z.dtype)
    program.add(eltwise.scaled, start.reshape(-1), 1.0, z.reshape(-1), label=form.layer.name)


def _without_input(plan: RelevancePlan, call: LinearCall) -> None:
    w, _, r = _weights(plan, call)
    (d,) = call.rule.denominators
    s = r
    if call.rule.divide:
        norms = part_of(w, d.parts[0]).sum(axis=1)
        s = plan.new(r.shape)
        plan.program.add(
            sharing.ratio_rows, r[:, :, None], norms, d.factor, s.reshape(*r.shape, 1), label=call.layer.name
        )
        call.ledger.terms.append(Term(r, constant(norms, r.shape, plan.dtype), s, None, d.factor, 0.0))
    target = plan.into(call.layer.inputs[0])
    plan.program.add(
        kernels.transposed_part_product, w, *astuple(d.parts[0]), s, target.reshape(-1, w.shape[1]),
        label=f"{call.layer.name} back",
    )  # fmt: skip


def _signed(plan: RelevancePlan, call: LinearCall) -> None:
    """Alpha-beta: both signs in one reading of the weights, for inputs of any sign."""
    w, x, r = _weights(plan, call)
    terms = range(len(call.rule.denominators))

    z = plan.derive(call.derivation, lambda program: _signed_denominators(plan.forward, call, program))
    s = [_share(plan, call, z[g], g) for g in terms]
    s_minus = s[1] if len(s) > 1 else np.zeros(r.shape, plan.dtype)
    target = plan.into(call.layer.inputs[0])
    plan.program.add(
        kernels.signed_relevance, w, x, s[0], s_minus, target.reshape(x.shape), label=f"{call.layer.name} back"
    )


def _signed_denominators(plan: ForwardPlan, form: Form, program: Program) -> np.ndarray:
    """z+ and z-, (2, rows, M), of which the rule may have the first only."""
    w = plan.weight(form.layer, "weight")
    x = form.x.reshape(-1, w.shape[1])
    z = plan.new((2, len(x), w.shape[0]))
    for g, denominator in enumerate(form.rule.denominators):
        _start_with_bias(form, denominator, z[g], program)
    pieces = kernels.pieces_of_rows(w, len(x))
    program.add(kernels.signed_product, w, x, z[0], z[1], label=form.layer.name, pieces=pieces)
    return z


def _with_sources(plan: RelevancePlan, call: LinearCall) -> None:
    """Any rule: one product for each source and denominator."""
    w, x, _ = _weights(plan, call)
    rule = call.rule
    key = (call.derivation, rule.bounds or id(plan)) if "low" in rule.sources else call.derivation
    sources, z = plan.derive(key, lambda program: _derive(plan, call, program))
    shares = [_share(plan, call, z[g], g) for g in range(len(rule.denominators))]
    target = plan.into(call.layer.inputs[0]).reshape(-1)
    back, filled = plan.new(x.shape), False
    for a, u in enumerate(sources):
        for d, s in zip(rule.denominators, shares, strict=True):
            plan.program.add(
                kernels.transposed_part_product, w, *astuple(d.parts[a]), s, back, label=f"{call.layer.name} back"
            )
            function = eltwise.add_times if filled else eltwise.times
            plan.program.add(function, u.reshape(-1), back.reshape(-1), target, label=call.layer.name)
            filled = True


def _derive(plan: RelevancePlan, call: LinearCall, program: Program) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """Sources and denominators; the forward pass's own output where it is the denominator."""
    w, x, r = _weights(plan, call)
    sources = _sources(plan, call, x, program)
    denominators = []
    for d in call.rule.denominators:
        if call.rule.sources == ("x",) and (d.parts, d.bias) == ((FULL,), FULL):
            z = plan.forward.values[call.layer.outputs[0]].reshape(r.shape)
        else:
            z = plan.new(r.shape)
            _start_with_bias(call, d, z, program)
            for part, u in zip(d.parts, sources, strict=True):
                program.add(kernels.part_product, w, *astuple(part), u, z, label=call.layer.name)
        denominators.append(z)
    return sources, denominators


def _sources(plan: RelevancePlan, call: LinearCall, x: np.ndarray, program: Program) -> list[np.ndarray]:
    if "low" in call.rule.sources:
        low, high = pixel_bounds(plan, call)
        return [x, constant(low.reshape(-1), x.shape, plan.dtype), constant(high.reshape(-1), x.shape, plan.dtype)]
    if call.rule.sources == ("x+", "x-"):
        signs = plan.new((2, *x.shape))
        program.add(eltwise.split_sign, x.reshape(1, 1, -1), signs.reshape(1, 1, -1), label=call.layer.name)
        return list(signs)
    return [x]
