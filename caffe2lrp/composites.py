"""Composites: named tables that say which rule a layer gets.

A row is (role, rule). Roles are tried from top to bottom: ``first`` are the linear layers that see the
input before any other linear layer does, ``convolution`` and ``dense`` the layer types. Recurrent layers are dense
ones, which are never ``first``: they know the epsilon rule only.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from difflib import get_close_matches
from typing import Any, Literal

from caffe2lrp import rules
from caffe2lrp.errors import OptionError
from caffe2lrp.ir import Layer, Network
from caffe2lrp.layers.convolution import Convolution
from caffe2lrp.layers.inner_product import InnerProduct
from caffe2lrp.layers.recurrent import Recurrent
from caffe2lrp.rules import Rule

LINEAR = (Convolution, InnerProduct, Recurrent)


@dataclass(frozen=True)
class Composite:
    """A table from role to rule, see the module.

    Attributes
    ----------
    name
        For messages and file names.
    table
        Pairs of role and rule.
    relu
        What happens at ReLUs: ``pass`` for relevance, ``positive`` and ``guided`` for the gradient baselines
        deconvolution and guided backpropagation.
    derivative
        True derivatives of all layers that are not linear, for gradient baselines.
    """

    name: str
    table: tuple[tuple[str, Rule], ...]
    relu: Literal["pass", "positive", "guided"] = "pass"
    derivative: bool = False

    def assign(self, network: Network) -> dict[str, Rule]:
        """The rule of each linear layer, by layer name."""
        first = first_linear_layers(network)
        return {
            layer.name: self._rule(layer, layer.name in first)
            for layer in network.layers
            if isinstance(layer.params, LINEAR)
        }

    def _rule(self, layer: Layer, is_first: bool) -> Rule:
        roles = {"dense" if isinstance(layer.params, (InnerProduct, Recurrent)) else "convolution"}
        if is_first and not isinstance(layer.params, Recurrent):
            roles.add("first")
        for role, rule in self.table:
            if role in roles:
                return rule
        raise OptionError(f"composite '{self.name}' has no rule for {layer}")


def first_linear_layers(network: Network) -> set[str]:
    """Names of the linear layers whose input no other linear layer has touched."""
    touched: set[str] = set()
    first = set()
    for layer in network.layers:
        linear = isinstance(layer.params, LINEAR)
        if any(blob in touched for blob in layer.inputs):
            touched.update(layer.outputs)
        elif linear:
            first.add(layer.name)
            touched.update(layer.outputs)
    return first


def _everywhere(name: str, rule: Rule) -> Composite:
    return Composite(name, (("convolution", rule), ("dense", rule)))


def _by_type(name: str, convolution: Rule, dense: Rule, first: Rule | None = None) -> Composite:
    head = (("first", first),) if first else ()
    return Composite(name, (*head, ("convolution", convolution), ("dense", dense)))


COMPOSITES = {
    "epsilon": lambda: _everywhere("epsilon", rules.epsilon()),
    "alphabeta": lambda: _everywhere("alphabeta", rules.alphabeta()),
    "epsilon_plus": lambda: _by_type("epsilon_plus", rules.zplus(), rules.epsilon()),
    "epsilon_plus_flat": lambda: _by_type("epsilon_plus_flat", rules.zplus(), rules.epsilon(), rules.flat()),
    "epsilon_alpha2_beta1": lambda: _by_type("epsilon_alpha2_beta1", rules.alphabeta(1.0), rules.epsilon()),
    "epsilon_alpha2_beta1_flat": lambda: _by_type(
        "epsilon_alpha2_beta1_flat", rules.alphabeta(1.0), rules.epsilon(), rules.flat()
    ),
    "gradient": lambda: replace(_everywhere("gradient", rules.gradient()), derivative=True),
    "deconvolution": lambda: replace(_everywhere("deconvolution", rules.gradient()), derivative=True, relu="positive"),
    "guided_backprop": lambda: replace(
        _everywhere("guided_backprop", rules.gradient()), derivative=True, relu="guided"
    ),
    "epsilon_gamma_box": lambda: _by_type("epsilon_gamma_box", rules.gamma(), rules.epsilon(), rules.zbox()),
}
"""Composites by name: on all layers, or by layer type (names as in zennit)."""


def find(name: str) -> Composite:
    """The composite of a name."""
    if name not in COMPOSITES:
        near = get_close_matches(name, COMPOSITES, 1)
        hint = f"; did you mean '{near[0]}'?" if near else ""
        raise OptionError(f"there is no composite '{name}'{hint} Known: {', '.join(COMPOSITES)}")
    return COMPOSITES[name]()


def of_rule(rule: str, **parameters: Any) -> Composite:
    """One rule on all linear layers, by name and parameters."""
    if rule not in rules.RULES:
        near = get_close_matches(rule, rules.RULES, 1)
        hint = f"; did you mean '{near[0]}'?" if near else ""
        raise OptionError(f"there is no rule '{rule}'{hint} Known: {', '.join(rules.RULES)}")
    try:
        made = rules.RULES[rule](**parameters)
    except TypeError:
        raise OptionError(f"rule '{rule}' does not take {', '.join(parameters)}") from None
    return _everywhere(made.name, made)
