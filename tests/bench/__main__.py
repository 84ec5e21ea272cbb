"""Measures speed and memory beside other programs, against floors and aims.

    python -m tests.bench [--only SECTION ...] [--runs N] [--threads N] [--json FILE] [--compare FILE]
    python -m tests.bench --layers [NETWORK] [--rule RULE]

docs/performance.md says how it is measured.
"""

from __future__ import annotations

import argparse
import json
import platform
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from caffe2lrp.kernels import team
from caffe2lrp.kernels.compiling import cpu_features
from tests.bench import first_minute, layers, limits, memory, passes, report, scaling, timing
from tests.bench.context import Bench
from tests.bench.networks import TITLES
from tests.bench.report import Row
from tests.bench.timing import ROOT

SECTIONS: dict[str, Callable[[Bench], Iterator[Row]]] = {
    "forward": passes.forward_rows,
    "explain": passes.explain_rows,
    "limits": limits.rows,
    "scaling": scaling.rows,
    "first-minute": first_minute.rows,
    "memory": memory.rows,
}


def parse(arguments: Sequence[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--only", nargs="+", choices=SECTIONS, metavar="SECTION", help=", ".join(SECTIONS))
    parser.add_argument("--runs", type=int, default=20, help="runs of each function; the median counts (%(default)s)")
    parser.add_argument("--best", action="store_true", help="let the best run count instead: what the machine can do")
    parser.add_argument("--threads", type=int, help="threads of ours and of the peers (all cores)")
    parser.add_argument("--json", metavar="FILE", help="also write the numbers to this file")
    parser.add_argument(
        "--compare", metavar="FILE", type=_earlier, help="also print the ratios to the numbers in this file"
    )
    parser.add_argument(
        "--layers", nargs="?", const="googlenet", choices=TITLES, metavar="NETWORK",
        help=f"only print where the time of an explanation goes: {', '.join(TITLES)} (%(const)s)",
    )  # fmt: skip
    parser.add_argument("--rule", default="alphabeta", choices=limits.RULES, help="for --layers (%(default)s)")
    return parser.parse_args(arguments)


def _earlier(file: str) -> dict[str, Any]:
    """The numbers of an earlier run."""
    try:
        numbers: dict[str, Any] = json.loads(Path(file).read_text())
    except (OSError, ValueError) as error:
        raise argparse.ArgumentTypeError(f"cannot read {file}: {error}") from None
    if "rows" not in numbers:
        raise argparse.ArgumentTypeError(f"{file} has no rows to compare with")
    return numbers


def run_sections(bench: Bench, sections: Sequence[str]) -> list[Row]:
    """Measure, printing each row as it comes."""
    print(report.header())
    found = []
    for section in sections:
        print(f"-- {section}")
        for row in SECTIONS[section](bench):
            print(report.table_line(row), flush=True)
            found.append(row)
    print(f"\n{report.summary(found)}")
    return found


def run_layers(bench: Bench, name: str, rule: str) -> list[layers.Step]:
    """Print where the time of an explanation goes."""
    network = bench.network(name)
    if network is None:
        return []
    print(f"{TITLES[name]}, {rule}, relevance passes LRN layers\n")
    steps = layers.profile(network, rule, bench.runs)
    print("\n".join(layers.table(steps)))
    return steps


def about(bench: Bench) -> dict[str, Any]:
    """What the numbers depend on besides the code."""
    return {
        "commit": _commit(),
        "processor": _processor(),
        "vectors": next((name for name in ("avx512f", "avx2", "neon", "asimd") if name in cpu_features()), ""),
        "threads": bench.threads,
        "runs": bench.runs,
        "python": platform.python_version(),
        "numpy": np.__version__,
        "peers": {peer.name: peer.version for peer in bench.peers.values()},
    }


def _commit() -> str:
    """The commit that is checked out, marked if files differ from it."""
    command = ["git", "describe", "--always", "--dirty", "--exclude=*"]
    try:
        return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return "unknown"


def _processor() -> str:
    info = Path("/proc/cpuinfo")
    names = [line.partition(":")[2].strip() for line in _lines(info) if line.startswith("model name")]
    return names[0] if names else platform.processor() or platform.machine()


def _lines(path: Path) -> list[str]:
    return path.read_text().splitlines() if path.is_file() else []


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the bench."""
    options = parse(arguments)
    if options.threads:
        team.set_threads(options.threads)
    timing.BEST = options.best
    count = "best runs" if options.best else "medians"
    bench = Bench(options.runs, team.threads())
    result = about(bench) | {"count": count}
    print(f"{result['processor']}, {result['vectors']}, {bench.threads} threads; batch 1, float32, {count}")
    print("Explanations include the forward pass. Peers:")
    for peer in bench.peers.values():
        print(f"  {peer}")
    print()
    if options.layers:
        result["layers"] = layers.as_json(run_layers(bench, options.layers, options.rule))
    else:
        rows = run_sections(bench, options.only or list(SECTIONS))
        result |= {"machine": asdict(bench.machine) if bench.measured else None, "rows": report.as_json(rows)}
        if options.compare:
            print("\n" + "\n".join(report.comparison(rows, options.compare)))
    if options.json:
        Path(options.json).write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
