"""How the cost grows with threads, images in a batch, targets, and the size of the image."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

import caffe2lrp
from caffe2lrp.ir import Network
from caffe2lrp.kernels import team
from caffe2lrp.kernels.convolution import Sliding, add_forward
from caffe2lrp.kernels.eltwise import fill
from caffe2lrp.kernels.gemm import STORE
from caffe2lrp.kernels.launch import Program
from tests.bench.limits import RULES, Machine, limit_ms, measure_bandwidth, measure_product, reading
from tests.bench.networks import TITLES, random_input
from tests.bench.peers import Peer, onnxruntime_forward
from tests.bench.report import Bounds, Row, against, times_faster
from tests.bench.timing import best_seconds, run_times, run_turns

if TYPE_CHECKING:
    from tests.bench.context import Bench

THREADS: Bounds = (1.7, 1.9)  # of two threads over one
BATCH: dict[str, Bounds] = {"googlenet": (0.85, None), "caffenet": (0.45, None)}  # per image, 16 over 1
TARGETS: Bounds = (1.0, None)
AREA: Bounds = (1.1, None)  # linear within a tenth
SIZES = (227, 454, 908)
FAR = 200  # nanoseconds; two cores with a common cache meet in about half of that
ONE_CORE = 1.6  # times as many products as one thread: less is what two threads of one core give

_NONE: Bounds = (None, None)


def rows(bench: Bench) -> Iterator[Row]:
    """The section."""
    if bench.threads > 1:
        yield from machine_rows()
    for name in ("googlenet", "caffenet"):
        network = bench.network(name)
        if network is None:
            continue
        title = TITLES[name]
        if bench.threads > 1:
            yield from thread_rows(network, title, bench.machine, bench.runs)
        yield from batch_rows(network, title, 16, bench.peers, bench.threads, bench.runs, BATCH[name])
        yield from target_rows(network, title, 5, bench.runs)
    network = bench.network("squeezenet")
    if network is not None:
        yield from area_rows(network, TITLES["squeezenet"], SIZES, bench.runs)


def passes(network: Network, x: np.ndarray, *rules: str) -> dict[str, Callable[[], Any]]:
    """The forward pass, and explanations by some rules."""
    functions: dict[str, Callable[[], Any]] = {"forward": lambda: network.forward(x)}
    for rule in rules:
        functions[rule] = lambda rule=rule: caffe2lrp.explain(  # type: ignore[misc]
            network, x, 1, lrn="identity", **RULES[rule]
        )
    return functions


def machine_rows(size: int = 4096, values: int = 2**26) -> Iterator[Row]:
    """What two threads give of the machine itself: no pass can scale better than what it is bound by."""
    before = team.threads()
    try:
        speeds = []
        for count in (1, 2):
            team.set_threads(count)
            speeds.append((measure_product(count, size), measure_bandwidth(values)))
    finally:
        team.set_threads(before)
    for what, unit, one, two in zip(("matrix product", "reading memory"), ("GF/s", "GB/s"), *speeds, strict=True):
        yield Row("scaling", f"{what}, 2 threads", two, unit, "1 thread", one, two / one, more=True)


def thread_rows(network: Network, title: str, machine: Machine, runs: int) -> Iterator[Row]:
    """Two threads against one; they take turns, as all that is compared does."""
    before = team.threads()
    try:
        for name, run in passes(network, random_input(network), "epsilon", "alphabeta").items():

            def on(count: int, run: Callable[[], Any] = run) -> None:
                team.set_threads(count)
                run()

            moments: list[Moment] = []
            functions = {"one": lambda on=on: on(1), "two": lambda on=on: on(2)}  # type: ignore[misc]
            turns = run_turns(functions, runs, lambda moments=moments: moments.append(look()))  # type: ignore[misc]
            one, two, ratio = turns.usual("one"), turns.usual("two"), turns.quotient("one", "two")
            note = _note(moments, np.divide(turns["one"], turns["two"]))
            what, share = f"{title} {name}, 2 threads", limit_ms(network, machine, name) / two
            yield times_faster("scaling", what, two, "1 thread", one, THREADS, ratio, share=share, note=note)
    finally:
        team.set_threads(before)


@dataclass(frozen=True)
class Moment:
    """What the machine has to give at a moment: a virtual one may move from core to core.

    Attributes
    ----------
    meeting
        Nanoseconds that two threads need to wait for each other.
    gain
        How much faster two threads are than one with what cores need not share: products of values in their caches.
    reading
        How much faster with what they share: reading memory.
    """

    meeting: float
    gain: float
    reading: float

    @property
    def cores(self) -> str:
        """Where the two threads are."""
        if self.gain < ONE_CORE:
            return "on one core"
        return "with no common cache" if self.meeting > FAR else "with a common cache"


def look(calls: int = 2000) -> Moment:
    """Measure what there is to give."""
    team.set_threads(2)
    meeting = best_seconds(_waits(calls).run, 4) / calls
    shared = (_products().run, _reading())
    two = [best_seconds(run, 4) for run in shared]
    team.set_threads(1)
    gain, memory = (best_seconds(run, 4) / time for run, time in zip(shared, two, strict=True))
    return Moment(1e9 * meeting, gain, memory)


@functools.cache
def _waits(calls: int) -> Program:
    """A program in which threads do no more than wait for each other."""
    program = Program("float32")
    for _ in range(calls):
        program.add(fill, np.zeros(2, np.float32), 0.0)
    return program


@functools.cache
def _products(count: int = 4) -> Program:
    """A program of products of values that stay in each core's cache."""
    program, shape = Program("float32"), (1, 128, 28, 28)
    way = Sliding(shape, shape, (1, 1), (1, 1), (0, 0), (1, 1), 1)
    x, y = np.ones(shape, np.float32), np.empty(shape, np.float32)
    for _ in range(count):
        add_forward(program, way, np.ones((1, 128, 128, 1), np.float32), None, x, y, y, STORE, "products")
    return program


@functools.cache
def _reading(values: int = 2**24) -> Callable[[], None]:
    """A function that reads more than caches hold."""
    return reading(values)


def _note(moments: Sequence[Moment], ratios: np.ndarray) -> str:
    """The ratio of the turns in which the threads were in one kind of place, for each kind."""
    found = []
    for cores in sorted({moment.cores for moment in moments}):
        chosen = [i for i, moment in enumerate(moments) if moment.cores == cores]
        numbers = [(moments[i].meeting, moments[i].gain, moments[i].reading) for i in chosen]
        meeting, gain, memory = np.median(numbers, axis=0)
        turns = f"{len(chosen)} turns {cores}: {np.median(ratios[chosen]):.2f}"
        found.append(f"{turns} (products {gain:.2f}, reading {memory:.2f}, threads meet in {meeting:.0f} ns)")
    return "; ".join(found)


def batch_rows(
    network: Network, title: str, size: int, peers: dict[str, Peer], threads: int, runs: int, bounds: Bounds
) -> Iterator[Row]:
    """Each image of a batch against one alone, and against each image of the same batch in onnxruntime."""
    x = random_input(network, (size, *network.input_shape[1:]))
    one, many = passes(network, random_input(network), "epsilon"), passes(network, x, "epsilon")
    for name in one:
        functions = {"one": one[name], "many": many[name]}
        if name == "forward" and peers["onnxruntime"].version:
            run = onnxruntime_forward(network.with_batch(size), threads)
            functions["onnxruntime"] = lambda run=run: run(x)  # type: ignore[misc]
        turns = run_turns(functions, runs)
        ours, held = turns.usual("many") / size, bounds if name == "forward" else _NONE
        what = f"{title} {name}, batch {size}, per image"
        ratio = turns.quotient("many", "one") / size
        yield against("scaling", what, ours, "batch 1", turns.usual("one"), held, ratio)
        if "onnxruntime" in turns:
            theirs, ratio = turns.usual("onnxruntime") / size, turns.quotient("many", "onnxruntime")
            yield against("scaling", f"{what}, beside", ours, "onnxruntime", theirs, _NONE, ratio)


def target_rows(network: Network, title: str, count: int, runs: int) -> Iterator[Row]:
    """Several targets of one image against one forward pass and as many relevance passes."""
    x = random_input(network)

    def targets(rule: str) -> None:
        session = caffe2lrp.Session(network, x)
        for target in range(count):
            session.explain(target, lrn="identity", **RULES[rule])

    for rule in ("epsilon", "alphabeta"):
        functions = passes(network, x, rule)
        functions["targets"] = lambda rule=rule: targets(rule)  # type: ignore[misc]
        times = run_times(functions, runs)
        apart = times["forward"] + count * (times[rule] - times["forward"])
        what = f"{title} {rule}, {count} targets"
        yield against("scaling", what, times["targets"], f"forward + {count} x back", apart, TARGETS)


def area_rows(network: Network, title: str, sizes: Sequence[int], runs: int) -> Iterator[Row]:
    """Time per pixel of larger images against that of the smallest."""
    functions: dict[str, Callable[[], Any]] = {}
    for size in sizes:
        x = random_input(network, (*network.input_shape[:2], size, size))
        for name, run in passes(network.with_input_shape(x.shape), x, "epsilon").items():
            functions[f"{name}, {size} x {size}"] = run
    turns = run_turns(functions, max(runs // 2, 3))
    for name in ("forward", "epsilon"):
        first = f"{name}, {sizes[0]} x {sizes[0]}"
        for size in sizes[1:]:
            larger = f"{name}, {size} x {size}"
            pixel, least = 1e6 * turns.usual(larger) / size**2, 1e6 * turns.usual(first) / sizes[0] ** 2
            ratio = turns.quotient(larger, first) * sizes[0] ** 2 / size**2
            yield Row(
                "scaling", f"{title} {larger}, per pixel", pixel, "ns", f"{sizes[0]} x {sizes[0]}", least, ratio, *AREA
            )
