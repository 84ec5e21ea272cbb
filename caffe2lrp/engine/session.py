"""One input, run once and explained as often as wanted: targets and rules share the forward pass."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Literal

import numpy as np

from caffe2lrp.composites import Composite
from caffe2lrp.engine.backward import LRNRule, RelevancePlan, Settings
from caffe2lrp.engine.folding import fold_affine_layers
from caffe2lrp.engine.plan import ForwardPlan, cached, forward_plan
from caffe2lrp.errors import OptionError
from caffe2lrp.explanation import Explanation, Target, target_lists
from caffe2lrp.ir import Network

if TYPE_CHECKING:
    from caffe2lrp.conservation import Account

Bounds = tuple[np.ndarray, np.ndarray]


class Session:
    """An input (N, C, H, W) that is to be explained, once or more often.

    The forward pass runs when it is first needed, and again only if another session has used the plan's
    buffers in between.

    Parameters
    ----------
    network
        The network.
    x
        Input, (N, C, H, W), float32 or float64.
    fold
        Merge affine layers into the linear layers before them (`caffe2lrp.engine.folding`).
    """

    def __init__(self, network: Network, x: np.ndarray, *, fold: bool = True) -> None:
        self.network: Network = cached(network, ("folded",), lambda: fold_affine_layers(network)) if fold else network
        self.preprocessing = network.preprocessing  # it may have changed since the network was merged
        self.x = x.copy()
        self._plan: ForwardPlan = forward_plan(self.network, x.shape, x.dtype, None)

    @contextmanager
    def values(self) -> Iterator[dict[str, np.ndarray]]:
        """All blobs of the forward pass; they are valid, and nobody else's, within the block."""
        with self._plan.lock:
            if self._plan.holder is not self:
                self._plan.holder = None
                self._plan.compute(self.x)
                self._plan.holder = self
            yield self._plan.values

    def explain(
        self,
        composite: Composite,
        target: Target,
        *,
        blob: str,
        lrn: LRNRule = "taylor",
        start: Literal["score", "one"] = "score",
        account: bool = False,
    ) -> Explanation:
        """Explain a target; see `caffe2lrp.explain`."""
        if blob not in self.network.shapes:
            raise OptionError(f"blob '{blob}' is not there to start at: its layer is merged with the one behind it")
        rules = tuple(composite.assign(self.network).items())
        settings = Settings(rules, blob, lrn, composite.relu, composite.derivative)
        preprocessing = self.preprocessing
        backward = self.plan(
            settings, lambda: preprocessing.bounds(self.x.shape) if preprocessing else None, preprocessing
        )
        with self.values() as values:
            # A blob without axes (of a Reduction) is one output of the batch as a whole.
            shape = values[blob].shape
            outputs = values[blob].reshape(shape[0] if shape else 1, -1).copy()
            targets = target_lists(target, outputs)
            begin = np.zeros_like(outputs)
            for n, classes in enumerate(targets):
                begin[n, classes] = outputs[n, classes] if start == "score" else 1
            backward.run(begin.reshape(values[blob].shape))
            return Explanation(
                relevance=backward.input_relevance.copy(),
                score=begin.sum(axis=1),
                target=targets,
                outputs=outputs,
                rule=composite.name,
                account=_account(backward) if account else None,
            )

    def plan(
        self, settings: Settings, bounds: Callable[[], Bounds | None] = lambda: None, key: object = None
    ) -> RelevancePlan:
        """The relevance plan for some settings; `key` tells plans with other bounds apart."""

        def make() -> RelevancePlan:
            return RelevancePlan(self._plan, settings, bounds())

        made: RelevancePlan = cached(self.network, ("relevance", id(self._plan), settings, key), make)
        return made


def _account(backward: RelevancePlan) -> Account:
    from caffe2lrp.conservation import account_of

    return account_of(backward)
