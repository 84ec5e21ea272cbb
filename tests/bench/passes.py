"""Forward passes and whole explanations beside those of other programs, on the same weights and rules."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

import caffe2lrp
from caffe2lrp.ir import Network
from tests.bench.limits import RULES, Machine, limit_ms
from tests.bench.networks import TITLES, random_input
from tests.bench.peers import Peer, check_forward, check_map, onnxruntime_forward, opencv_forward
from tests.bench.report import Bounds, Row, against, times_faster
from tests.bench.timing import run_turns

if TYPE_CHECKING:
    from tests.bench.context import Bench

TARGET = 1  # the class that is explained

FORWARD: dict[str, Bounds] = {"googlenet": (1.2, 0.85), "caffenet": (1.2, 1.0), "squeezenet": (1.2, 1.0)}
"""Our time over onnxruntime's."""

EXPLAIN: dict[tuple[str, str], Bounds] = {
    ("googlenet", "epsilon"): (3.5, 5),
    ("googlenet", "alphabeta"): (4.5, 7),
    ("googlenet", "epsilon_alpha2_beta1"): (4.5, 7),
    ("caffenet", "epsilon"): (2, 2.5),
    ("caffenet", "alphabeta"): (7, 10),
    ("caffenet", "epsilon_alpha2_beta1"): (2.5, 3.5),
}
"""zennit's time over ours."""


def forward_rows(bench: Bench) -> Iterator[Row]:
    """The section of forward passes."""
    for name in TITLES:
        network = bench.network(name)
        if network is not None:
            yield from forward_of(
                network, TITLES[name], bench.peers, bench.threads, bench.runs, bench.machine, FORWARD.get(name)
            )


def forward_of(
    network: Network, title: str, peers: dict[str, Peer], threads: int, runs: int, machine: Machine,
    bounds: Bounds | None = None,
) -> Iterator[Row]:  # fmt: skip
    """Rows of one network's forward pass, one for each peer."""
    x = random_input(network)
    functions: dict[str, Callable[[], Any]] = {"ours": lambda: network.forward(x)}
    for name, make in (("onnxruntime", onnxruntime_forward), ("OpenCV", opencv_forward)):
        if peers[name].version:
            run = make(network, threads)
            check_forward(name, network.forward(x)[network.outputs[0]], run(x))
            functions[name] = lambda run=run: run(x)  # type: ignore[misc]
    if peers["torch"].version:
        functions["torch"] = _torch_forward(network, x, threads)
    turns = run_turns(functions, runs)
    ours = turns.usual("ours")
    share = limit_ms(network, machine, "forward") / ours
    for name in ("onnxruntime", "OpenCV", "torch"):
        held = bounds if bounds and name == "onnxruntime" else (None, None)
        if name in turns:
            ratio = turns.quotient("ours", name)
            yield against("forward", title, ours, name, turns.usual(name), held, ratio, share=share)
        else:
            yield against("forward", title, ours, name, None, held, share=share, note="missing")


def _torch_forward(network: Network, x: np.ndarray, threads: int) -> Callable[[], Any]:
    from tests.bench.torch_peer import torch_forward

    run = torch_forward(network, threads)
    check_forward("torch", caffe2lrp.explain(network, x, TARGET).outputs, run(x))
    return lambda: run(x)


def explain_rows(bench: Bench) -> Iterator[Row]:
    """The section of explanations."""
    for name in TITLES:
        network = bench.network(name)
        if network is not None:
            bounds = {rule: EXPLAIN.get((name, rule), (None, None)) for rule in RULES}
            yield from explanations_of(
                network, TITLES[name], bench.peers, bench.threads, bench.runs, bench.machine, bounds
            )


def explanations_of(
    network: Network, title: str, peers: dict[str, Peer], threads: int, runs: int, machine: Machine,
    bounds: dict[str, Bounds],
) -> Iterator[Row]:  # fmt: skip
    """Rows of one network's explanations, one for each rule; relevance passes LRN layers on both sides."""
    x = random_input(network)
    peer = None
    if peers["zennit"].version:
        from tests.bench.zennit_peer import Zennit

        peer = Zennit(network, x, threads)
    for rule, options in RULES.items():
        functions: dict[str, Callable[[], Any]] = {
            "ours": lambda options=options: caffe2lrp.explain(  # type: ignore[misc]
                network, x, TARGET, lrn="identity", **options
            )
        }
        if peer is not None:
            run = peer.explain
            check_map("zennit", functions["ours"]().relevance, run(rule, TARGET))
            functions["zennit"] = lambda rule=rule, run=run: run(rule, TARGET)  # type: ignore[misc]
        turns = run_turns(functions, runs)
        ours, what = turns.usual("ours"), f"{title} {rule}"
        share = limit_ms(network, machine, rule) / ours
        if "zennit" in turns:
            theirs, ratio = turns.usual("zennit"), turns.quotient("zennit", "ours")
            yield times_faster("explain", what, ours, "zennit", theirs, bounds[rule], ratio, share=share)
        else:
            yield times_faster("explain", what, ours, "zennit", None, bounds[rule], share=share, note="missing")
