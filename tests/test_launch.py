"""Programs of kernel calls: what they accept, how they run, and how compiled kernels are kept."""

from __future__ import annotations

import importlib
import os
import platform
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from caffe2lrp.kernels import compiling, eltwise, launch, store, team
from caffe2lrp.kernels.inner_product import inner_product
from caffe2lrp.kernels.launch import F1, F2, I1, I2, Float, Int, Program, Thread, Turn, kernel

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


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_every_call_waits_for_the_one_before(count: int) -> None:
    """Each call reads what all threads wrote in the call before: sums over everything, many times."""
    team.set_threads(count)
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


@kernel
def note_who(part: Int, parts: Int, thread: Thread, turn: Turn, slow: Int, who: I2, sums: F1) -> None:
    """For each part, how often it was done, and the last thread and its turn; the slow thread takes its time."""
    who[part, 0] += 1
    who[part, 1] = thread
    who[part, 2] = turn
    if thread == slow:
        for i in range(10**6):
            sums[thread] = sums[thread] * 0.5 + i


@pytest.mark.parametrize("count", [1, 2, 3, 7])
def test_each_piece_is_done_once(count: int) -> None:
    team.set_threads(count)
    pieces = 1 if count == 1 else 5
    who = np.zeros((4, count * pieces, 3), np.int64)
    program = Program("float64")
    for call in who:
        program.add(note_who, -1, call, np.zeros(count), pieces=5)
    runs = 50
    for _ in range(runs):
        program.run()
    assert (who[:, :, 0] == runs).all()
    for call in who:
        done = [sorted(call[call[:, 1] == thread, 2]) for thread in range(count)]
        assert done == [list(range(len(turns))) for turns in done]  # each thread counts its own


def test_fast_threads_help_slow_ones() -> None:
    team.set_threads(3)
    who, sums = np.zeros((3 * 8, 3), np.int64), np.zeros(3)
    program = Program("float64")
    program.add(note_who, 1, who, sums, pieces=8)
    for _ in range(100):
        program.run()
        own = who[8:16, 1] == 1
        if not own.all():
            break
    assert not own.all()
    first = int(own.sum())
    assert own[:first].all()  # it does its own from the first on, the others help from the last


def test_more_threads_than_work() -> None:
    team.set_threads(9)
    x, y = np.array([1.0, 2.0]), np.zeros(2)
    program = Program("float64")
    program.add(eltwise.scaled, x, 3.0, y)
    program.run()
    np.testing.assert_array_equal(y, [3, 6])


def test_programs_for_few_threads_do_not_starve_those_for_many() -> None:
    """The pool must serve the widest program, also if a narrow one has run first."""

    def program() -> tuple[Program, np.ndarray]:
        y = np.zeros(10)
        made = Program("float64")
        made.add(eltwise.scaled, np.arange(10.0), 1.0, y)
        return made, y

    team.set_threads(2)
    narrow, y = program()
    team.set_threads(4)
    wide, z = program()
    narrow.run()
    wide.run()
    team.set_threads(1)
    wide.run()
    np.testing.assert_array_equal(y, np.arange(10.0))
    np.testing.assert_array_equal(z, np.arange(10.0))


@pytest.mark.parametrize("count", [2, 3, 7])
def test_threads_that_sleep_are_woken(count: int) -> None:
    """They look out for the next program for a moment, then sleep; either way each program is run by all."""
    team.set_threads(count)
    y, one = np.zeros(64), np.ones(64)
    program = Program("float64")
    program.add(eltwise.add_scaled, one, 1.0, y)
    pauses = [0, 0.001, 0.002, 0.003, 0, 0.02, 0, 0.0025, 0.0015] * 3 + [0] * 300
    for pause in pauses:
        time.sleep(pause)
        program.run()
    np.testing.assert_array_equal(y, len(pauses))


def test_threads_end_when_there_shall_be_others() -> None:
    team.set_threads(3)
    program = Program("float64")
    program.add(eltwise.fill, np.zeros(8), 1.0)
    program.run()
    before = team._team
    assert before is not None
    assert len(before._others) == 2
    team.set_threads(2)
    for thread in before._others:
        thread.join(10)
        assert not thread.is_alive()
    program.run()
    assert team._team is not None
    assert len(team._team._others) == 1


def test_the_number_of_threads_comes_from_the_environment() -> None:
    source = "from caffe2lrp.kernels import team; print(team.threads())"
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


# Runs one kernel and prints what was compiled, whether Numba was imported, and what came out.
RUN_ONE = """
import sys
import numpy as np
from caffe2lrp.kernels import eltwise, store
from caffe2lrp.kernels.launch import Program
{before}
x, y = np.arange(5, dtype="{dtype}"), np.zeros(5, "{dtype}")
program = Program("{dtype}")
program.add(eltwise.scaled, x, 2.0, y)
program.run()
print(",".join(getattr(sys.modules.get("caffe2lrp.kernels.building"), "built", [])), "numba" in sys.modules, y.tolist())
"""


def run_one(folder: Path, dtype: str = "float32", before: str = "", **environment: str) -> tuple[list[str], bool]:
    """Run a kernel in a process of its own; what it compiled, and whether it imported Numba."""
    source = RUN_ONE.format(dtype=dtype, before=before)
    built, numba, values = run_python(source, NUMBA_CACHE_DIR=str(folder), **environment).split(" ", 2)
    assert values.strip() == "[0.0, 2.0, 4.0, 6.0, 8.0]"
    return [name for name in built.split(",") if name], numba == "True"


def kept(folder: Path) -> dict[str, tuple[int, bytes]]:
    return {path.name: (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.rglob("*.kernel")}


def test_compiled_kernels_are_kept_between_processes(tmp_path: Path) -> None:
    assert run_one(tmp_path) == (["scaled_float32", "work"], True)
    files = kept(tmp_path)
    assert len(files) == 2
    assert run_one(tmp_path) == ([], False)  # what is kept needs no Numba
    assert kept(tmp_path) == files
    assert run_one(tmp_path, "float64") == (["scaled_float64"], True)  # the walk is the same for both precisions
    assert kept(tmp_path).items() > files.items()
    assert [path for path in tmp_path.rglob("*") if path.is_file() and path.suffix != ".kernel"] == []


def test_other_sources_are_compiled_anew(tmp_path: Path) -> None:
    run_one(tmp_path)
    before = kept(tmp_path)
    other = 'store.sources_stamp = lambda: "other"'
    assert run_one(tmp_path, before=other) == (["scaled_float32", "work"], True)
    assert kept(tmp_path).keys() == before.keys()  # what is out of date is replaced
    assert run_one(tmp_path, before=other) == ([], False)


@pytest.mark.parametrize("variable", ["NUMBA_CPU_NAME", "NUMBA_OPT"])
def test_other_settings_of_the_compiler_have_entries_of_their_own(tmp_path: Path, variable: str) -> None:
    run_one(tmp_path)
    before = kept(tmp_path)
    setting = {variable: "x86-64" if variable == "NUMBA_CPU_NAME" and platform.machine() == "x86_64" else "2"}
    if variable == "NUMBA_CPU_NAME" and platform.machine() != "x86_64":
        pytest.skip("a name of an x86 processor")
    assert run_one(tmp_path, **setting)[1]
    assert run_one(tmp_path, **setting) == ([], False)
    assert kept(tmp_path).items() > before.items()


def test_the_tiles_are_those_of_the_processor_that_code_is_generated_for(tmp_path: Path) -> None:
    if platform.machine() != "x86_64":
        pytest.skip("features of an x86 processor")
    source = (
        "import sys; from caffe2lrp.kernels import compiling, gemm;"
        "print(sorted(compiling.cpu_features()), gemm.tiles('float32').width, 'numba' in sys.modules)"
    )
    for features, width in (("+sse2", 4), ("+avx2,+fma,-sse4a", 8), ("+avx512f", 16)):
        setting = {"NUMBA_CACHE_DIR": str(tmp_path), "NUMBA_CPU_FEATURES": features}
        names = sorted(name[1:] for name in features.split(",") if name[0] == "+")
        assert run_python(source, **setting).strip() == f"{names} {width} True"
        assert run_python(source, **setting).strip() == f"{names} {width} False"
    own = run_python(source, NUMBA_CACHE_DIR=str(tmp_path))
    assert own.replace("True", "False") == run_python(source, NUMBA_CACHE_DIR=str(tmp_path))


@pytest.mark.parametrize("keep", [0, 10, 300, -1])
def test_damaged_files_are_compiled_anew(tmp_path: Path, keep: int) -> None:
    run_one(tmp_path)
    for path in tmp_path.rglob("*.kernel"):
        path.write_bytes(path.read_bytes()[:keep])
    assert run_one(tmp_path) == (["scaled_float32", "work"], True)
    assert run_one(tmp_path) == ([], False)


def test_code_that_cannot_be_linked_is_compiled_by_numba_alone(tmp_path: Path) -> None:
    failing = """
def refuse(code):
    raise RuntimeError
store.link = refuse
"""
    assert run_one(tmp_path, before=failing) == (["scaled_float32", "work"], True)
    assert kept(tmp_path) == {}


def test_processes_may_fill_the_cache_at_once(tmp_path: Path) -> None:
    with ThreadPoolExecutor(3) as pool:
        found = list(pool.map(lambda _: run_one(tmp_path), range(3)))
    assert any(numba for _, numba in found)
    assert run_one(tmp_path) == ([], False)
    assert len(list(tmp_path.rglob("*.*"))) == 2


def test_a_folder_that_cannot_be_written_does_no_harm(tmp_path: Path) -> None:
    refused = """
def refuse(*_, **__):
    raise PermissionError
store.tempfile.mkstemp = refuse
"""
    assert run_one(tmp_path, before=refused)[1]
    assert kept(tmp_path) == {}


# Compiles small kernels on two cores and prints which of them this process compiled.
RUN_MANY = """
import sys
from caffe2lrp.kernels import affine, activation, compiling, eltwise, helpers, launch
{before}
kernels = [v for m in (activation, eltwise, affine) for v in vars(m).values() if isinstance(v, launch.Kernel)][:10]
compiling.compile_all(kernels, "float32", 2)
assert all(kernel.address("float32") for kernel in kernels)
print(len(kernels), len(sys.modules["caffe2lrp.kernels.building"].built))
"""


def run_many(folder: Path, before: str = "") -> tuple[int, int]:
    """Compile kernels in a process of its own; how many, and how many it compiled by itself."""
    count, mine = run_python(RUN_MANY.format(before=before), NUMBA_CACHE_DIR=str(folder)).split()
    return int(count), int(mine)


def test_another_process_helps_to_compile(tmp_path: Path) -> None:
    slow = """
original = compiling._load
def wait(name, source):
    made = []
    def slowly():
        made.append(name)
        return source()
    address = original(name, slowly)
    if made:
        import time
        time.sleep(3)  # so that the helper, which has to start first, gets its share on any machine
    return address
compiling._load = wait
"""
    count, mine = run_many(tmp_path, slow)
    assert count == 10
    assert 1 <= mine < count
    assert len([name for name in kept(tmp_path) if "_float32" in name]) == count


# Compiles kernels in two goes and prints how many helpers there were; then waits until the last is gone.
RUN_TWICE = """
from caffe2lrp.kernels import affine, activation, compiling, eltwise, helpers, launch
helpers._PATIENCE, started, original = 8.0, [], helpers.subprocess.Popen
def start(*arguments, **settings):
    started.append(original(*arguments, **settings))
    return started[-1]
helpers.subprocess.Popen = start
kernels = [v for m in (activation, eltwise, affine) for v in vars(m).values() if isinstance(v, launch.Kernel)]
for first in (0, 6):
    compiling.compile_all(kernels[first : first + 6], "float32", 2)
print(len(started))
helpers._PATIENCE = 0.1
for helper in helpers._helpers:
    helper._rest()
    helper._thread.join(20)
    assert not helper.is_there()
assert started[0].poll() == 0
"""


def test_a_helper_stays_for_a_while(tmp_path: Path) -> None:
    assert run_python(RUN_TWICE, NUMBA_CACHE_DIR=str(tmp_path)).split() == ["1"]


@pytest.mark.parametrize("program", ["/nowhere/python", "/bin/false"])
def test_without_help_all_is_compiled_here(program: str, tmp_path: Path) -> None:
    assert run_many(tmp_path, f"sys.executable = {program!r}") == (10, 10)


# What the C library has; anything of Python or Numba would be missing in a process that has not imported Numba.
MATHEMATICS = {"sqrt", "floor", "ceil", "tanh", "log1p", "expm1", "exp", "log", "pow"}


@pytest.mark.slow
def test_no_kernel_needs_numba_to_run() -> None:
    for name in sorted(path.stem for path in Path(compiling.__file__).parent.glob("*.py")):
        module = importlib.import_module(f"caffe2lrp.kernels.{name}")
        for found in vars(module).values():
            if isinstance(found, launch.Kernel) and found.function.__module__ == module.__name__:
                for dtype in ("float32", "float64"):
                    found.address(dtype)
                    code = store.read_code(f"{name}.{found.name}_{dtype}")
                    assert code is not None, found
                    assert {need.removesuffix("f") for need in code.needs} <= MATHEMATICS, found


def test_the_stamp_covers_all_sources(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("a.py", "b.py"):
        (tmp_path / name).write_text("x = 1\n")
    monkeypatch.setattr(store, "__file__", str(tmp_path / "a.py"))
    stamp = store.sources_stamp.__wrapped__
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
    sources, user = tmp_path / "sources", tmp_path / "user"
    sources.mkdir()
    monkeypatch.delenv("NUMBA_CACHE_DIR", raising=False)
    monkeypatch.setattr(store, "__file__", str(sources / "store.py"))
    monkeypatch.setattr("platformdirs.user_cache_path", lambda *_, **__: user)
    return {
        "named": tmp_path / "named" / "caffe2lrp",
        "beside": sources / "__pycache__",
        "user": user / "kernels",
    }


def test_the_cache_is_beside_the_sources(folders: dict[str, Path]) -> None:
    assert Path(store.cache_folder.__wrapped__()) == folders["beside"]
    assert folders["beside"].is_dir()


def test_the_cache_goes_where_the_environment_says(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(folders["named"].parent))
    assert Path(store.cache_folder.__wrapped__()) == folders["named"]


def test_read_only_sources_have_the_users_cache(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != folders["beside"] and access(path, mode))
    assert Path(store.cache_folder.__wrapped__()) == folders["user"]
    assert folders["user"].is_dir()


def test_sources_in_no_folder_have_the_users_cache(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    archive = folders["beside"].parent / "archive.zip"  # in which no folder can be made
    archive.write_bytes(b"")
    monkeypatch.setattr(store, "__file__", str(archive / "store.py"))
    assert Path(store.cache_folder.__wrapped__()) == folders["user"]


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="the system does not tell on which cores threads run")
def test_threads_have_cores_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    cores = os.sched_getaffinity(0)
    if len(cores) < 2 or team.threads() != len(cores):
        pytest.skip("there is no core for each thread")
    y = np.zeros(64, np.float32)
    program = Program("float32")
    program.add(eltwise.fill, y, 1.0)
    program.run()
    assert team._team is not None
    places = [os.sched_getaffinity(thread.native_id or 0) for thread in team._team._others]
    assert all(len(place) == 1 for place in places)
    assert len(set.union(*places)) == len(cores) - 1
    assert os.sched_getaffinity(0) == cores, "the calling thread is let alone"

    def forbidden(thread: int, chosen: set[int]) -> None:
        raise PermissionError

    monkeypatch.setattr(os, "sched_setaffinity", forbidden)
    monkeypatch.setattr(team._team, "_caller_core", None)
    program.add(eltwise.fill, y, 2.0)
    program.run()
    assert (y == 2).all()
