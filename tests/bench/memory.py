"""Loading weights, and the peak of resident memory, each in a process of its own."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from caffe2lrp.ir import Network
from tests.bench.networks import TITLES, files
from tests.bench.peers import write_files
from tests.bench.report import Row
from tests.bench.timing import run_python, usual

if TYPE_CHECKING:
    from tests.bench.context import Bench

_LOAD = """
import sys, time
from caffe2lrp import load
started = time.perf_counter()
load(*sys.argv[1:3])
print(time.perf_counter() - started)
"""

# The peak is read from the kernel's account of the process itself: what getrusage reports starts with the size of the
# process that launched it.
_EXPLAIN = """
import pathlib, sys
import numpy as np, caffe2lrp
network = caffe2lrp.load(*sys.argv[1:3]).with_batch(1)
caffe2lrp.explain(network, np.ones(network.input_shape, np.float32), target=1, rule="alphabeta", beta=1.0)
status = pathlib.Path("/proc/self/status").read_text()
print(1024 * int(status.split("VmHWM:")[1].split()[0]))
"""


def rows(bench: Bench) -> Iterator[Row]:
    """The section."""
    network = bench.network("caffenet")
    if network is not None:
        with tempfile.TemporaryDirectory() as folder:
            yield from weight_rows(network, TITLES["caffenet"], write_files(network, Path(folder)))
    found = files("googlenet")
    if found is not None:
        peak = explain_peak(found)
        note = "" if peak is not None else "there is no /proc here"
        what = f"{TITLES['googlenet']} alphabeta, peak"
        yield Row("memory", what, None if peak is None else peak / 1e6, "MB", floor=400, note=note)


def weight_rows(network: Network, title: str, paths: tuple[Path, Path]) -> Iterator[Row]:
    """Loading a network whose files were just written, and the peak of its explanation against its weights."""
    size = 4 * network.parameter_count
    what = f"loading {title} ({size / 1e6:.0f} MB)"
    yield Row("memory", what, load_seconds(paths), "s", floor=0.3)
    peak = explain_peak(paths)
    ours, ratio = (None, None) if peak is None else (peak / 1e6, peak / size)
    note = "" if peak is not None else "there is no /proc here"
    what = f"{title} alphabeta, peak"
    yield Row("memory", what, ours, "MB", "weights", size / 1e6, ratio, 2.0, 1.4, note=note)


def load_seconds(paths: tuple[Path, Path], times: int = 5) -> float:
    """Seconds of the first loading in a process, with the files in the system's cache, and written to the disk."""
    for path in paths:
        with open(path, "rb+") as file:
            os.fsync(file.fileno())
        path.read_bytes()
    return usual([float(run_python(["-c", _LOAD, *map(str, paths)])) for _ in range(times)])


def explain_peak(paths: tuple[Path, Path]) -> float | None:
    """Peak of resident bytes of a process that loads and explains a network; None where it is not told.

    One that has to compile kernels holds the compiler besides, so it is the second one that counts.
    """
    if not Path("/proc/self/status").is_file():
        return None
    return [float(run_python(["-c", _EXPLAIN, *map(str, paths)])) for _ in range(2)][-1]
