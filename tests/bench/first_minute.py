"""What a newcomer waits for: import, help, the first explanation on this machine and the next ones."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from typing import TYPE_CHECKING

import numpy as np

from tests.bench.networks import SHARED, TITLES, files
from tests.bench.report import Row
from tests.bench.timing import run_python, wall_time

if TYPE_CHECKING:
    from tests.bench.context import Bench

_IMPORT = "import time; t = time.perf_counter(); import caffe2lrp; print(time.perf_counter() - t)"
_TIMES = 7


def rows(bench: Bench) -> Iterator[Row]:
    """The section."""
    run_python(["-c", _IMPORT])
    imports = [float(run_python(["-c", _IMPORT])) for _ in range(_TIMES)]
    yield Row("first-minute", "import caffe2lrp", float(np.median(imports)), "s", floor=0.2)
    helps = [wall_time(["-m", "caffe2lrp", "--help"]) for _ in range(_TIMES)]
    yield Row("first-minute", "caffe2lrp --help", float(np.median(helps)), "s", floor=0.4)
    if bench.network("googlenet") is not None:
        yield from command_rows()


def command_rows() -> Iterator[Row]:
    """`caffe2lrp explain` of a photo, as whole processes: first without compiled kernels on disk, then with them."""
    found = files("googlenet")
    assert found is not None
    with tempfile.TemporaryDirectory() as folder:
        command = [
            "-m", "caffe2lrp", "explain", str(SHARED / "photos" / "cat1.jpg"), "--prototxt", str(found[0]),
            "--weights", str(found[1]), "--out", f"{folder}/out",
        ]  # fmt: skip
        environment = {"NUMBA_CACHE_DIR": f"{folder}/cache"}
        first = wall_time(command, environment)
        warm = [wall_time(command, environment) for _ in range(_TIMES)]
    title = f"caffe2lrp explain, {TITLES['googlenet']}"
    yield Row("first-minute", title, float(np.median(warm)), "s", floor=1.5, aim=1.0)
    yield Row("first-minute", f"{title}, first run ever", first, "s", floor=25, aim=12)
