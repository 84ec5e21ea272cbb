"""Programs of kernel calls: what they accept, how they run, and how compiled kernels are kept."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from caffe2lrp.kernels import compiling, eltwise, launch
from caffe2lrp.kernels.inner_product import inner_product
from caffe2lrp.kernels.launch import F1, F2, I1, Float, Int, Program, kernel


@pytest.fixture
def threads() -> Iterator[None]:
    """Puts the number of threads back."""
    before = launch.threads()
    yield
    launch.set_threads(before)


# -- records ------------------------------------------------------------------------------------------------


@kernel
def every_kind(part: Int, parts: Int, x: F2, n: Int, table: I1, factor: Float, y: F1) -> None:
    """Never compiled: only its record is looked at."""


def test_a_record_is_addresses_shapes_and_numbers() -> None:
    x, table, y = np.zeros((2, 3)), np.zeros(4, np.int64), np.zeros(5)
    record = every_kind.record("float64", (x, 7, table, -0.5, y))
    half = int(np.float64(-0.5).view(np.int64))
    assert record == [x.ctypes.data, 2, 3, 7, table.ctypes.data, 4, half, y.ctypes.data, 5]


@pytest.mark.parametrize(
    ("position", "value", "message"),
    [
        (0, np.zeros((2, 3), np.float32), "x must be a C-contiguous F2 of float64"),
        (0, np.zeros(6), "x must be a C-contiguous F2 of float64"),
        (0, np.zeros((3, 2)).T, "x must be a C-contiguous F2 of float64"),
        (0, np.zeros((2, 6))[:, ::2], "x must be a C-contiguous F2 of float64"),
        (0, np.zeros((2, 3), ">f8"), "x must be a C-contiguous F2 of float64"),
        (2, np.zeros(4), "table must be a C-contiguous I1 of int64"),
        (2, np.zeros(4, np.int32), "table must be a C-contiguous I1 of int64"),
        (4, np.zeros((5, 1)), "y must be a C-contiguous F1 of float64"),
    ],
)
def test_arrays_that_a_kernel_would_misread_are_refused(position: int, value: Any, message: str) -> None:
    arguments: list[Any] = [np.zeros((2, 3)), 7, np.zeros(4, np.int64), 0.5, np.zeros(5)]
    arguments[position] = value
    with pytest.raises(TypeError, match=f"kernel every_kind: {message}"):
        Program("float64").add(every_kind, *arguments)


def test_the_number_of_arguments_is_checked() -> None:
    with pytest.raises(TypeError, match="kernel scaled takes 3 arguments, not 2"):
        Program("float32").add(eltwise.scaled, np.zeros(3, np.float32), 1.0)


# -- programs -----------------------------------------------------------------------------------------------


def test_a_program_uses_what_the_arrays_hold_when_it_runs() -> None:
    for dtype in ("float32", "float64"):
        x, y, z = np.zeros(1001, dtype), np.empty(1001, dtype), np.empty(1001, dtype)
        program = Program(dtype)
        program.add(eltwise.scaled, x, 2.0, y, label="double")
        program.add(eltwise.times, x, y, z)
        assert len(program) == 2
        assert program.labels == ["double", "times"]
        for value in (3, -5):
            x[:] = value
            program.run()
            np.testing.assert_array_equal(z, 2 * value * value)
        program.add(eltwise.add_scaled, z, 0.5, y)  # a program may grow after it has run
        program.run()
        np.testing.assert_array_equal(y, -10 + 25)


def test_a_program_keeps_its_arrays_alive() -> None:
    y = np.empty(100_000)
    program = Program("float64")
    program.add(eltwise.scaled, np.full(100_000, 3.0), 2.0, y)
    rubbish = [np.full(100_000, 9.0) for _ in range(5)]
    program.run()
    np.testing.assert_array_equal(y, 6)
    assert len(rubbish) == 5


def test_an_empty_program_runs() -> None:
    Program("float32").run()


@pytest.mark.usefixtures("threads")
@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_every_call_waits_for_the_one_before(count: int) -> None:
    """Each call reads what all threads wrote in the call before: sums over everything, many times."""
    launch.set_threads(count)
    n = 41
    w, x, y, bias = np.ones((n, n)), np.ones((1, n)), np.empty((1, n)), np.zeros(n)
    program = Program("float64")
    for _ in range(30):
        program.add(inner_product, w, x, bias, y, 0)
        program.add(eltwise.scaled, y.reshape(-1), 1 / n, x.reshape(-1))
    program.add(eltwise.add_scaled, bias, 1.0, x.reshape(-1))
    for _ in range(20):
        x[:] = 5
        program.run()
        np.testing.assert_allclose(x, 5, rtol=1e-12)
    assert len(program.ticks) == 62
    assert (np.diff(program.ticks) >= 0).all()


@pytest.mark.usefixtures("threads")
def test_more_threads_than_work() -> None:
    launch.set_threads(9)
    x, y = np.array([1.0, 2.0]), np.zeros(2)
    program = Program("float64")
    program.add(eltwise.scaled, x, 3.0, y)
    program.run()
    np.testing.assert_array_equal(y, [3, 6])


@pytest.mark.usefixtures("threads")
def test_programs_for_few_threads_do_not_starve_those_for_many() -> None:
    """The pool must serve the widest program, also if a narrow one has run first."""

    def program() -> tuple[Program, np.ndarray]:
        y = np.zeros(10)
        made = Program("float64")
        made.add(eltwise.scaled, np.arange(10.0), 1.0, y)
        return made, y

    launch.set_threads(2)
    narrow, y = program()
    launch.set_threads(4)
    wide, z = program()
    narrow.run()
    wide.run()
    launch.set_threads(1)
    wide.run()
    np.testing.assert_array_equal(y, np.arange(10.0))
    np.testing.assert_array_equal(z, np.arange(10.0))


def test_scratch_grows_and_is_shared() -> None:
    small = launch.scratch("float32", 10)
    assert small.dtype == np.float32
    assert launch.scratch("float32", small.size) is small
    large = launch.scratch("float32", small.size + 1)
    assert large.size > small.size
    assert launch.scratch("float32", 1) is large


def test_the_number_of_threads_comes_from_the_environment() -> None:
    source = "from caffe2lrp.kernels import launch; print(launch.threads())"
    for given, expected in (("3", "3"), ("0", None), ("many", None), ("", None)):
        found = run_python(source, NUMBA_NUM_THREADS=given).strip()
        usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
        assert found == (expected or str(usable))


# -- the cache ------------------------------------------------------------------------------------------------


def run_python(source: str, **environment: str) -> str:
    """Run Python code in a process of its own; what it prints."""
    command, environment = [sys.executable, "-c", source], {**os.environ, **environment}
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


# Runs one kernel and prints how many functions were compiled and what came out.
RUN_ONE = """
import numpy as np
from numba.core.ccallback import CFunc
compiled = []
original = CFunc._compile_uncached
CFunc._compile_uncached = lambda self: (compiled.append(self), original(self))[1]
from caffe2lrp.kernels import compiling, eltwise
from caffe2lrp.kernels.launch import Program
if {other_sources}:
    compiling._sources_stamp = lambda: "other sources"
x, y = np.arange(5, dtype="{dtype}"), np.zeros(5, "{dtype}")
program = Program("{dtype}")
program.add(eltwise.scaled, x, 2.0, y)
program.run()
print(len(compiled), y.tolist())
"""


def test_compiled_kernels_are_kept_between_processes(tmp_path: Path) -> None:
    def run(dtype: str = "float32", other_sources: bool = False) -> tuple[int, dict[str, int]]:
        source = RUN_ONE.format(dtype=dtype, other_sources=other_sources)
        count, _, values = run_python(source, NUMBA_CACHE_DIR=str(tmp_path)).partition(" ")
        assert values.strip() == "[0.0, 2.0, 4.0, 6.0, 8.0]"
        return int(count), {str(p): p.stat().st_mtime_ns for p in tmp_path.rglob("*.nb?")}

    compiled, files = run()
    assert compiled == 2  # the kernel and the walk through the program
    assert len(files) == 4  # an index and the code, of each
    assert run() == (0, files)
    compiled, more = run("float64")  # another precision: the walk is the same
    assert compiled == 1
    assert set(more) > set(files)
    compiled, _ = run(other_sources=True)
    assert compiled == 2


def test_the_stamp_covers_all_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a.py", "b.py"):
        (tmp_path / name).write_text("x = 1\n")
    monkeypatch.setattr(compiling, "__file__", str(tmp_path / "a.py"))
    stamp = compiling._sources_stamp.__wrapped__
    before = stamp()
    assert stamp() == before
    (tmp_path / "b.py").write_text("x = 2\n")
    assert stamp() != before
    (tmp_path / "b.py").write_text("x = 1\n")
    assert stamp() == before
    (tmp_path / "b.py").rename(tmp_path / "c.py")
    assert stamp() != before


@pytest.fixture
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, Path]:
    """The places for the cache, moved below a temporary folder: named by the user, beside the sources, the user's."""
    from numba import config

    sources, user = tmp_path / "sources", tmp_path / "user"
    sources.mkdir()
    monkeypatch.setattr(config, "CACHE_DIR", "")
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setattr(compiling, "__file__", str(sources / "compiling.py"))
    monkeypatch.setattr("numba.misc.appdirs.AppDirs.user_cache_dir", str(user))
    return {
        "named": tmp_path / "named" / "caffe2lrp",
        "beside": sources / "__pycache__",
        "user": user / "kernels",
    }


def test_the_cache_is_beside_the_sources(folders: dict[str, Path]) -> None:
    assert Path(compiling.cache_folder.__wrapped__()) == folders["beside"]
    assert folders["beside"].is_dir()


def test_the_cache_goes_where_the_environment_says(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    from numba import config

    monkeypatch.setattr(config, "CACHE_DIR", str(folders["named"].parent))  # what Numba made of the variable
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(folders["named"].parent))
    assert Path(compiling.cache_folder.__wrapped__()) == folders["named"]


def test_read_only_sources_have_the_users_cache(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != folders["beside"] and access(path, mode))
    assert Path(compiling.cache_folder.__wrapped__()) == folders["user"]


def test_sources_in_no_folder_have_the_users_cache(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    archive = folders["beside"].parent / "archive.zip"  # in which no folder can be made
    archive.write_bytes(b"")
    monkeypatch.setattr(compiling, "__file__", str(archive / "compiling.py"))
    assert Path(compiling.cache_folder.__wrapped__()) == folders["user"]
