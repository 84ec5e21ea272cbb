"""Convolution: forward, and relevance by any rule.

For relevance, sources and denominators become channels of one bigger convolution: the parts of the
weights are stacked into one matrix, (denominators * M) x (sources * C), applied once forward for the
denominators and once transposed for the shares.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from caffe2lrp.engine.backward import RelevancePlan, Term, constant
from caffe2lrp.engine.linear import LinearCall, add_spread_bias, arriving, linear_call, part_of, pixel_bounds
from caffe2lrp.engine.plan import ForwardPlan
from caffe2lrp.engine.registry import forward, relevance
from caffe2lrp.ir import Layer
from caffe2lrp.kernels import eltwise
from caffe2lrp.kernels import relevance as sharing
from caffe2lrp.kernels.convolution import Sliding, add_forward, add_transposed
from caffe2lrp.kernels.gemm import STORE, STORE_RELU, STORE_TIMES
from caffe2lrp.kernels.launch import Program
from caffe2lrp.layers.base import Shape, count
from caffe2lrp.layers.convolution import Convolution
from caffe2lrp.rules import FULL


@forward(Convolution)
def _convolution(plan: ForwardPlan, layer: Layer) -> None:
    (x,) = plan.inputs(layer)
    y, rectify = plan.rectified_output(layer)
    bias = plan.weight(layer, "bias") if "bias" in layer.weights else None
    weight = _grouped(layer, plan.weight(layer, "weight"))
    mode = STORE_RELU if rectify else STORE
    add_forward(plan.program, _sliding(layer, x.shape, y.shape), weight, bias, x, y, mode, layer.name)


def _grouped(layer: Layer, weight: np.ndarray) -> np.ndarray:
    """Weights as (group, M / group, C / group, cells of the kernel)."""
    p = layer.params
    assert isinstance(p, Convolution)
    return weight.reshape(p.group, p.num_output // p.group, weight.shape[1], -1)


def _sliding(layer: Layer, source: Shape, target: Shape) -> Sliding:
    p = layer.params
    assert isinstance(p, Convolution)
    return Sliding(source, target, p.kernel, p.stride, p.pad, p.dilation, p.group)


@relevance(Convolution)
def _convolution_relevance(plan: RelevancePlan, layer: Layer) -> None:
    call = linear_call(plan, layer)
    if call.rule.quirks.spread_bias and call.bias is not None:
        _spread_bias(plan, call)
    elif call.rule.sources == ("one",):
        _without_input(plan, call)
    else:
        _with_sources(plan, call)


def _without_input(plan: RelevancePlan, call: LinearCall) -> None:
    """Rules that look at the weights only: one share per weight, the same at every pixel."""
    (denominator,) = call.rule.denominators
    weight = part_of(_grouped(call.layer, plan.forward.weight(call.layer, "weight")), denominator.parts[0])
    s = call.r
    if call.rule.divide:
        norms = np.ascontiguousarray(weight.sum(axis=(2, 3)).reshape(-1))
        if call.rule.quirks.flat_by_pixel:
            norms[:] = weight.shape[3]
        s = plan.new(call.r.shape)
        rows = (call.r.shape[0], call.r.shape[1], -1)
        plan.program.add(
            sharing.ratio_rows, call.r.reshape(rows), norms, denominator.factor, s.reshape(rows), label=call.layer.name
        )
        z = constant(norms[:, None, None], call.r.shape, plan.dtype)
        call.ledger.terms.append(Term(call.r, z, s, None, denominator.factor, 0.0))
    target = plan.into(call.layer.inputs[0])
    sliding = _sliding(call.layer, target.shape, s.shape)
    add_transposed(plan.program, sliding, weight, s, target, target, STORE, f"{call.layer.name} back")


def _with_sources(plan: RelevancePlan, call: LinearCall) -> None:
    layer, rule = call.layer, call.rule
    p = layer.params
    assert isinstance(p, Convolution)
    n = call.x.shape[0]
    outer, terms = n * p.group, len(rule.denominators)
    key = (call.derivation, rule.bounds or id(plan)) if "low" in rule.sources else call.derivation
    sources, sliding, weight, z = plan.derive(key, lambda program: _derive(plan, call, program))
    s = plan.new(z.shape)
    for g, d in enumerate(rule.denominators):
        r = arriving(plan, call, d)
        grouped = (outer, terms, call.r.size // outer)
        numbers = (g, d.factor, d.epsilon, d.mode)
        plan.program.add(
            sharing.ratio, r.reshape(outer, -1), z.reshape(grouped), *numbers, s.reshape(grouped), label=layer.name
        )
        part = (n, p.group, terms, -1, *call.r.shape[2:])
        bias = call.bias_part(d)
        if bias is not None:
            bias = bias.reshape(1, p.group, -1, 1, 1)
        z_part, s_part = z.reshape(part)[:, :, g], s.reshape(part)[:, :, g]
        call.ledger.terms.append(Term(r.reshape(s_part.shape), z_part, s_part, bias, d.factor, d.epsilon))
    target = plan.into(layer.inputs[0])
    shares = target if len(rule.sources) == 1 else plan.new(sources.shape)
    sliding = replace(sliding, source=sources.shape, target=s.shape)
    add_transposed(plan.program, sliding, weight, s, shares, sources, STORE_TIMES, f"{layer.name} back")
    if shares is target:
        return
    whole = target if sources.shape[2:] == target.shape[2:] else plan.new((*target.shape[:2], *sources.shape[2:]))
    plan.program.add(
        sharing.sum_sources, shares.reshape(outer, len(rule.sources), -1), whole.reshape(outer, -1), label=layer.name
    )
    if whole is not target:
        plan.program.add(eltwise.crop, _planes(whole), _planes(target), *p.pad, label=layer.name)


def _derive(
    plan: RelevancePlan, call: LinearCall, program: Program
) -> tuple[np.ndarray, Sliding, np.ndarray, np.ndarray]:
    """Sources and the way over them, the stacked weight, and the denominators."""
    sources = _sources(plan, call, program)
    sliding = _sliding(call.layer, sources.shape, call.r.shape)
    if call.rule.quirks.high_in_padding is not None:
        sources, sliding = _pad_sources(plan, call, sources, program)
    weight = _stacked_weight(plan, call)
    return sources, sliding, weight, _denominators(plan, call, sources, weight, sliding, program)


def _planes(array: np.ndarray) -> np.ndarray:
    return array.reshape(-1, *array.shape[2:])


def _pad_sources(
    plan: RelevancePlan, call: LinearCall, sources: np.ndarray, program: Program
) -> tuple[np.ndarray, Sliding]:
    """Sources with their padding spelled out, for bounds that are not 0 there; the last source is `high`."""
    p = call.layer.params
    assert isinstance(p, Convolution)
    n, channels, height, width = sources.shape
    padded = np.zeros((n, channels, height + 2 * p.pad[0], width + 2 * p.pad[1]), plan.dtype)
    by_source = padded.reshape(n, p.group, len(call.rule.sources), -1, *padded.shape[2:])
    by_source[:, :, -1] = call.rule.quirks.high_in_padding
    program.add(eltwise.paste, _planes(sources), _planes(padded), *p.pad, label=call.layer.name)
    return padded, replace(_sliding(call.layer, padded.shape, call.r.shape), pad=(0, 0))


def _spread_bias(plan: RelevancePlan, call: LinearCall) -> None:
    """Alpha-beta with the bias spread over the inputs."""
    p = call.layer.params
    assert isinstance(p, Convolution)
    weight = plan.forward.weight(call.layer, "weight")
    sizes = (*p.kernel, *p.stride, *p.pad, *p.dilation, p.group)
    add_spread_bias(plan, call, weight, call.x, call.r, plan.into(call.layer.inputs[0]), sizes)


def _stacked_weight(plan: RelevancePlan, call: LinearCall) -> np.ndarray:
    """(group, denominators * M / group, sources * C / group, cells)."""
    weight = _grouped(call.layer, plan.forward.weight(call.layer, "weight"))
    rows = [np.concatenate([part_of(weight, part) for part in d.parts], axis=2) for d in call.rule.denominators]
    return np.concatenate(rows, axis=1)


def _denominators(
    plan: RelevancePlan, call: LinearCall, sources: np.ndarray, weight: np.ndarray, sliding: Sliding, program: Program
) -> np.ndarray:
    """z of all denominators, (N, group * denominators * M / group, H', W'); the forward pass's own where it is that."""
    layer, rule = call.layer, call.rule
    if rule.sources == ("x",) and [(d.parts, d.bias) for d in rule.denominators] == [((FULL,), FULL)]:
        return plan.forward.values[layer.outputs[0]]
    p = layer.params
    assert isinstance(p, Convolution)
    parts = [call.bias_part(d) for d in rule.denominators]
    zero = np.zeros(p.num_output, plan.dtype)
    bias = np.stack([zero if b is None else b for b in parts]).reshape(len(parts), p.group, -1).transpose(1, 0, 2)
    out: Shape = (call.x.shape[0], p.num_output * len(parts), *call.r.shape[2:])
    z = plan.new(out)
    flat = np.ascontiguousarray(bias).reshape(-1)
    sliding = replace(sliding, source=sources.shape, target=out)
    add_forward(program, sliding, weight, flat, sources, z, STORE, layer.name)
    return z


def _sources(plan: RelevancePlan, call: LinearCall, program: Program) -> np.ndarray:
    """What the weights are applied to, (N, group * sources * C / group, H, W)."""
    layer, names, x = call.layer, call.rule.sources, call.x
    if names in (("x",), ("x+",)):  # x+ alone is left where x is never negative
        return x
    p = layer.params
    assert isinstance(p, Convolution)
    n, channels, height, width = x.shape
    stacked = plan.new((n, channels * len(names), height, width))
    if names == ("x+", "x-"):
        size = count(x.shape) // (n * p.group)
        program.add(
            eltwise.split_sign, x.reshape(n, p.group, size), stacked.reshape(n, p.group, 2 * size), label=layer.name
        )
        return stacked
    low, high = pixel_bounds(plan, call)
    view = stacked.reshape(n, p.group, len(names), channels // p.group, height, width)
    view[:, :, 1] = low.reshape(p.group, -1, height, width)
    view[:, :, 2] = high.reshape(p.group, -1, height, width)
    size = channels // p.group * height * width
    program.add(
        eltwise.copy_slice, x.reshape(n * p.group, 1, size), 0, stacked.reshape(n * p.group, len(names), size), 0, 1,
        label=layer.name,
    )  # fmt: skip
    return stacked
