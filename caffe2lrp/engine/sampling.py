"""Explanations that are averages over several inputs: SmoothGrad and integrated gradients."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np

from caffe2lrp.composites import Composite, Noise, Path
from caffe2lrp.engine.inputs import listed
from caffe2lrp.errors import ModelError
from caffe2lrp.explanation import Explanation, LRNRule, Start, Target, start_values, target_lists

if TYPE_CHECKING:
    from caffe2lrp.engine.session import Session

_TOGETHER = 8
"""Inputs of one pass: enough to fill the cores, few enough to stay small."""


def explain_samples(
    session: Session,
    composite: Composite,
    target: Target,
    against: Target = None,
    *,
    lrn: LRNRule,
    blob: str,
    start: Start,
) -> Explanation:
    """Explain the average over the inputs that `composite.sampling` says, for the targets of the input itself."""
    from caffe2lrp.engine.session import Session

    if len(session.inputs) > 1:
        raise ModelError(
            f"{composite.name} is an average over variations of an input, but {session.network.name} has several: "
            f"{listed(session.network)}"
        )
    with session.values() as values:
        outputs = values[blob].reshape(values[blob].shape[0], -1).copy()
    targets = target_lists(target, outputs)
    others = None if against is None else target_lists(against, outputs)
    score = start_values(outputs, targets, others, start).sum(axis=1)
    single = replace(composite, sampling=None, times_input=False, norm=False)
    assert composite.sampling is not None
    relevance = np.zeros(session.x.shape, np.float64)
    for n, x in enumerate(session.x):
        count = 0
        for chunk in _chunks(composite.sampling, x):
            samples = Session(session.given, chunk)
            e = samples.explain(
                [targets[n]] * len(chunk),
                against=None if others is None else [others[n]] * len(chunk),
                composite=single,
                lrn=lrn,
                layer=blob,
                start=start,
            )
            relevance[n] += e.relevance.sum(axis=0, dtype=np.float64)
            count += len(chunk)
        relevance[n] /= count
    rounded = relevance.astype(session.x.dtype)
    return Explanation(
        relevance=rounded,
        relevances={session.network.input: rounded},
        score=score,
        target=targets,
        outputs=outputs,
        rule=composite.name,
        against=others,
    )


def _chunks(sampling: Noise | Path, x: np.ndarray) -> Iterator[np.ndarray]:
    """The inputs (n, C, H, W) made of one image (C, H, W), a few at a time."""
    if isinstance(sampling, Noise):
        rng = np.random.default_rng(sampling.seed)
        deviation = sampling.level * float(x.max() - x.min())
        for first in range(0, sampling.samples, _TOGETHER):
            n = min(_TOGETHER, sampling.samples - first)
            yield x + (deviation * rng.standard_normal((n, *x.shape))).astype(x.dtype)
        return
    points = (np.arange(sampling.steps) + 0.5) / sampling.steps
    for first in range(0, sampling.steps, _TOGETHER):
        yield x * points[first : first + _TOGETHER].reshape(-1, *[1] * x.ndim).astype(x.dtype)
