"""Convolution and Deconvolution: forward, and relevance by any rule.

For relevance, sources and denominators become channels of one bigger convolution: the parts of the
weights are stacked into one matrix, (denominators * M) x (sources * C), applied once forward for the
denominators and once transposed for the shares. A deconvolution is the same with the two products exchanged.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

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
from caffe2lrp.kernels import activation, eltwise, volume, winograd
from caffe2lrp.kernels import relevance as sharing
from caffe2lrp.kernels.convolution import Packed, Sliding, add_forward, add_side_by_side, add_transposed
from caffe2lrp.kernels.gemm import STORE, STORE_BOTH, STORE_RELU, STORE_TIMES
from caffe2lrp.kernels.launch import Program
from caffe2lrp.kernels.planes import Source
from caffe2lrp.kernels.relevance import Shares
from caffe2lrp.kernels.volume import SlidingVolume
from caffe2lrp.layers.base import Shape, count
from caffe2lrp.layers.convolution import Convolution, Convolving, Deconvolution
from caffe2lrp.rules import FULL, Rule

Bounds = Callable[[], tuple[np.ndarray, np.ndarray]]


@forward(Convolution, Deconvolution)
def _convolution(plan: ForwardPlan, layer: Layer) -> None:
    layers = plan.together(layer)
    if len(layers) > 1:
        _side_by_side(plan, layers)
        return
    products = _Products(layer)
    plain, rectified = plan.linear_outputs(layer)
    if layer.name in plan.by_sign:
        _by_sign(plan, layer, products, plain, rectified)
        return
    (x,) = plan.inputs(layer)
    bias = plan.weight(layer, "bias") if "bias" in layer.weights else None
    weight = products.grouped(plan.weight(layer, "weight"))
    arrays = [products.images(a) for a in (plain, rectified) if a is not None]
    if len(arrays) == 2 and not products.stores_both:
        products.forward(plan.program, weight, bias, products.images(x), arrays[0], arrays[0], STORE)
        plan.program.add(activation.relu, arrays[0].reshape(-1), arrays[1].reshape(-1), 0.0, label=layer.name)
        return
    mode = _store_mode(plain, rectified)
    products.forward(plan.program, weight, bias, products.images(x), arrays[0], arrays[-1], mode, minimal=plan.minimal)


def _side_by_side(plan: ForwardPlan, layers: list[Layer]) -> None:
    """Convolutions of one blob that write one output each."""
    (x,) = plan.inputs(layers[0])
    pairs = [plan.linear_outputs(layer) for layer in layers]
    products = [_Products(layer) for layer in layers]
    weights = [p.grouped(plan.weight(layer, "weight")) for p, layer in zip(products, layers, strict=True)]
    biases = [plan.weight(layer, "bias") if "bias" in layer.weights else None for layer in layers]
    outputs = [array for pair in pairs for array in pair if array is not None]
    products[0].side_by_side(plan.program, weights, biases, x, outputs, _store_mode(*pairs[0]))


def _store_mode(plain: np.ndarray | None, rectified: np.ndarray | None) -> int:
    if plain is not None and rectified is not None:
        return STORE_BOTH
    return STORE if rectified is None else STORE_RELU


def _by_sign(
    plan: ForwardPlan, layer: Layer, products: _Products, plain: np.ndarray | None, rectified: np.ndarray | None
) -> None:
    """The output as z+ + z-, which are kept for the alpha-beta rule."""
    form = form_by_sign(plan, layer)
    form = replace(form, x=products.images(form.x))
    outputs = [a for a in (plain, rectified) if a is not None]
    found = _derive(plan, form, products.images(outputs[0]).shape, products, plan.program)
    plan.found(form.derivation, found)
    outer = form.x.shape[0] * products.params.group
    parts, first = found[-1].reshape(outer, 2, -1), outputs[0].reshape(outer, -1)
    mode = _store_mode(plain, rectified)
    plan.program.add(sharing.sum_parts, parts, first, outputs[-1].reshape(outer, -1), mode, label=layer.name)


class _Products:
    """The product with a layer's weights and its transpose, between blobs (N, C, H, W) or with more axes.

    Weights are (group, M / group, C / group, cells of the kernel) for M channels of the output and C of the input.
    `padded` is False where the padding is part of the input.
    """

    def __init__(self, layer: Layer, padded: bool = True) -> None:
        assert isinstance(layer.params, Convolving)
        self.params: Convolving = layer.params
        self.label = layer.name
        self.turned = isinstance(layer.params, Deconvolution)
        missing = max(2 - len(self.params.kernel), 0)  # axes that make an image of a line
        self.lines: Shape = (1,) * missing
        self.pads: Shape = (*(0,) * missing, *self.params.pad) if padded else (0,) * (missing + len(self.params.pad))

    @property
    def by_sign(self) -> bool:
        """Whether there are products by sign."""
        return len(self.lines + self.params.kernel) == 2

    @property
    def stores_both(self) -> bool:
        """Whether the forward product can store its result together with what a ReLU makes of it."""
        return not self.turned and self.by_sign

    def images(self, array: np.ndarray) -> np.ndarray:
        """A blob as (N, C, H, W), or with more axes."""
        shape = self.params.images(array.shape)
        return array.reshape(*shape[:2], *self.lines, *shape[2:])

    def grouped(self, weight: np.ndarray) -> np.ndarray:
        """Stored weights by groups."""
        weight = weight.reshape(self.params.group, -1, weight.shape[1], count(self.params.kernel))
        return weight.transpose(0, 2, 1, 3) if self.turned else weight

    def forward(
        self, program: Program, weight: np.ndarray, bias: np.ndarray | None, u: np.ndarray, z: np.ndarray,
        factor: np.ndarray, mode: int, sides: int = 0, minimal: float = 0,
    ) -> None:  # fmt: skip
        """Append z = weight * u + bias; with `sides`, by sign (see `Geometry`).

        If `minimal`, with as few multiplications as pays for so many times the images, which is not for sums of one
        sign (see `winograd`).
        """
        self._add(program, self.turned, weight, bias, u, z, factor, mode, self.label, {}, sides, minimal)

    def side_by_side(
        self, program: Program, weights: list[np.ndarray], biases: list[np.ndarray | None], u: np.ndarray,
        outputs: list[np.ndarray], mode: int,
    ) -> None:  # fmt: skip
        """Append the products of `forward` with several weights, which differ from those of this layer in M alone."""
        sliding = self._sliding(u.shape, outputs[0].shape)
        assert isinstance(sliding, Sliding)
        add_side_by_side(program, sliding, weights, biases, u, outputs, mode, self.label)

    def transposed(
        self, program: Program, weight: np.ndarray, s: Source, c: np.ndarray, factor: np.ndarray, mode: int,
        packed: Packed, sides: int = 0, minimal: float = 0,
    ) -> None:  # fmt: skip
        """Append c = weight^T * s, times `factor` by `mode`; what the weights are packed to is kept for other plans.

        `sides` and `minimal` as in `forward`.
        """
        label = f"{self.label} back"
        self._add(program, not self.turned, weight, None, s, c, factor, mode, label, packed, sides, minimal)

    def _add(
        self, program: Program, transposed: bool, weight: np.ndarray, bias: np.ndarray | None, src: Source,
        dst: np.ndarray, factor: np.ndarray, mode: int, label: str, packed: Packed, sides: int,
        minimal: float = 0,
    ) -> None:  # fmt: skip
        """Append a product with the convolution that the layer is or is the transpose of."""
        weight = weight.transpose(0, 2, 1, 3) if self.turned else weight
        source, target = (dst.shape, src.shape) if transposed else (src.shape, dst.shape)
        rows, channels = (self.params.group * n for n in weight.shape[1:3])
        sliding = self._sliding((source[0], channels, *source[2:]), (target[0], rows, *target[2:]))
        arguments = (weight, bias, src, dst, factor, mode, label)
        if isinstance(sliding, SlidingVolume):
            add_volume = volume.add_transposed if transposed else volume.add_forward
            add_volume(program, sliding, *arguments)
            return
        way = sliding.turned() if transposed else sliding
        kind = winograd.choose(way, program.dtype, minimal) if minimal and way else None
        if kind is not None and transposed:
            winograd.add_transposed(program, kind, sliding, weight, src, dst, factor, mode, label, packed)
        elif kind is not None:
            winograd.add_forward(program, kind, sliding, *arguments)
        elif transposed:
            add_transposed(program, sliding, *arguments, packed, sides)
        else:
            add_forward(program, sliding, *arguments, sides)

    def _sliding(self, source: Shape, target: Shape) -> Sliding | SlidingVolume:
        p = self.params
        kernel, stride, dilation = (self.lines + sizes for sizes in (p.kernel, p.stride, p.dilation))
        if len(kernel) > 2:
            return SlidingVolume(source, target, kernel, stride, self.pads, dilation, p.group)
        return Sliding(source, target, _pair(kernel), _pair(stride), _pair(self.pads), _pair(dilation), p.group)


def _pair(sizes: Shape) -> tuple[int, int]:
    return sizes[0], sizes[1]


@relevance(Convolution, Deconvolution)
def _convolution_relevance(plan: RelevancePlan, layer: Layer) -> None:
    products = _Products(layer)
    call = linear_call(plan, layer)
    call = replace(call, x=products.images(call.x), r=products.images(call.r))
    if call.rule.quirks.spread_bias and call.bias is not None:
        _spread_bias(plan, call)
    elif call.rule.sources == ("one",) and not (call.rule.divide and products.turned):
        _without_input(plan, call, products)
    else:
        _with_sources(plan, call, products)


def _without_input(plan: RelevancePlan, call: LinearCall, products: _Products) -> None:
    """Rules that look at the weights only: one share per weight, the same at every pixel.

    Not so for deconvolutions, where the number of inputs that reach a pixel depends on its place.
    """
    (denominator,) = call.rule.denominators
    weight = part_of(products.grouped(plan.forward.weight(call.layer, "weight")), denominator.parts[0])
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
        z = constant(norms.reshape(-1, *[1] * (call.r.ndim - 2)), call.r.shape, plan.dtype)
        call.ledger.terms.append(Term(call.r, z, s, None, denominator.factor, 0.0))
    target = products.images(plan.into(call.layer.inputs[0]))
    products.transposed(plan.program, weight, s, target, target, STORE, {}, minimal=_takes_whole_weights(call.rule))


def _with_sources(plan: RelevancePlan, call: LinearCall, products: _Products) -> None:
    layer, rule = call.layer, call.rule
    n, group = call.x.shape[0], products.params.group
    outer, terms = n * group, len(rule.denominators)
    key = (call.derivation, rule.bounds or id(plan)) if "low" in rule.sources else call.derivation
    sources, products, weight, packed, z = plan.derive(
        key, lambda program: _derive(plan.forward, call, call.r.shape, products, program, lambda: _bounds(plan, call))
    )
    part = (n, group, terms, -1, *call.r.shape[2:])
    arrived = [arriving(plan, call, d) for d in rule.denominators]
    for g, d in enumerate(rule.denominators):
        bias = call.bias_part(d)
        if bias is not None:
            bias = bias.reshape(1, group, -1, *[1] * (call.r.ndim - 2))
        z_part = z.reshape(part)[:, :, g]
        call.ledger.terms.append(
            Term(arrived[g].reshape(z_part.shape), z_part, None, bias, d.factor, d.epsilon, d.mode)
        )
    grouped = (outer, -1, *call.r.shape[2:])
    s = Shares([r.reshape(grouped) for r in arrived], z, [(d.factor, d.epsilon, d.mode) for d in rule.denominators])
    target = products.images(plan.into(layer.inputs[0]))
    shares = target if len(rule.sources) == 1 else plan.new(sources.shape)
    sides = _sides(rule, products)
    products.transposed(
        plan.program, weight, s, shares, sources, STORE_TIMES, packed, sides, _takes_whole_weights(rule)
    )
    if shares is target:
        return
    whole = target if sources.shape[2:] == target.shape[2:] else plan.new((*target.shape[:2], *sources.shape[2:]))
    plan.program.add(
        sharing.sum_sources, shares.reshape(outer, len(rule.sources), -1), whole.reshape(outer, -1), label=layer.name
    )
    if whole is not target:
        plan.program.add(eltwise.crop, _planes(whole), _planes(target), *_pair(products.params.pad), label=layer.name)


def _takes_whole_weights(rule: Rule) -> bool:
    """Whether a rule's products are with the weights as they are: then the sums on the way back may have any sign."""
    return all(d.parts == (FULL,) for d in rule.denominators)


def _bounds(plan: RelevancePlan, call: LinearCall) -> tuple[np.ndarray, np.ndarray]:
    return pixel_bounds(plan, replace(call, x=plan.forward.values[call.layer.inputs[0]]))


def _derive(
    plan: ForwardPlan, form: Form, target: Shape, products: _Products, program: Program, bounds: Bounds | None = None
) -> tuple[np.ndarray, _Products, np.ndarray, Packed, np.ndarray]:
    """Sources and products with them, the weight back, what it is packed to, and denominators like the `target`."""
    sources = _sources(plan, form, products.params.group, program, bounds)
    if form.rule.quirks.high_in_padding is not None:
        sources, products = _pad_sources(plan, form, sources, program), _Products(form.layer, padded=False)
    sides = _sides(form.rule, products)
    weight = products.grouped(plan.weight(form.layer, "weight"))
    stacked = weight if sides == 2 else _stacked(weight, form.rule)
    z = _denominators(plan, form, target, sources, stacked, products, program, sides if sides == 2 else 0)
    return sources, products, weight if sides else stacked, {}, z


def _planes(array: np.ndarray) -> np.ndarray:
    return array.reshape(-1, *array.shape[2:])


def _pad_sources(plan: ForwardPlan, form: Form, sources: np.ndarray, program: Program) -> np.ndarray:
    """Sources with their padding spelled out, for bounds that are not 0 there; the last source is `high`."""
    p = form.layer.params
    assert isinstance(p, Convolution)
    n, channels, height, width = sources.shape
    padded = np.zeros((n, channels, height + 2 * p.pad[0], width + 2 * p.pad[1]), plan.dtype)
    by_source = padded.reshape(n, p.group, len(form.rule.sources), -1, *padded.shape[2:])
    by_source[:, :, -1] = form.rule.quirks.high_in_padding
    program.add(eltwise.paste, _planes(sources), _planes(padded), *p.pad, label=form.layer.name)
    return padded


def _spread_bias(plan: RelevancePlan, call: LinearCall) -> None:
    """Alpha-beta with the bias spread over the inputs."""
    p = call.layer.params
    assert isinstance(p, Convolution)
    weight = plan.forward.weight(call.layer, "weight")
    sizes = (*p.kernel, *p.stride, *p.pad, *p.dilation, p.group)
    add_spread_bias(plan, call, weight, call.x, call.r, plan.into(call.layer.inputs[0]), sizes)


def _sides(rule: Rule, products: _Products) -> int:
    """Number of sources if the rule's terms are those of positive and of negative weights; else 0.

    Then the shares of a source are one product by sign with those of both terms, and the denominators are one with
    both sources. (Those of one source are not: both read the same values.)
    """
    two = len(rule.denominators) == 2 and parts_by_sign(rule)
    return len(rule.sources) if products.by_sign and two else 0


def _stacked(weight: np.ndarray, rule: Rule) -> np.ndarray:
    """Parts of a weight by groups: (group, denominators * M / group, sources * C / group, cells)."""
    if len(rule.denominators) == len(rule.sources) == 1:
        return part_of(weight, rule.denominators[0].parts[0])
    group, rows, channels, cells = weight.shape
    stacked = np.empty((group, len(rule.denominators), rows, len(rule.sources), channels, cells), weight.dtype)
    for d, denominator in enumerate(rule.denominators):
        for source, part in enumerate(denominator.parts):
            stacked[:, d, :, source] = part_of(weight, part)
    return stacked.reshape(group, len(rule.denominators) * rows, -1, cells)


def _denominators(
    plan: ForwardPlan, form: Form, target: Shape, sources: np.ndarray, weight: np.ndarray, products: _Products,
    program: Program, sides: int,
) -> np.ndarray:  # fmt: skip
    """z of all denominators, (N, group * denominators * M / group, H', W'); the forward pass's own where it is that."""
    rule = form.rule
    if rule.sources == ("x",) and [(d.parts, d.bias) for d in rule.denominators] == [((FULL,), FULL)]:
        return products.images(plan.values[form.layer.outputs[0]])
    p = products.params
    parts = [form.bias_part(d) for d in rule.denominators]
    zero = np.zeros(p.num_output, plan.dtype)
    bias = np.stack([zero if b is None else b for b in parts]).reshape(len(parts), p.group, -1).transpose(1, 0, 2)
    z = plan.new((form.x.shape[0], p.num_output * len(parts), *target[2:]))
    products.forward(program, weight, np.ascontiguousarray(bias).reshape(-1), sources, z, z, STORE, sides)
    return z


def _sources(plan: ForwardPlan, form: Form, group: int, program: Program, bounds: Bounds | None) -> np.ndarray:
    """What the weights are applied to, (N, group * sources * C / group, H, W)."""
    layer, names, x = form.layer, form.rule.sources, form.x
    if names in (("x",), ("x+",)):  # x+ alone is left where x is never negative
        return x
    if names == ("one",):
        return np.ones_like(x)
    n, channels, *space = x.shape
    stacked = plan.new((n, channels * len(names), *space))
    if names == ("x+", "x-"):
        size = count(x.shape) // (n * group)
        program.add(
            eltwise.split_sign, x.reshape(n, group, size), stacked.reshape(n, group, 2 * size), label=layer.name
        )
        return stacked
    view = stacked.reshape(n, group, len(names), -1, *space)
    blob = plan.values[layer.inputs[0]]
    assert bounds is not None
    for i, bound in enumerate(bounds(), 1):
        view[:, :, i] = np.broadcast_to(bound, blob.shape).reshape(n, group, -1, *space)
    size = count(x.shape) // (n * group)
    program.add(
        eltwise.copy_slice, x.reshape(n * group, 1, size), 0, stacked.reshape(n * group, len(names), size), 0, 1,
        label=layer.name,
    )  # fmt: skip
    return stacked
