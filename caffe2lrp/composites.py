"""Composites: named tables that say which rule a layer gets.

A row is (where, rule). Rows are tried from top to bottom, and the first that fits a layer gives it its rule. Linear
layers (convolution, fully connected, recurrent) must get one; any other layer keeps the relevance of its type
(docs/layers.md) unless a row lets relevance `pass` it.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from fnmatch import fnmatchcase
from typing import Any, Literal

from caffe2lrp import rules
from caffe2lrp.errors import OptionError
from caffe2lrp.ir import Layer, Network
from caffe2lrp.layers import REGISTRY, LayerParams
from caffe2lrp.layers.convolution import Convolution, Deconvolution
from caffe2lrp.layers.inner_product import InnerProduct
from caffe2lrp.layers.recurrent import LSTM, RNN, Recurrent
from caffe2lrp.rules import Rule

LINEAR: dict[type[LayerParams], str] = {
    Convolution: "convolution",
    Deconvolution: "convolution",
    InnerProduct: "dense",
    RNN: "dense",
    LSTM: "dense",
}
"""The linear layer types and their roles."""

ROLES = ("first", "last", "linear", *dict.fromkeys(LINEAR.values()))
"""``first`` and ``last``: no linear layer lies before or behind; ``linear``: all; the others are layer types."""

Span = int | tuple[int, int]
"""A number, or the first and the last of a range; negative ones count from the end."""


@dataclass(frozen=True)
class Where:
    """Which layers a row is for: those that all given conditions hold for.

    Attributes
    ----------
    role
        One of `ROLES`, or a Caffe layer type such as ``LRN``.
    name
        Pattern of the layer's name, such as ``inception_4*``.
    position
        Among the linear layers in the order of execution; 0 is the first, -1 the last.
    depth
        Greatest number of linear layers on the way from the input, so that parallel branches have the same depths.
    """

    role: str | None = None
    name: str | None = None
    position: Span | None = None
    depth: Span | None = None

    def __post_init__(self) -> None:
        if self.role is not None and self.role not in ROLES and self.role not in REGISTRY:
            raise OptionError(rules.unknown("role", self.role, ROLES) + ", and the layer types of Caffe")
        for span in (self.position, self.depth):
            if isinstance(span, tuple) and (span[0] < 0) == (span[1] < 0) and span[0] > span[1]:
                raise OptionError(f"the range {span[0]} to {span[1]} is empty")


@dataclass(frozen=True)
class Noise:
    """Average over noisy copies of the input (SmoothGrad, Smilkov et al. 2017).

    Attributes
    ----------
    samples
        Number of copies.
    level
        Standard deviation of the noise as a part of the input's range, max x - min x.
    seed
        Of the noise: ``numpy.random.default_rng(seed).standard_normal((samples, C, H, W))`` for each image.
    """

    samples: int
    level: float
    seed: int


@dataclass(frozen=True)
class Path:
    """Average over points on the straight line from an input of zeros, each in the middle of one of `steps` parts."""

    steps: int


@dataclass(frozen=True)
class Composite:
    """A table of rules, see the module; and what makes baselines of it.

    Attributes
    ----------
    name
        For messages and file names.
    table
        Pairs of `Where`, or just a role, and rule.
    relu
        What happens at ReLUs: ``pass`` for relevance, ``positive`` and ``guided`` for the gradient baselines
        deconvolution and guided backpropagation.
    derivative
        True derivatives of all layers that are not linear, for gradient baselines, which start with 1 and not with
        the score.
    sampling
        Average over several inputs.
    times_input
        Multiply by the input in the end.
    norm
        Replace the channels of each pixel by their Euclidean norm, in equal parts.
    """

    name: str
    table: tuple[tuple[str | Where, Rule], ...]
    relu: Literal["pass", "positive", "guided"] = "pass"
    derivative: bool = False
    sampling: Noise | Path | None = None
    times_input: bool = False
    norm: bool = False

    def assign(self, network: Network) -> dict[str, Rule]:
        """The rule of each layer that gets one, by layer name.

        Raises
        ------
        OptionError
            If a linear layer gets none.
        """
        rows = [(Where(where) if isinstance(where, str) else where, rule) for where, rule in self.table]
        places = _places(network)
        assigned = {}
        for layer in network.layers:
            place = places.get(layer.name)
            found = next((rule for where, rule in rows if _fits(where, rule, layer, place)), None)
            if found is not None:
                assigned[layer.name] = found
            elif place is not None:
                raise OptionError(f"composite '{self.name}' has no rule for {layer}")
        return assigned


@dataclass(frozen=True)
class _Place:
    """Where a linear layer stands: roles; position and depth with the numbers of positions and depths."""

    roles: frozenset[str]
    position: tuple[int, int]
    depth: tuple[int, int]


def _places(network: Network) -> dict[str, _Place]:
    """The place of each linear layer."""
    linear = [layer for layer in network.layers if type(layer.params) in LINEAR]
    ahead = _linear_before(network)
    behind = _followed(network)
    depths = max(ahead.values(), default=0) + 1
    places = {}
    for i, layer in enumerate(linear):
        roles = {"linear", LINEAR[type(layer.params)]}
        if ahead[layer.name] == 0 and not isinstance(layer.params, Recurrent):  # which know the epsilon rule only
            roles.add("first")
        if layer.name not in behind:
            roles.add("last")
        places[layer.name] = _Place(frozenset(roles), (i, len(linear)), (ahead[layer.name], depths))
    return places


def _linear_before(network: Network) -> dict[str, int]:
    """Greatest number of linear layers on a way from the input to each linear layer."""
    passed = dict.fromkeys(network.inputs, 0)  # by blob
    ahead = {}
    for layer in network.layers:
        number = max((passed[blob] for blob in layer.value_inputs), default=0)
        if type(layer.params) in LINEAR:
            ahead[layer.name] = number
            number += 1
        passed.update(dict.fromkeys(layer.outputs, number))
    return ahead


def _followed(network: Network) -> set[str]:
    """Names of linear layers behind which another one follows."""
    leads: set[str] = set()  # blobs that lead to a linear layer
    found = set()
    for layer in reversed(network.layers):
        linear = type(layer.params) in LINEAR
        onward = any(blob in leads for blob in layer.outputs)
        if linear and onward:
            found.add(layer.name)
        if linear or onward:
            leads.update(layer.value_inputs)
    return found


def _fits(where: Where, rule: Rule, layer: Layer, place: _Place | None) -> bool:
    if place is None and not rule.passes:
        return False
    roles = place.roles if place else frozenset()
    if where.role is not None and where.role not in roles and where.role != layer.type:
        return False
    if where.name is not None and not fnmatchcase(layer.name, where.name):
        return False
    for span, kind in ((where.position, "position"), (where.depth, "depth")):
        if span is not None and (place is None or not _within(span, *getattr(place, kind))):
            return False
    return True


def _within(span: Span, value: int, total: int) -> bool:
    low, high = span if isinstance(span, tuple) else (span, span)
    return (low + total if low < 0 else low) <= value <= (high + total if high < 0 else high)


# -- the named composites ----------------------------------------------------------------------------

COMPOSITES: dict[str, Callable[..., Composite]] = {}
"""Functions that make the composites, by name."""


def _named(function: Callable[..., tuple[tuple[str | Where, Rule], ...] | Composite]) -> Callable[..., Composite]:
    """Decorator: enter a function that makes the table or the composite of its name."""
    name = function.__name__

    def build(**parameters: Any) -> Composite:
        made = rules.call(function, f"composite '{name}'", parameters)
        return made if isinstance(made, Composite) else Composite(_title(name, parameters), made)

    build.__doc__, build.__name__ = function.__doc__, name
    build.__wrapped__ = function  # type: ignore[attr-defined]  # inspect.signature tells its parameters
    COMPOSITES[name] = build
    return build


def _title(name: str, parameters: Mapping[str, float]) -> str:
    return " ".join([name, *(f"{key} {value:g}" for key, value in parameters.items())])


@_named
def epsilon(epsilon: float = 1e-6) -> Any:
    """Epsilon rule everywhere (Bach et al. 2015)."""
    return (("linear", rules.epsilon(epsilon)),)


@_named
def alphabeta(beta: float = 1.0) -> Any:
    """Alpha-beta rule everywhere (Bach et al. 2015)."""
    return (("linear", rules.alphabeta(beta)),)


@_named
def epsilon_plus(epsilon: float = 1e-6) -> Any:
    """z+ for convolutions, epsilon for fully connected layers (as zennit's EpsilonPlus)."""
    return ("convolution", rules.zplus()), ("dense", rules.epsilon(epsilon))


@_named
def epsilon_plus_flat(epsilon: float = 1e-6) -> Any:
    """`epsilon_plus` with the flat rule on the first layers (as zennit's EpsilonPlusFlat)."""
    return ("first", rules.flat()), ("convolution", rules.zplus()), ("dense", rules.epsilon(epsilon))


@_named
def epsilon_alpha2_beta1(epsilon: float = 1e-6) -> Any:
    """Alpha-beta with beta = 1 for convolutions, epsilon for fully connected layers (Lapuschkin et al. 2019)."""
    return ("convolution", rules.alphabeta(1.0)), ("dense", rules.epsilon(epsilon))


@_named
def epsilon_alpha2_beta1_flat(epsilon: float = 1e-6) -> Any:
    """`epsilon_alpha2_beta1` with the flat rule on the first layers (Lapuschkin et al. 2019)."""
    return ("first", rules.flat()), ("convolution", rules.alphabeta(1.0)), ("dense", rules.epsilon(epsilon))


@_named
def epsilon_gamma_box(
    low: float | None = None, high: float | None = None, gamma: float = 0.25, epsilon: float = 1e-6
) -> Any:
    """z^B on the pixels, gamma for convolutions, epsilon for fully connected layers (Montavon et al. 2019)."""
    return (
        ("first", rules.zbox(low, high, epsilon)),
        ("convolution", rules.gamma(gamma, epsilon)),
        ("dense", rules.epsilon(epsilon)),
    )


@_named
def excitation_backprop() -> Any:
    """z+ without biases everywhere: excitation backprop (Zhang et al. 2016)."""
    return (("linear", rules.excitation()),)


@_named
def deep_taylor(low: float | None = None, high: float | None = None) -> Any:
    """z^B on the pixels, z+ everywhere else: deep Taylor decomposition (Montavon et al. 2017)."""
    return ("first", rules.zbox(low, high)), ("linear", rules.zplus())


@_named
def toolbox_100(epsilon: float = 1.0, beta: float = 1.0) -> Any:
    """Alpha-beta for convolutions, epsilon for fully connected layers: formula 100 of the LRP Toolbox."""
    return ("convolution", rules.alphabeta(beta)), ("dense", rules.epsilon(epsilon))


@_named
def toolbox_102(epsilon: float = 1.0, beta: float = 1.0, depth: int = 0) -> Any:
    """`toolbox_100` with the flat rule up to a depth: formula 102 of the LRP Toolbox."""
    return (Where("linear", depth=(0, int(depth))), rules.flat()), *toolbox_100(epsilon=epsilon, beta=beta).table


@_named
def toolbox_104(epsilon: float = 1.0, beta: float = 1.0, depth: int = 0) -> Any:
    """`toolbox_100` with the w^2 rule up to a depth: formula 104 of the LRP Toolbox."""
    return (Where("linear", depth=(0, int(depth))), rules.wsquare()), *toolbox_100(epsilon=epsilon, beta=beta).table


# -- baselines -----------------------------------------------------------------------------------------


@_named
def gradient() -> Any:
    """Derivative of the class score with respect to each input value."""
    return Composite("gradient", (("linear", rules.gradient()),), derivative=True)


@_named
def gradient_x_input() -> Any:
    """Derivative times input (Shrikumar et al. 2016)."""
    return replace(gradient(), name="gradient_x_input", times_input=True)


@_named
def sensitivity() -> Any:
    """Euclidean norm of each pixel's derivative (Simonyan et al. 2013; Samek et al. 2017)."""
    return replace(gradient(), name="sensitivity", norm=True)


@_named
def deconvolution() -> Any:
    """Derivative that passes the positive part of what arrives at each ReLU (Zeiler and Fergus 2014)."""
    return replace(gradient(), name="deconvolution", relu="positive")


@_named
def guided_backprop() -> Any:
    """`deconvolution` that also stops where the ReLU was not active (Springenberg et al. 2014)."""
    return replace(gradient(), name="guided_backprop", relu="guided")


@_named
def smoothgrad(samples: int = 50, noise: float = 0.15, seed: int = 0) -> Any:
    """Derivative averaged over noisy copies of the input (Smilkov et al. 2017)."""
    if samples < 1 or seed < 0 or not 0 <= noise < math.inf:
        raise OptionError(f"smoothgrad needs samples >= 1, noise >= 0 and seed >= 0, not {samples}, {noise} and {seed}")
    return replace(gradient(), name="smoothgrad", sampling=Noise(int(samples), float(noise), int(seed)))


@_named
def integrated_gradients(steps: int = 50) -> Any:
    """Input times the derivative averaged on the way from an input of zeros (Sundararajan et al. 2017)."""
    if steps < 1:
        raise OptionError(f"integrated_gradients needs steps >= 1, not {steps}")
    return replace(gradient(), name="integrated_gradients", sampling=Path(int(steps)), times_input=True)


def find(name: str, **parameters: float) -> Composite:
    """The composite of a name, with its parameters.

    Raises
    ------
    OptionError
        If there is no such composite, or it does not take a parameter.
    """
    if name not in COMPOSITES:
        raise OptionError(rules.unknown("composite", name, COMPOSITES))
    return COMPOSITES[name](**parameters)


def of_rule(rule: str, **parameters: Any) -> Composite:
    """One rule on all linear layers, by name and parameters."""
    made = rules.make(rule, **parameters)
    return Composite(made.name, (("linear", made),))
