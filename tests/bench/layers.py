"""Where the time of a pass goes, call by call: `python -m tests.bench --layers`."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

import caffe2lrp
from caffe2lrp.engine.backward import RelevancePlan
from caffe2lrp.ir import Network
from caffe2lrp.kernels.launch import Program
from caffe2lrp.layers.convolution import Convolving
from caffe2lrp.layers.inner_product import InnerProduct
from tests.bench.limits import RULES, multiply_adds
from tests.bench.networks import random_input
from tests.bench.timing import PAUSE, usual


@dataclass(frozen=True)
class Step:
    """Calls of one kernel for one layer that follow each other.

    Attributes
    ----------
    way
        ``forward``, ``derive`` (what a rule computes from the input alone, as far as the forward pass does not) or
        ``back``.
    kernel, layer
        What was called, and for which layer.
    calls
        How often.
    ms, share
        Milliseconds, and their part of the whole explanation.
    gflops
        Of products of convolutions: 10^9 operations a second, without those that only fill tiles.
    bandwidth
        Of products of fully connected layers: 10^9 bytes of weights a second.
    """

    way: str
    kernel: str
    layer: str
    calls: int
    ms: float
    share: float
    gflops: float | None = None
    bandwidth: float | None = None


@dataclass(frozen=True)
class _Timed:
    """One call, timed."""

    way: str
    kernel: str
    module: str
    layer: str
    ms: float


def profile(network: Network, rule: str, runs: int) -> list[Step]:
    """Time all calls of an explanation of one image, relevance passing LRN layers unchanged.

    Programs note the processor's cycle counter after each call; how fast it counts is taken from the starts of the
    first and the last of the runs.

    Parameters
    ----------
    network
        The network.
    rule
        A name of `tests.bench.limits.RULES`.
    runs
        Explanations, at least two.

    Returns
    -------
    list
        In the order of execution.

    Raises
    ------
    RuntimeError
        If the processor has no counter.
    """
    x = random_input(network)
    session = caffe2lrp.Session(network, x)
    session.explain(1, lrn="identity", **RULES[rule])
    plan = [plan for plan in session.network._plans.values() if isinstance(plan, RelevancePlan)][-1]
    programs = [(way, program) for way, program in _programs(plan) if len(program)]
    starts, ticks = [], []
    for _ in range(max(runs, 2)):
        time.sleep(PAUSE)
        for _, program in programs:
            program.prepare()
            program.ticks[:] = 0
        started = time.perf_counter()
        caffe2lrp.explain(network, x, 1, lrn="identity", **RULES[rule])
        starts.append((started, int(programs[0][1].ticks[0])))
        ticks.append([program.ticks.copy() for _, program in programs])
    seconds, counted = starts[-1][0] - starts[0][0], starts[-1][1] - starts[0][1]
    if counted <= 0:
        raise RuntimeError("this processor has no cycle counter, which the times of layers are taken from")
    milliseconds = 1e3 * seconds / counted
    timed = []
    for place, (way, program) in enumerate(programs):
        if ticks[-1][place][-1]:  # else it was not run: its parts were
            counts = np.array([np.diff(run[place]) for run in ticks])
            spent = np.apply_along_axis(usual, 0, counts) * milliseconds
            timed += list(_timed(way, program, spent))
    return _steps(plan, timed)


def _programs(plan: RelevancePlan) -> Iterator[tuple[str, Program]]:
    """All programs that may be run; what is derived is one program, or one for each layer."""
    yield "forward", plan.forward.program
    yield "derive", plan._derivation
    for derived in plan._derived:
        yield "derive", derived.program
    yield "back", plan.program


def _timed(way: str, program: Program, spent: np.ndarray) -> Iterator[_Timed]:
    for label, call, ms in zip(program.labels, program._calls, spent, strict=True):
        kernel, module = ("Python", "") if callable(call) else (call[0].name, call[0].function.__module__)
        yield _Timed(way, kernel, module.rpartition(".")[2], label.removesuffix(" back"), float(ms))


def _steps(plan: RelevancePlan, timed: list[_Timed]) -> list[Step]:
    """Calls of one kernel for one layer as one step, with rates."""
    whole = sum(call.ms for call in timed)
    groups: list[list[_Timed]] = []
    for call in timed:
        last = groups[-1][0] if groups else None
        if last and (last.way, last.kernel, last.layer) == (call.way, call.kernel, call.layer):
            groups[-1].append(call)
        else:
            groups.append([call])
    layers = {layer.name: layer for layer in plan.network.layers}
    steps = []
    for group in groups:
        first, ms = group[0], sum(call.ms for call in group)
        gflops = bandwidth = None
        params = layers[first.layer].params if first.layer in layers else None
        if isinstance(params, Convolving) and first.kernel in ("convolution", "sparse_product") and ms:
            work = _products(plan, first) * multiply_adds(plan.network, first.layer)
            gflops = 2e-6 * work / ms
        if isinstance(params, InnerProduct) and first.module == "inner_product" and ms:
            bandwidth = 4e-6 * len(group) * layers[first.layer].weights["weight"].size / ms
        steps.append(Step(first.way, first.kernel, first.layer, len(group), ms, ms / whole, gflops, bandwidth))
    return steps


def _products(plan: RelevancePlan, call: _Timed) -> int:
    """Products with all weights of a convolution: one for each pair of a source and a denominator of its rule."""
    if call.way == "forward" and call.layer not in plan.forward.by_sign:
        return 1
    rule = plan.ledgers[call.layer].rule
    return len(rule.sources) * len(rule.denominators)


# -- printing --------------------------------------------------------------------------------------------------


def table(steps: list[Step]) -> list[str]:
    """Lines: all steps in order, then the sums by kernel."""
    lines = [f"{'way':8} {'kernel':26} {'layer':30} {'calls':>5} {'ms':>8} {'share':>7} {'GFLOP/s':>8} {'GB/s':>6}"]
    for step in steps:
        rates = f"{step.gflops:8.0f}" if step.gflops else f"{'':8} {step.bandwidth:6.1f}" if step.bandwidth else ""
        what = f"{step.way:8} {step.kernel:26} {step.layer:30} {step.calls:5}"
        lines.append(f"{what} {step.ms:8.3f} {100 * step.share:5.1f} % {rates}")
    sums: dict[tuple[str, str], list[float]] = {}
    for step in steps:
        total = sums.setdefault((step.way, step.kernel), [0, 0.0, 0.0])
        for i, value in enumerate((step.calls, step.ms, step.share)):
            total[i] += value
    lines += ["", f"{'way':8} {'kernel':57} {'calls':>5} {'ms':>8} {'share':>7}"]
    for (way, kernel), (calls, ms, share) in sorted(sums.items(), key=lambda item: -item[1][1]):
        lines.append(f"{way:8} {kernel:57} {calls:5.0f} {ms:8.3f} {100 * share:5.1f} %")
    lines.append(f"{'all':66} {sum(s.calls for s in steps):5} {sum(s.ms for s in steps):8.3f}")
    return [line.rstrip() for line in lines]


def as_json(steps: list[Step]) -> list[dict[str, Any]]:
    """Steps as plain dictionaries."""
    return [asdict(step) for step in steps]
