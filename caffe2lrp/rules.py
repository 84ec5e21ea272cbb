"""LRP rules for linear layers, as sums of terms over parts of the weights.

Every rule of the literature shares out the relevance R_j of an output in the same way. It looks at the
input through *sources* u_a (the input itself, its positive part, a bound of the pixels, ...), forms one
or more *denominators*

    z_gj = sum_a sum_i f_ga(w_ij) u_ai + f_g(b_j)

from parts f of the weights, and gives each input the share

    R_i = sum_a u_ai sum_g f_ga(w_ij) * factor_g * R_j / z_gj        (summed over j).

So a rule is a short table, and layers need not know rules: they offer products with a part of their
weights, and the transposed products.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

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
    """

    parts: tuple[Part, ...]
    bias: Part | None = FULL
    factor: float = 1.0
    epsilon: float = 0.0
    mode: int = SIGN


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
    """

    name: str
    sources: tuple[str, ...]
    denominators: tuple[Denominator, ...]
    divide: bool = True
    quirks: Quirks = Quirks()


def epsilon(epsilon: float = 1e-6) -> Rule:
    """Epsilon rule: R_i = sum_j x_i w_ij / (z_j + epsilon sign z_j) R_j (Bach et al. 2015, eq. 58).

    With epsilon = 0 it is the z-rule (eq. 56).
    """
    _require("epsilon", epsilon)
    return Rule(f"epsilon {epsilon:g}", ("x",), (Denominator((FULL,), epsilon=epsilon),))


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
    return alphabeta(0.0)


def gamma(gamma: float = 0.25, epsilon: float = 1e-6) -> Rule:
    """Gamma rule: epsilon rule for w + gamma max(w, 0), bias alike (Montavon et al. 2019)."""
    _require("gamma", gamma)
    _require("epsilon", epsilon)
    part = Part(full=1, positive=gamma)
    return Rule(f"gamma {gamma:g}", ("x",), (Denominator((part,), bias=part, epsilon=epsilon),))


def wsquare() -> Rule:
    """w^2 rule: R_i = sum_j w_ij^2 / sum_i w_ij^2 R_j (Montavon et al. 2017)."""
    return Rule("wsquare", ("one",), (Denominator((SQUARE,), bias=None),))


def flat() -> Rule:
    """Flat rule: each input of an output gets the same share (Lapuschkin et al. 2019)."""
    return Rule("flat", ("one",), (Denominator((ONE,), bias=None),))


def zbox(epsilon: float = 1e-6) -> Rule:
    """z^B rule for pixels within bounds low <= x <= high (Montavon et al. 2017).

    R_i = sum_j (x_i w_ij - low_i w_ij+ - high_i w_ij-) / z_j R_j, where z_j is the sum of these terms over
    i, without bias. The bounds come from the preprocessing; in the padding both are 0, as the input is.
    """
    _require("epsilon", epsilon)
    parts = (FULL, Part(positive=-1), Part(full=-1, positive=1))
    return Rule("zbox", ("x", "low", "high"), (Denominator(parts, bias=None, epsilon=epsilon),))


def gradient() -> Rule:
    """The derivative: R_i = sum_j w_ij R_j, for gradient baselines; it is no relevance rule."""
    return Rule("gradient", ("one",), (Denominator((FULL,), bias=None),), divide=False)


RULES = {
    "epsilon": epsilon,
    "alphabeta": alphabeta,
    "zplus": zplus,
    "gamma": gamma,
    "wsquare": wsquare,
    "flat": flat,
    "zbox": zbox,
}
"""Rules by name."""


def _require(name: str, value: float) -> None:
    if not math.isfinite(value) or value < 0:
        raise OptionError(f"{name} must be a number of at least 0, not {value}")
