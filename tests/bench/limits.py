"""How fast the machine could be: its peak of matrix products and its memory, and passes held against them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

import caffe2lrp
from caffe2lrp.ir import Network
from caffe2lrp.kernels.compiling import device
from caffe2lrp.kernels.launch import F1, F2, Int, Program, kernel
from caffe2lrp.kernels.share import share
from caffe2lrp.layers.inner_product import InnerProduct
from tests.bench.networks import TITLES, random_input
from tests.bench.report import Row, against
from tests.bench.timing import Turns, best_seconds, run_python, run_times

if TYPE_CHECKING:
    from tests.bench.context import Bench

RULES: dict[str, dict[str, Any]] = {
    "epsilon": {"rule": "epsilon", "epsilon": 1.0},
    "alphabeta": {"rule": "alphabeta", "beta": 1.0},
    "epsilon_alpha2_beta1": {"composite": "epsilon_alpha2_beta1"},
    "epsilon_plus": {"composite": "epsilon_plus"},
}
"""Options of `caffe2lrp.explain` by the name of the rule."""

_PRODUCTS = {"forward": 1, "epsilon": 2, "alphabeta": 4, "epsilon_alpha2_beta1": 4, "epsilon_plus": 3}
"""Products with the weights of a convolution that a pass needs: forward, for further denominators, and back."""

_AT_ONCE = 2  # runs of a turn


@dataclass(frozen=True)
class Machine:
    """What the machine can do at most.

    Attributes
    ----------
    gflops
        10^9 floating-point operations a second in a product of float32 matrices (4096, 4096) by NumPy's BLAS.
    bandwidth
        10^9 bytes a second in a sum of an array larger than the caches.
    """

    gflops: float
    bandwidth: float

    def product_ms(self, multiply_adds: float) -> float:
        """Milliseconds of so many multiply-adds."""
        return 2e-6 * multiply_adds / self.gflops

    def reading_ms(self, size: float) -> float:
        """Milliseconds of reading so many bytes."""
        return 1e-6 * size / self.bandwidth


# -- the machine -----------------------------------------------------------------------------------------------

# In a process of its own: BLAS reads the number of threads when it is loaded, and its threads stay.
_PRODUCT = """
import sys, time
import numpy as np
a, times = np.random.default_rng(0).standard_normal((int(sys.argv[1]),) * 2, np.float32), []
for _ in range(6):
    started = time.perf_counter()
    a @ a
    times.append(time.perf_counter() - started)
print(2e-9 * len(a) ** 3 / min(times))
"""


def measure_machine(threads: int, size: int = 4096, values: int = 2**26) -> Machine:
    """Measure the machine with as many threads as the passes have; the best of several runs counts.

    Parameters
    ----------
    threads
        Number of threads.
    size
        Rows and columns of the matrices.
    values
        Size of the array in memory.
    """
    return Machine(measure_product(threads, size), measure_bandwidth(values))


def measure_product(threads: int, size: int) -> float:
    """10^9 operations a second of a matrix product."""
    names = ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "BLIS_NUM_THREADS", "OMP_NUM_THREADS")
    return float(run_python(["-c", _PRODUCT, str(size)], dict.fromkeys(names, str(threads))))


def measure_bandwidth(values: int) -> float:
    """10^9 bytes a second of reading, with the threads that programs run on."""
    return 4e-9 * values / best_seconds(reading(values), 12)


def reading(values: int) -> Callable[[], None]:
    """A function that reads so many values from memory."""
    program = Program("float32")
    program.add(read, np.ones(values, np.float32), np.zeros((256, 16), np.float32))
    return program.run


@device
def _sum(values):  # type: ignore[no-untyped-def]
    total = values.dtype.type(0)
    for i in range(values.size):
        total += values[i]
    return total


@kernel
def read(part: Int, parts: Int, x: F1, sums: F2) -> None:
    """Sum up each thread's share of x, into rows that lie on cache lines of their own."""
    start, stop = share(x.size, part, parts)
    sums[part % sums.shape[0], 0] = _sum(x[start:stop])


# -- limits of passes ------------------------------------------------------------------------------------------


def limit_ms(network: Network, machine: Machine, name: str) -> float:
    """Milliseconds that the machine needs at least for the arithmetic of a pass at batch 1.

    Convolutions are bound by their multiply-adds, fully connected layers by one reading of their weights on each way.

    Parameters
    ----------
    network, machine
        What runs where.
    name
        ``forward``, or a rule for a whole explanation.
    """
    dense = [layer for layer in network.layers if isinstance(layer.params, InnerProduct)]
    products = _PRODUCTS[name] * (network.multiply_adds - sum(multiply_adds(network, layer.name) for layer in dense))
    size = (1 if name == "forward" else 2) * sum(layer.weights["weight"].size for layer in dense)
    return machine.product_ms(products) + machine.reading_ms(4 * size)


def multiply_adds(network: Network, name: str) -> int:
    """Multiply-adds of one layer."""
    layer = network.layer(name)
    inputs, outputs = ([network.shapes[blob] for blob in blobs] for blobs in (layer.inputs, layer.outputs))
    return layer.params.multiply_adds(inputs, outputs)


def rows(bench: Bench) -> Iterator[Row]:
    """The section: the machine, GoogLeNet's alpha-beta pass, and fully connected layers."""
    machine = bench.machine
    yield Row("limits", "matrix product 4096 x 4096 x 4096", machine.gflops, "GF/s", more=True)
    yield Row("limits", "reading memory", machine.bandwidth, "GB/s", more=True)
    network = bench.network("googlenet")
    if network is not None:
        yield alphabeta_row(network, TITLES["googlenet"], machine, bench.runs)
    network = bench.network("caffenet")
    if network is not None:
        for rule in ("epsilon", "alphabeta"):
            yield from fully_connected_rows(network, TITLES["caffenet"], rule, bench.runs)


def alphabeta_row(network: Network, title: str, machine: Machine, runs: int) -> Row:
    """A whole alpha-beta explanation against the products it needs: z+ and z-, and their ways back."""
    x = random_input(network)
    times = run_times({"ours": lambda: caffe2lrp.explain(network, x, 1, lrn="identity", **RULES["alphabeta"])}, runs)
    limit = machine.product_ms(4 * network.multiply_adds)
    return against("limits", f"{title} alphabeta", times["ours"], "4 x multiply-adds", limit, (2.2, 1.5))


def fully_connected_rows(network: Network, title: str, rule: str, runs: int) -> Iterator[Row]:
    """All calls of the fully connected layers on each way, against one reading of as much memory.

    Both take turns: the speed of memory depends on what else the machine does.
    """
    from tests.bench.layers import profile

    dense = {layer.name: layer for layer in network.layers if isinstance(layer.params, InnerProduct)}
    read_as_much = reading(sum(layer.weights["weight"].size for layer in dense.values()))
    turns = Turns({"forward": [], "back": [], "read": []})
    for _ in range(-(-runs // _AT_ONCE)):
        steps = profile(network, rule, _AT_ONCE)
        for way, ways in (("forward", ("forward",)), ("back", ("derive", "back"))):
            turns[way].append(sum(step.ms for step in steps if step.way in ways and step.layer in dense))
        turns["read"].append(run_times({"read": read_as_much}, _AT_ONCE)["read"])
    for way in ("forward", "back"):
        what, ratio = f"{title} {rule}, fully connected, {way}", turns.quotient(way, "read")
        yield against("limits", what, turns.usual(way), "one read of weights", turns.usual("read"), (1.4, 1.2), ratio)
