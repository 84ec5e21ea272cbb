"""Times of functions in one process, and of programs as processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

ROOT = Path(__file__).parents[2]
BEST = False  # whether the best run counts, not the median
PAUSE = 0.05  # seconds; onnxruntime's threads keep cores busy for a while after their work is done


def usual(values: Sequence[float]) -> float:
    """Which of several runs' times counts."""
    return float(min(values) if BEST else np.median(values))


def best_seconds(function: Callable[[], Any], runs: int) -> float:
    """The time of the best of several runs, one right after the other."""
    times = []
    for _ in range(runs):
        started = time.perf_counter()
        function()
        times.append(time.perf_counter() - started)
    return min(times)


class Turns(dict[str, list[float]]):
    """Milliseconds of each function, turn by turn."""

    def usual(self, name: str) -> float:
        """The time of a function that counts."""
        return usual(self[name])

    def quotient(self, above: str, below: str) -> float:
        """How often one function's time goes into the other's.

        Within each turn, so that it is the same where the machine was slow for some turns.
        """
        if BEST:
            return self.usual(above) / self.usual(below)
        return float(np.median(np.divide(self[above], self[below])))


def run_turns(
    functions: Mapping[str, Callable[[], Any]], runs: int, between: Callable[[], None] | None = None
) -> Turns:
    """Let functions take turns, so that a slow moment hits all alike; `between` is called before each turn.

    After each pause a function runs once untimed: what is timed is the program in use, not cores that wake up and
    caches that another program has filled.
    """
    turns = Turns({name: [] for name in functions})
    for function in functions.values():
        function()
    for _ in range(runs):
        if between is not None:
            between()
        for name, function in functions.items():
            time.sleep(PAUSE)
            function()
            started = time.perf_counter()
            function()
            turns[name].append(1e3 * (time.perf_counter() - started))
    return turns


def run_times(functions: Mapping[str, Callable[[], Any]], runs: int) -> dict[str, float]:
    """Milliseconds of a run of each function; they take turns."""
    turns = run_turns(functions, runs)
    return {name: turns.usual(name) for name in turns}


def run_python(arguments: list[str], environment: Mapping[str, str] | None = None) -> str:
    """Run the interpreter in the project's folder and return what it prints.

    It keeps compiled modules, as it does unless it is told otherwise.
    """
    inherited = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    done = subprocess.run(
        [sys.executable, *arguments], capture_output=True, text=True, cwd=ROOT, check=False,
        env={**inherited, **(environment or {})},
    )  # fmt: skip
    if done.returncode:
        raise RuntimeError(f"python {' '.join(arguments)} failed:\n{done.stderr}")
    return done.stdout


def wall_time(arguments: list[str], environment: Mapping[str, str] | None = None) -> float:
    """Seconds of a Python program as a whole process."""
    started = time.perf_counter()
    run_python(arguments, environment)
    return time.perf_counter() - started
