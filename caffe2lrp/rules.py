"""LRP rules for linear layers, as sums of terms over parts of the weights.

Every rule of the literature shares out the relevance R_j of an output in the same way. It looks at the
input through *sources* u_a (the input itself, its positive part, a bound of the pixels, ...), forms one
or more *denominators*

    z_gj = sum_a sum_i f_ga(w_ij) u_ai + f_g(b_j)

from parts f of the weights, and gives each input the share

    R_i = sum_a u_ai sum_g f_ga(w_ij) * factor_g * R_j / z_gj        (summed over j).

So a rule is a short table, and layers need not know rules: they offer products with a part of their
weights, and the transposed products. `pass_through` alone looks at no weights: it is for layers with as many
outputs as inputs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from difflib import get_close_matches
from inspect import signature
from typing import Any

import numpy as np

from caffe2lrp.errors import OptionError

# How a denominator is stabilised; the numbers are those of `caffe2lrp.kernels.relevance`.
SIGN, TOOLBOX, THRESHOLD = 0, 1, 2


@dataclass(frozen=True)
class Part:
    """A part of the weights: f(w) = full * w + positive * max(w, 0) + square * w^2 + one."""

    full: float = 0.0
    positive: float = 0.0
    square: float = 0.0
    one: float = 0.0


FULL = Part(full=1)
POSITIVE = Part(positive=1)
NEGATIVE = Part(full=1, positive=-1)
SQUARE = Part(square=1)
ONE = Part(one=1)


@dataclass(frozen=True)
class Denominator:
    """One denominator z_g.

    Attributes
    ----------
    parts
        The part of the weights for each source.
    bias
        The part of the bias that takes part in the denominator; its share of relevance is lost.
    factor
        How much of the relevance this term shares out.
    epsilon, mode
        Stabiliser: see `caffe2lrp.kernels.relevance`.
    sign
        1 and -1: the term is for outputs z >= 0 and z < 0 only; 0: for all.
    """

    parts: tuple[Part, ...]
    bias: Part | None = FULL
    factor: float = 1.0
    epsilon: float = 0.0
    mode: int = SIGN
    sign: int = 0


@dataclass(frozen=True)
class Quirks:
    """What the LRP Toolbox does otherwise than the mathematics (`caffe2lrp.toolbox`); nothing by default.

    Attributes
    ----------
    first_group_bias
        Every group of a convolution takes the bias of its first group.
    flat_by_pixel
        The flat rule of a convolution divides by the pixels of the kernel, not by the number of inputs.
    high_in_padding
        Upper bound of z^B in the padding.
    spread_bias
        The bias is spread evenly over all inputs, padding included (``biastreatmenttype 1``).
    """

    first_group_bias: bool = False
    flat_by_pixel: bool = False
    high_in_padding: float | None = None
    spread_bias: bool = False


@dataclass(frozen=True)
class Rule:
    """A rule: sources, denominators, and whether relevance is divided by them at all.

    Attributes
    ----------
    name
        For messages and reports, for example ``epsilon 0.01``.
    sources
        What the weights are applied to: ``x``, ``x+``, ``x-``, ``one``, ``low``, ``high``.
    denominators
        One entry for each term.
    divide
        False for plain transposed products (gradients).
    quirks
        Deviations from the mathematics.
    bounds
        Lowest and highest possible input, for the sources ``low`` and ``high``; None takes those of the preprocessing.
    """

    name: str
    sources: tuple[str, ...]
    denominators: tuple[Denominator, ...]
    divide: bool = True
    quirks: Quirks = Quirks()
    bounds: tuple[float, float] | None = None

    @property
    def passes(self) -> bool:
        """Whether relevance is passed on as it is."""
        return not self.denominators


def epsilon(epsilon: float = 1e-6) -> Rule:
    """Epsilon rule: R_i = sum_j x_i w_ij / (z_j + epsilon sign z_j) R_j (Bach et al. 2015, eq. 58)."""
    _require("epsilon", epsilon)
    return Rule(f"epsilon {epsilon:g}", ("x",), (Denominator((FULL,), epsilon=epsilon),))


def z() -> Rule:
    """z-rule: the epsilon rule with epsilon = 0 (Bach et al. 2015, eq. 56); outputs of 0 pass nothing."""
    return replace(epsilon(0.0), name="z")


def norm() -> Rule:
    """The epsilon rule with its smallest usual epsilon, 1e-6: shares in proportion to the terms (zennit's Norm)."""
    return replace(epsilon(1e-6), name="norm")


def alphabeta(beta: float = 1.0) -> Rule:
    """Alpha-beta rule with alpha = 1 + beta (Bach et al. 2015, eq. 60, whose beta is minus this one).

    R_i = sum_j ((1 + beta) (w_ij x_i)+ / z_j+ - beta (w_ij x_i)- / z_j-) R_j; the bias takes part in the
    denominators by its sign.
    """
    _require("beta", beta)
    plus = Denominator((POSITIVE, NEGATIVE), bias=POSITIVE, factor=1 + beta)
    minus = Denominator((NEGATIVE, POSITIVE), bias=NEGATIVE, factor=-beta)
    return Rule(f"alphabeta {beta:g}", ("x+", "x-"), (plus, minus) if beta else (plus,))


def zplus() -> Rule:
    """z+ rule: alpha-beta with beta = 0 (Montavon et al. 2017, deep Taylor decomposition)."""
    return replace(alphabeta(0.0), name="zplus")


def excitation() -> Rule:
    """z+ rule without the bias: the winning probabilities of excitation backprop (Zhang et al. 2016)."""
    (plus,) = alphabeta(0.0).denominators
    return Rule("excitation", ("x+", "x-"), (replace(plus, bias=None),))


def gamma(gamma: float = 0.25, epsilon: float = 1e-6) -> Rule:
    """Gamma rule: epsilon rule for w + gamma max(w, 0), bias alike (Montavon et al. 2019); meant for inputs x >= 0."""
    _require("gamma", gamma)
    _require("epsilon", epsilon)
    part = Part(full=1, positive=gamma)
    return Rule(f"gamma {gamma:g}", ("x",), (Denominator((part,), bias=part, epsilon=epsilon),))


def generalized_gamma(gamma: float = 0.25, epsilon: float = 1e-6) -> Rule:
    """Gamma rule for inputs of any sign (Andeol et al. 2021).

    With terms t_ij = w_ij x_i, an output z_j >= 0 shares out by t_ij + gamma (t_ij)+, an output z_j < 0 by
    t_ij + gamma (t_ij)-; the bias alike. For inputs and outputs >= 0 it is the gamma rule.
    """
    _require("gamma", gamma)
    _require("epsilon", epsilon)
    more, less = Part(full=1, positive=gamma), Part(full=1 + gamma, positive=-gamma)
    above = Denominator((more, less), bias=more, epsilon=epsilon, sign=1)
    below = Denominator((less, more), bias=less, epsilon=epsilon, sign=-1)
    return Rule(f"generalized_gamma {gamma:g}", ("x+", "x-"), (above, below))


def wsquare() -> Rule:
    """w^2 rule: R_i = sum_j w_ij^2 / sum_i w_ij^2 R_j (Montavon et al. 2017)."""
    return Rule("wsquare", ("one",), (Denominator((SQUARE,), bias=None),))


def flat() -> Rule:
    """Flat rule: each input of an output gets the same share (Lapuschkin et al. 2019)."""
    return Rule("flat", ("one",), (Denominator((ONE,), bias=None),))


def zbox(low: float | None = None, high: float | None = None, epsilon: float = 1e-6) -> Rule:
    """z^B rule for pixels within bounds low <= x <= high (Montavon et al. 2017).

    R_i = sum_j (x_i w_ij - low_i w_ij+ - high_i w_ij-) / z_j R_j, where z_j is the sum of these terms over
    i, without bias. Without `low` and `high` (in units of the input blob) the bounds are what the preprocessing
    makes of black and white; in the padding both are 0, as the input is.
    """
    _require("epsilon", epsilon)
    if (low is None) != (high is None):
        raise OptionError("zbox takes both low and high, or neither")
    bounds = None
    if low is not None and high is not None:
        if not (math.isfinite(low) and math.isfinite(high) and low < high):
            raise OptionError(f"zbox needs low < high, not {low} and {high}")
        bounds = (float(low), float(high))
    parts = (FULL, Part(positive=-1), Part(full=-1, positive=1))
    denominator = Denominator(parts, bias=None, epsilon=epsilon)
    return Rule("zbox", ("x", "low", "high"), (denominator,), bounds=bounds)


def pass_through() -> Rule:
    """Relevance unchanged, for layers with as many outputs as inputs."""
    return Rule("pass", (), ())


def gradient() -> Rule:
    """The derivative: R_i = sum_j w_ij R_j, for gradient baselines; it is no relevance rule."""
    return Rule("gradient", ("one",), (Denominator((FULL,), bias=None),), divide=False)


RULES: dict[str, Callable[..., Rule]] = {
    "epsilon": epsilon,
    "z": z,
    "alphabeta": alphabeta,
    "zplus": zplus,
    "excitation": excitation,
    "gamma": gamma,
    "generalized_gamma": generalized_gamma,
    "wsquare": wsquare,
    "flat": flat,
    "zbox": zbox,
    "norm": norm,
    "pass": pass_through,
}
"""Rules by name."""


def make(name: str, **parameters: Any) -> Rule:
    """A rule by name and parameters.

    Raises
    ------
    OptionError
        If there is no such rule, or it does not take a parameter or its value.
    """
    if name not in RULES:
        raise OptionError(unknown("rule", name, RULES))
    return call(RULES[name], f"rule '{name}'", parameters)


def call(function: Callable[..., Any], what: str, parameters: Mapping[str, Any]) -> Any:
    """Call a function that makes a rule or composite, and say what it takes if the parameters do not fit."""
    known = signature(function).parameters
    wrong = [name for name in parameters if name not in known]
    if wrong:
        takes = f"it takes {', '.join(known)}" if known else "it takes none"
        raise OptionError(f"{what} does not take {', '.join(wrong)}; {takes}")
    for name, value in parameters.items():
        if isinstance(value, bool) or not isinstance(value, (int, float, np.number)):
            raise OptionError(f"{name} must be a number, not {value!r}")
        if known[name].annotation == "int" and not float(value).is_integer():
            raise OptionError(f"{name} must be a whole number, not {value!r}")
    return function(**parameters)


def unknown(kind: str, name: str, known: Iterable[str]) -> str:
    """Message for a name that does not exist."""
    names = list(known)
    near = get_close_matches(name, names, 1)
    hint = f"; did you mean '{near[0]}'?" if near else "."
    return f"there is no {kind} '{name}'{hint} Known: {', '.join(names)}"


def _require(name: str, value: float) -> None:
    if not math.isfinite(value) or value < 0:
        raise OptionError(f"{name} must be a number of at least 0, not {value}")
