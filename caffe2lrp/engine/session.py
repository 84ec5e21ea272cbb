"""One input, run once and explained as often as wanted: targets and rules share the forward pass."""

from __future__ import annotations

from typing import Literal

import numpy as np

from caffe2lrp.composites import Composite
from caffe2lrp.engine.backward import LRNRule, RelevancePlan, Settings
from caffe2lrp.engine.folding import fold_affine_layers
from caffe2lrp.engine.plan import ForwardPlan, cached, forward_plan
from caffe2lrp.errors import OptionError
from caffe2lrp.explanation import Explanation, Target, target_lists
from caffe2lrp.ir import Network


class Session:
    """An input (N, C, H, W) that is to be explained.

    Affine layers behind linear ones are merged into them first (`caffe2lrp.engine.folding`).
    """

    def __init__(self, network: Network, x: np.ndarray) -> None:
        self.network: Network = cached(network, ("folded",), lambda: fold_affine_layers(network))
        self.x = x
        self._plan: ForwardPlan = forward_plan(self.network, x.shape, x.dtype, None)

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
        backward = self._relevance_plan(composite, blob, lrn)
        with self._plan.lock:
            self._plan.compute(self.x)
            values = self._plan.values[blob]
            flat = values.reshape(values.shape[0], -1)
            targets = target_lists(target, flat)
            begin = np.zeros_like(flat)
            for n, classes in enumerate(targets):
                begin[n, classes] = flat[n, classes] if start == "score" else 1
            backward.run(begin.reshape(values.shape))
            return Explanation(
                relevance=backward.input_relevance.copy(),
                score=begin.sum(axis=1),
                target=targets,
                outputs=flat.copy(),
                rule=composite.name,
                account=_account(backward) if account else None,
            )

    def _relevance_plan(self, composite: Composite, blob: str, lrn: LRNRule) -> RelevancePlan:
        settings = Settings(tuple(composite.assign(self.network).items()), lrn, blob)
        plan = self._plan

        def make() -> RelevancePlan:
            preprocessing = self.network.preprocessing
            bounds = None if preprocessing is None else preprocessing.bounds(self.x.shape)
            return RelevancePlan(plan, settings, bounds)

        made: RelevancePlan = cached(self.network, ("relevance", id(plan), settings), make)
        return made


def _account(backward: RelevancePlan):  # type: ignore[no-untyped-def]
    from caffe2lrp.conservation import account_of

    return account_of(backward)
