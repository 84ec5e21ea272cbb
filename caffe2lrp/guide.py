"""Which rule, composite or baseline to choose: formula, parameters and source of each, for people.

``caffe2lrp rules`` prints it, and docs/rules.md holds the same tables.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from inspect import signature

from caffe2lrp.composites import COMPOSITES, Composite
from caffe2lrp.rules import RULES

RULE_TEXTS: dict[str, tuple[str, str, str]] = {
    "epsilon": (
        "x_i w_ij / (z_j + epsilon sign z_j) R_j",
        "fully connected layers; larger epsilon keeps only the strongest evidence",
        "Bach et al. 2015, eq. 58",
    ),
    "z": ("x_i w_ij / z_j R_j", "exact conservation, but noisy where z_j is small", "Bach et al. 2015, eq. 56"),
    "alphabeta": (
        "((1 + beta) (w_ij x_i)+ / z_j+ - beta (w_ij x_i)- / z_j-) R_j",
        "convolutions; beta = 1 shows what speaks against, beta = 0 only what speaks for the class",
        "Bach et al. 2015, eq. 60 with alpha = 1 + beta",
    ),
    "zplus": ("(w_ij x_i)+ / z_j+ R_j", "convolutions; smooth and positive", "Montavon et al. 2017"),
    "excitation": ("(w_ij x_i)+ / sum_i (w_ij x_i)+ R_j", "as zplus; the bias takes no share", "Zhang et al. 2016"),
    "gamma": (
        "x_i (w_ij + gamma w_ij+) / (z_j + gamma (positive part) + epsilon) R_j",
        "convolutions behind ReLUs; between epsilon (gamma = 0) and zplus (gamma large)",
        "Montavon et al. 2019",
    ),
    "generalized_gamma": (
        "z_j >= 0: t_ij + gamma t_ij+, z_j < 0: t_ij + gamma t_ij-, over their sum, R_j; t_ij = w_ij x_i",
        "as gamma, where inputs or outputs may be negative",
        "Andeol et al. 2021",
    ),
    "wsquare": (
        "w_ij^2 / sum_i w_ij^2 R_j",
        "first layer; what could matter, whatever the pixels",
        "Montavon et al. 2017",
    ),
    "flat": ("R_j / number of inputs of j", "first layer; smooth maps", "Lapuschkin et al. 2019"),
    "zbox": (
        "(x_i w_ij - low_i w_ij+ - high_i w_ij-) / sum of these R_j",
        "first layer, where pixels lie between low and high (the preprocessing tells them)",
        "Montavon et al. 2017",
    ),
    "norm": ("epsilon with epsilon = 1e-6", "a small stabiliser without choosing one", "zennit's Norm"),
    "pass": ("R_i = R_j", "layers with as many outputs as inputs, which it skips", "zennit's Pass"),
}
"""Share of input i of the relevance R_j of output j; when to use the rule; source."""

COMPOSITE_TEXTS: dict[str, tuple[str, str]] = {
    "epsilon": ("to compare with papers", "Bach et al. 2015"),
    "alphabeta": ("to compare with papers", "Bach et al. 2015"),
    "epsilon_plus": ("photographs; positive, smooth maps", "zennit's EpsilonPlus"),
    "epsilon_plus_flat": ("the same, coarser and smoother", "zennit's EpsilonPlusFlat"),
    "epsilon_alpha2_beta1": ("the default: photographs, with what speaks against", "Lapuschkin et al. 2019"),
    "epsilon_alpha2_beta1_flat": ("the same, smoother", "Lapuschkin et al. 2019"),
    "epsilon_gamma_box": ("sharp and little noise, for nets with ReLUs", "Montavon et al. 2019"),
    "excitation_backprop": ("to compare; where the winners look", "Zhang et al. 2016"),
    "deep_taylor": ("positive maps of nets with ReLUs, by theory", "Montavon et al. 2017"),
    "toolbox_100": ("the LRP Toolbox's shipped setting", "LRP Toolbox, formula 100"),
    "toolbox_102": ("the same with flat at the first layers", "LRP Toolbox, formula 102"),
    "toolbox_104": ("the same with w^2 at the first layers", "LRP Toolbox, formula 104"),
}
"""When to use a composite; source."""

BASELINE_TEXTS: dict[str, tuple[str, str]] = {
    "gradient": ("df / dx", "Simonyan et al. 2013"),
    "gradient_x_input": ("x df / dx", "Shrikumar et al. 2016"),
    "sensitivity": ("Euclidean norm of df / dx over the channels of each pixel", "Simonyan et al. 2013"),
    "deconvolution": ("df / dx, with the positive part of what arrives at each ReLU", "Zeiler and Fergus 2014"),
    "guided_backprop": ("the same, and 0 where the ReLU was not active", "Springenberg et al. 2014"),
    "smoothgrad": ("mean of df / dx over x + noise (max x - min x) N(0, 1)", "Smilkov et al. 2017"),
    "integrated_gradients": ("x times the mean of df / dx on the way from 0 to x", "Sundararajan et al. 2017"),
}
"""Formula and source of what is no relevance rule, but there to compare with."""


@dataclass(frozen=True)
class Table:
    """A table for people: a title, headings and rows."""

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]

    def markdown(self) -> str:
        """The table in Markdown."""
        lines = [self.columns, ("---",) * len(self.columns), *self.rows]
        return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def tables() -> list[Table]:
    """Rules, composites and baselines."""
    rule_rows = [(name, _parameters(RULES[name]), *texts) for name, texts in RULE_TEXTS.items()]
    composite_rows = [
        (name, _parameters(COMPOSITES[name]), _rows_of(COMPOSITES[name]()), *texts)
        for name, texts in COMPOSITE_TEXTS.items()
    ]
    baseline_rows = [(name, _parameters(COMPOSITES[name]), *texts) for name, texts in BASELINE_TEXTS.items()]
    return [
        Table("Rules", ("rule", "parameters", "share of input i", "use it for", "source"), tuple(rule_rows)),
        Table(
            "Composites", ("composite", "parameters", "rules by layer", "use it for", "source"), tuple(composite_rows)
        ),
        Table("Baselines", ("baseline", "parameters", "value", "source"), tuple(baseline_rows)),
    ]


def _parameters(function: object) -> str:
    """Parameters with their defaults, as the command line takes them."""
    assert callable(function)
    return _joined(
        name if p.default is None else f"{name}={p.default:g}" for name, p in signature(function).parameters.items()
    )


def _rows_of(composite: Composite) -> str:
    names = []
    for where, rule in composite.table:
        place = where if isinstance(where, str) else "up to depth" if where.depth is not None else str(where.role)
        names.append(f"{place}: {rule.name}")
    return _joined(names)


def _joined(parts: Iterable[str]) -> str:
    return ", ".join(parts)
