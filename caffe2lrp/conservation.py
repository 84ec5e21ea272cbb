"""The account of relevance: how much reached each layer, and where the rest went.

A linear layer's denominators contain more than its inputs: the bias takes part and keeps its share
b_j s_j, the stabiliser keeps epsilon sign(z_j) s_j, and a term whose denominator is 0 is dropped. Blobs
that do not depend on the input (learned or constant ones) count as biases of the layer that reads them.
What a rule gives to zero padding is lost, too (flat, w^2 and z^B give some). Sums are in float64.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from caffe2lrp.engine.backward import Ledger, RelevancePlan


@dataclass(frozen=True)
class Entry:
    """Relevance of one layer, summed over the batch.

    Attributes
    ----------
    layer, type, rule
        The layer, its type, and the rule that it got (empty for layers without weights).
    above, below
        Relevance of its outputs and of its inputs. The input may be read by other layers, too: their
        share is not in `below`.
    bias, epsilon, dropped
        What bias and stabiliser kept, and what was dropped with denominators of 0.
    other
        What remains: padding, LRN and pooling windows without activation, and rounding.
    """

    layer: str
    type: str
    rule: str
    above: float
    below: float
    bias: float
    epsilon: float
    dropped: float

    @property
    def other(self) -> float:
        return self.above - self.below - self.bias - self.epsilon - self.dropped


@dataclass(frozen=True)
class Account:
    """The account of one explanation: entries from the start down to the input.

    Attributes
    ----------
    start
        Relevance that the pass started with.
    entries
        One for each layer on the way.
    arrived
        Relevance of all inputs.
    """

    start: float
    entries: tuple[Entry, ...]
    arrived: float

    def total(self, column: str) -> float:
        """Sum of a column (``bias``, ``epsilon``, ``dropped``, ``other``) over all layers."""
        return float(sum(getattr(entry, column) for entry in self.entries))

    def to_dict(self) -> dict[str, Any]:
        """Plain numbers and strings, for JSON."""
        rows = [{**asdict(entry), "other": entry.other} for entry in self.entries]
        return {"start": self.start, "arrived": self.arrived, "layers": rows}


def account_of(plan: RelevancePlan) -> Account:
    """The account of the pass that the plan has just run."""
    entries = []
    for layer in reversed(plan.path):
        bias = epsilon = dropped = 0.0
        ledger = plan.ledgers.get(layer.name)
        if ledger is not None:
            bias, epsilon, dropped = _kept(ledger)
        given = [(blob in plan.dependent, _given(plan, blob, buffer)) for blob, buffer in plan.sent[layer.name]]
        entries.append(
            Entry(
                layer=layer.name,
                type=layer.type,
                rule=ledger.rule.name if ledger else "",
                above=_sum(plan.relevance[blob] for blob in layer.outputs),
                below=sum(sent for dependent, sent in given if dependent),
                bias=bias + sum(sent for dependent, sent in given if not dependent),
                epsilon=epsilon,
                dropped=dropped,
            )
        )
    start = _sum([plan.relevance[plan.settings.start]])
    return Account(start, tuple(entries), _sum(plan.input_relevances.values()))


def _given(plan: RelevancePlan, blob: str, buffer: np.ndarray) -> float:
    """What a layer gave to a blob; the buffer of a blob's first reader holds what the others added to it, too."""
    others = plan.added.get(blob, []) if buffer is plan.relevance[blob] else []
    return _sum([buffer]) - _sum(others)


def _sum(arrays: Any) -> float:
    return float(sum(array.sum(dtype=np.float64) for array in arrays))


def _kept(ledger: Ledger) -> tuple[float, float, float]:
    bias = epsilon = dropped = 0.0
    for term in ledger.terms:
        s = term.shares()
        if term.bias is not None:
            shape = (1,) * (s.ndim - term.bias.ndim) + term.bias.shape
            spread = tuple(axis for axis, size in enumerate(shape) if size == 1)
            bias += float((s.sum(axis=spread, keepdims=True) * term.bias).sum())
        stabiliser = np.where(term.z < 0, -term.epsilon, term.epsilon)
        if term.epsilon:
            epsilon += float(np.vdot(s, stabiliser))
        bottom = np.add(stabiliser, term.z, out=stabiliser)
        if not bottom.all():
            gone = term.r[(s == 0) & (bottom == 0)]
            dropped += term.factor * float(gone.sum(dtype=np.float64))
    return bias, epsilon, dropped
