"""What a newcomer waits for: import, help, the first explanation on this machine and the next ones."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from tests.bench.networks import SHARED, TITLES, files
from tests.bench.report import Row
from tests.bench.timing import usual, wall_time

if TYPE_CHECKING:
    from tests.bench.context import Bench

_TIMES = 7


def rows(bench: Bench) -> Iterator[Row]:
    """The section."""
    yield Row("first-minute", "import caffe2lrp", usual_wall_time(["-c", "import caffe2lrp"]), "s", floor=0.2)
    # names are imported where they are first used, so this is what a script with both waits for
    names = ["-c", "from caffe2lrp import explain, load"]
    yield Row("first-minute", "from caffe2lrp import explain, load", usual_wall_time(names), "s")
    yield Row("first-minute", "caffe2lrp --help", usual_wall_time(["-m", "caffe2lrp", "--help"]), "s", floor=0.4)
    if bench.network("googlenet") is not None:
        yield from command_rows()


def usual_wall_time(arguments: list[str], environment: Mapping[str, str] | None = None) -> float:
    """Seconds of a Python program as a whole process, after a first one that fills caches."""
    wall_time(arguments, environment)
    return usual([wall_time(arguments, environment) for _ in range(_TIMES)])


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
        warm = usual_wall_time(command, environment)
    title = f"caffe2lrp explain, {TITLES['googlenet']}"
    yield Row("first-minute", title, warm, "s", floor=1.5, aim=1.0)
    yield Row("first-minute", f"{title}, first run ever", first, "s", floor=25, aim=12)
