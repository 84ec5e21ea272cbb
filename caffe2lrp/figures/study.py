"""The settings that the sheets compare.

The grid is that of the parameter study in Binder et al. 2016, "Layer-Wise Relevance Propagation for Deep Neural Network
Architectures" (ICISA), as the authors' code of these months and their sibling papers tell it: epsilon 0.01, 1 and 100,
alpha-beta with beta 0, 1 and 2 (alpha = 1 + beta). ``clean`` is the mathematics (LRN by its normalised Taylor
expansion), ``toolbox`` the numbers of the authors' code of 2016 (`caffe2lrp.toolbox`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from caffe2lrp.errors import OptionError

MODES = ("clean", "toolbox")
SHEETS = ("parameters", "lrn", "methods")

EPSILONS = (0.01, 1.0, 100.0)
BETAS = (0.0, 1.0, 2.0)
_RULES: tuple[tuple[str, dict[str, Any]], ...] = (
    *((f"ε = {epsilon:g}", {"rule": "epsilon", "epsilon": epsilon}) for epsilon in EPSILONS),
    *((f"β = {beta:g}", {"rule": "alphabeta", "beta": beta}) for beta in BETAS),
)
_TITLES = {
    "sensitivity": "sensitivity",
    "deconvolution": "deconvolution",
    "guided_backprop": "guided\nbackpropagation",
}
_LRN_RULES = (_RULES[1], _RULES[4])  # epsilon 1 and beta 1


@dataclass(frozen=True)
class Column:
    """One setting.

    Attributes
    ----------
    title
        Heading.
    options
        Keywords of `caffe2lrp.explain`, or of `caffe2lrp.toolbox.explain` in the mode ``toolbox``.
    """

    title: str
    options: Mapping[str, Any] = field(default_factory=dict)

    def caption(self) -> str:
        """All settings, for the caption."""
        settings = ", ".join(f"{key} {value:g}" if isinstance(value, float) else f"{key} {value}"
                             for key, value in self.options.items())  # fmt: skip
        return f"{self.title}: {settings}".replace("\n", " ")


def columns(sheet: str, mode: str) -> list[Column]:
    """The settings of a sheet.

    Parameters
    ----------
    sheet
        ``parameters``: rules and their parameters; ``lrn``: ways through LRN layers; ``methods``: sensitivity,
        deconvolution and guided backpropagation beside LRP.
    mode
        ``clean`` or ``toolbox``.

    Raises
    ------
    OptionError
        If there is no such sheet or mode.
    """
    for kind, value, known in (("sheet", sheet, SHEETS), ("mode", mode, MODES)):
        if value not in known:
            raise OptionError(f"there is no {kind} '{value}'; known are {', '.join(known)}")
    return {"parameters": _parameters, "lrn": _lrn, "methods": _methods}[sheet](mode == "toolbox")


def _parameters(toolbox: bool) -> list[Column]:
    if toolbox:
        return [Column(title, _formula(rule, lrn=1)) for title, rule in _RULES]
    return [Column(title, {**rule, "lrn": "taylor"}) for title, rule in _RULES]


def _lrn(toolbox: bool) -> list[Column]:
    if toolbox:
        ways: tuple[tuple[str, Any], ...] = (("identity", 0), ("expansion", 1))
        return [Column(f"{title}\nLRN {way}", _formula(rule, lrn=n)) for title, rule in _LRN_RULES for way, n in ways]
    return [
        Column(f"{title}\nLRN {way}", {**rule, "lrn": way})
        for title, rule in _LRN_RULES
        for way in ("identity", "taylor", "toolbox")
    ]


def _methods(toolbox: bool) -> list[Column]:
    if toolbox:
        formulas = (("sensitivity", 99), ("deconvolution", 26), ("guided_backprop", 166))
        lrp = {"formula": 100, "epsilon": 1.0, "beta": 1.0, "lrn_backward_type": 1}
        baselines = [Column(_TITLES[name], {"formula": n, "lrn_backward_type": 1}) for name, n in formulas]
        return [*baselines, Column("LRP", lrp)]
    names = ("sensitivity", "deconvolution", "guided_backprop")
    lrp = {"composite": "toolbox_100", "epsilon": 1.0, "beta": 1.0, "lrn": "taylor"}
    return [*(Column(_TITLES[name], {"composite": name}) for name in names), Column("LRP", lrp)]


def _formula(rule: Mapping[str, Any], lrn: int) -> dict[str, Any]:
    """A rule as the Toolbox's options."""
    if rule["rule"] == "epsilon":
        return {"formula": 0, "epsilon": rule["epsilon"], "lrn_backward_type": lrn}
    return {"formula": 2, "beta": rule["beta"], "lrn_backward_type": lrn}
