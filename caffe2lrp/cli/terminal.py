"""Talking to people and scripts: results on stdout, messages and progress on stderr."""

from __future__ import annotations

import json
import math
import os
import re
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from rich.console import Console
    from rich.progress import Progress

FAILED = 2
"""Exit code where anything failed."""

# Columns of a table that is not shown on a terminal are as wide as their content: scripts want it whole.
_UNLIMITED = 100_000


def say(message: str) -> None:
    """A message on stderr."""
    print(f"caffe2lrp: {message}", file=sys.stderr, flush=True)


def error(problem: Exception | str) -> None:
    """An error on stderr, in one line."""
    say(f"error: {one_line(_as_options(str(problem) or type(problem).__name__))}")


def _as_options(text: str) -> str:
    """A message that tells Python's arguments, with those of the command line: ``--layer x`` for ``layer='x'``."""

    def option(match: re.Match[str]) -> str:
        value = re.sub(r"[()' ]", "", match[2])
        return f"--{match[1].replace('_', '-')} {value}"

    return re.sub(r"\b(input_shape|layer|rule|beta)=(\([^)]*\)|'[^']*'|[\w.]+)", option, text)


def one_line(text: str) -> str:
    """A message of several lines as one: parts are joined by semicolons."""
    joined = ""
    for part in (line.strip() for line in text.splitlines()):
        if joined and part:
            joined += " " if joined.endswith((":", ";", ",", ".")) else "; "
        joined += part
    return joined


def print_json(value: Any) -> None:
    """JSON on stdout; what JSON has no number for (NaN, infinity) becomes null."""
    print(json.dumps(finite(value), indent=2, ensure_ascii=False))


def finite(value: Any) -> Any:
    """A value with null in the place of what JSON has no number for."""
    if isinstance(value, dict):
        return {key: finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [finite(item) for item in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def print_table(columns: Sequence[str], rows: Sequence[Sequence[str]], *, indent: int = 0) -> None:
    """A table on stdout, without lines, so that it can be read by eye and by awk.

    Parameters
    ----------
    columns
        Headings; those that begin with ``>`` are flush right. If all are empty, no headings are printed.
    rows
        The cells.
    indent
        Number of spaces before each row.
    """
    from rich.padding import Padding
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, padding=(0, 2, 0, 0), show_header=any(columns))
    for column in columns:
        right = column.startswith(">")
        table.add_column(column.removeprefix(">"), justify="right" if right else "left", no_wrap=right)
    for row in rows:
        # On a narrow terminal, names are cut and numbers are not.
        table.add_row(*(Text(cell, no_wrap=True, overflow="ellipsis") for cell in row))
    console = _stdout()
    with console.capture() as printed:  # printed here, because rich pads the last column
        console.print(Padding(table, (0, 0, 0, indent), expand=False))
    print("\n".join(line.rstrip() for line in printed.get().splitlines()))


def _stdout() -> Console:
    from rich.console import Console

    known = sys.stdout.isatty() or "COLUMNS" in os.environ
    return Console(markup=False, emoji=False, highlight=False, width=None if known else _UNLIMITED)


class Bar:
    """A progress bar on stderr while work goes on; nothing where stderr is not a terminal.

    Parameters
    ----------
    total
        Number of steps.
    """

    def __init__(self, total: int) -> None:
        self._total = total
        self._bar: Progress | None = None

    def __enter__(self) -> Bar:
        if sys.stderr.isatty():
            from rich.console import Console
            from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn

            counted = (BarColumn(), MofNCompleteColumn()) if self._total > 1 else ()
            text = TextColumn("{task.description}", markup=False)
            console = Console(stderr=True)
            self._bar = Progress(
                SpinnerColumn(), text, *counted, console=console, transient=True, redirect_stdout=False
            )
            self._task = self._bar.add_task("", total=self._total)
            self._bar.start()
        return self

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.stop()

    def show(self, text: str) -> None:
        """Say what is being done."""
        if self._bar is not None:
            self._bar.update(self._task, description=text)

    def step(self, count: int = 1) -> None:
        """So many steps are done."""
        if self._bar is not None:
            self._bar.advance(self._task, count)

    def reach(self, count: int) -> None:
        """All in all so many steps are done."""
        if self._bar is not None:
            self._bar.update(self._task, completed=count)

    @contextmanager
    def aside(self) -> Iterator[None]:
        """Take the bar away while results are printed."""
        if self._bar is None:
            yield
            return
        self._bar.stop()
        try:
            yield
        finally:
            self._bar.start()
