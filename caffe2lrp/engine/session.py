"""Inputs, run once and explained as often as wanted: targets and rules share the forward pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from caffe2lrp.composites import Composite
from caffe2lrp.engine.backward import RelevancePlan, Settings
from caffe2lrp.engine.folding import fold_affine_layers
from caffe2lrp.engine.inner import channel_list, find_blobs, flat_indices, only_channels, relevance_of
from caffe2lrp.engine.inputs import as_inputs, shapes_of
from caffe2lrp.engine.linear import divides_by_sign
from caffe2lrp.engine.plan import ForwardPlan, cached, forward_plan
from caffe2lrp.errors import OptionError
from caffe2lrp.explanation import (
    Explanation,
    LRNRule,
    Start,
    Target,
    check_options,
    choose_composite,
    start_blob,
    start_values,
    target_lists,
)
from caffe2lrp.ir import Network
from caffe2lrp.rules import Rule

if TYPE_CHECKING:
    from caffe2lrp.conservation import Account

Bounds = tuple[np.ndarray, np.ndarray]


@dataclass(frozen=True)
class _Way:
    """How relevance goes: by which rules, from where, through what, and what is noted on the way."""

    composite: Composite
    rules: Mapping[str, Rule]
    lrn: LRNRule
    blob: str
    start: Start
    account: bool
    keep: Mapping[str, str]
    through: str | None
    channel: int | Sequence[int] | None


class Session:
    """Inputs of a network that are to be explained, once or more often.

    The forward pass runs when it is first needed, and again only if another session has used the plan's buffers in
    between. So do the parts of relevance passes that depend on the input alone, such as the denominators of a rule.

    Parameters
    ----------
    network
        The network.
    x
        Input, (N, C, H, W), preprocessed, or a dict of one array for each input blob. float64 (of the first input)
        runs everything in float64, anything else in float32.
    fold
        Merge affine layers into the linear layers before them (`caffe2lrp.engine.folding`).

    Examples
    --------
    >>> session = caffe2lrp.Session(net, x)  # doctest: +SKIP
    >>> maps = [session.explain(284, rule="alphabeta", beta=b) for b in (0.0, 1.0, 2.0)]  # doctest: +SKIP
    """

    def __init__(self, network: Network, x: Any, *, fold: bool = True) -> None:
        self.given = network
        self.network: Network = cached(network, ("folded",), lambda: fold_affine_layers(network)) if fold else network
        self.preprocessing = network.preprocessing  # it may have changed since the network was merged
        self.inputs = {blob: array.copy() for blob, array in as_inputs(network, x).items()}
        self.x = self.inputs[network.input]
        self._chosen: ForwardPlan | None = None

    def _choose_plan(self, rules: Mapping[str, Rule]) -> None:
        """Take a forward plan, once: the one that forms the denominators of the first rules on its way."""
        if self._chosen is None:
            by_sign = frozenset(name for name, rule in rules.items() if divides_by_sign(rule))
            self._chosen = forward_plan(self.network, shapes_of(self.inputs), self.x.dtype, by_sign)

    @property
    def _plan(self) -> ForwardPlan:
        self._choose_plan({})
        assert self._chosen is not None
        return self._chosen

    @contextmanager
    def values(self) -> Iterator[dict[str, np.ndarray]]:
        """All blobs of the forward pass; they are valid, and nobody else's, within the block."""
        with self._plan.lock:
            if self._plan.holder is not self:
                self._plan.holder = None
                self._plan.compute(self.inputs)
                self._plan.holder = self
            yield self._plan.values

    def explain(
        self,
        target: Target = None,
        *,
        rule: str | None = None,
        composite: str | Composite | None = None,
        lrn: LRNRule = "taylor",
        layer: str | None = None,
        start: Start | None = None,
        account: bool = False,
        against: Target = None,
        keep: str | Sequence[str] = (),
        through: str | None = None,
        channel: int | Sequence[int] | None = None,
        **parameters: float,
    ) -> Explanation:
        """Explain a target; parameters, result and errors are those of `caffe2lrp.explain`."""
        chosen = choose_composite(rule, composite, parameters)
        check_options(lrn, start)
        rules = cached(self.network, ("rules", chosen), lambda: chosen.assign(self.network))
        self._choose_plan(rules)
        blob = start_blob(self.given, layer)
        if blob not in self.network.shapes:
            raise OptionError(f"blob '{blob}' is not there to start at: its layer is merged with the one behind it")
        begin = start or ("one" if chosen.derivative else "score")
        if channel is not None and through is None:
            if layer is None or target is not None:
                raise OptionError("channel=... goes with through=..., or with layer=... in place of a target")
            shape = self._plan.network.shapes[blob]
            indices = flat_indices(channel_list(channel, blob, shape), shape)
            target = [indices] * (shape[0] if shape else 1)
        if chosen.sampling is not None:
            from caffe2lrp.engine.sampling import explain_samples

            if keep or through is not None:
                raise OptionError(f"{chosen.name} is an average over inputs: it has no relevance of inner blobs")
            explanation = explain_samples(self, chosen, target, against, lrn=lrn, blob=blob, start=begin)
        else:
            kept = find_blobs(self.given, self.network, keep)
            inner = find_blobs(self.given, self.network, through)[through] if through is not None else None
            way = _Way(chosen, rules, lrn, blob, begin, account, kept, inner, channel if through is not None else None)
            explanation = self._explain(way, target, against)
        relevances = explanation.relevances
        if chosen.times_input:
            relevances = {name: array * self.inputs[name] for name, array in relevances.items()}
        if chosen.norm:
            relevances = {name: _pixel_norms(array) for name, array in relevances.items()}
        labels = self.given.labels
        named = layer is None and labels is not None and len(labels) == explanation.outputs.shape[1]
        return replace(
            explanation,
            relevance=relevances[self.network.input],
            relevances=relevances,
            labels=labels if named else None,
        )

    def _explain(self, way: _Way, target: Target, against: Target) -> Explanation:
        """One relevance pass, or two: down to the blob that relevance has to pass through, and from there."""
        blob = way.blob
        backward = self._relevance_plan(way, blob)
        beyond = self._relevance_plan(way, way.through) if way.through is not None else None
        with self.values() as values:
            # A blob without axes (of a Reduction) is one output of the batch as a whole.
            shape = values[blob].shape
            outputs = values[blob].reshape(shape[0] if shape else 1, -1).copy()
            targets = target_lists(target, outputs)
            others = None if against is None else target_lists(against, outputs)
            begin = start_values(outputs, targets, others, way.start)
            backward.run(begin.reshape(shape))
            if beyond is not None and way.through is not None:
                passing = relevance_of(backward.relevance, way.through, blob)
                if way.channel is not None:
                    passing = only_channels(passing, channel_list(way.channel, way.through, passing.shape))
                backward, begin = beyond, passing.reshape(len(outputs), -1)
                backward.run(passing)
            relevances = {name: array.copy() for name, array in backward.input_relevances.items()}
            return Explanation(
                relevance=relevances[self.network.input],
                relevances=relevances,
                score=begin.sum(axis=1),
                target=targets,
                outputs=outputs,
                rule=way.composite.name,
                account=_account(backward) if way.account else None,
                against=others,
                blobs={
                    name: relevance_of(backward.relevance, inner, backward.settings.start)
                    for name, inner in way.keep.items()
                },
            )

    def _relevance_plan(self, way: _Way, start: str) -> RelevancePlan:
        rules = tuple(way.rules.items())
        inner = way.account or bool(way.keep) or way.through is not None
        settings = Settings(rules, start, way.lrn, way.composite.relu, way.composite.derivative, inner=inner)
        preprocessing = self.preprocessing
        return self.plan(settings, lambda: preprocessing.bounds(self.x.shape) if preprocessing else None, preprocessing)

    def plan(
        self, settings: Settings, bounds: Callable[[], Bounds | None] = lambda: None, key: object = None
    ) -> RelevancePlan:
        """The relevance plan for some settings; `key` tells plans with other bounds apart."""

        def make() -> RelevancePlan:
            return RelevancePlan(self._plan, settings, bounds())

        # Many settings must not crowd out the plan that all of them, and the sessions to come, share.
        plan = self._plan
        forward_plan(self.network, shapes_of(self.inputs), self.x.dtype, plan.by_sign, plan)
        made: RelevancePlan = cached(self.network, ("relevance", id(plan), settings, key), make)
        return made


def _account(backward: RelevancePlan) -> Account:
    from caffe2lrp.conservation import account_of

    return account_of(backward)


def _pixel_norms(relevance: np.ndarray) -> np.ndarray:
    """Euclidean norm over the channels of each pixel, shared out equally, so that the channels add up to it."""
    if relevance.ndim < 2:
        return np.abs(relevance)
    norm = np.sqrt(np.square(relevance).sum(axis=1, keepdims=True))
    return np.ascontiguousarray(np.broadcast_to(norm / relevance.shape[1], relevance.shape))
