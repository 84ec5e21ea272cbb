"""Measures forward and relevance passes against onnxruntime, the command's wall time, and memory.

    python -m tests.bench [--json FILE] [--runs N]

GoogLeNet's and SqueezeNet's weights are taken from the folder beside the project that the tests use;
CaffeNet has random weights, which take the same time.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

import caffe2lrp
from caffe2lrp.converters.caffe import write_caffemodel, write_prototxt
from caffe2lrp.ir import Network
from caffe2lrp.kernels import launch
from tests.bench.peer import onnxruntime_forward

ROOT = Path(__file__).parents[2]
SHARED = ROOT.parent / "shared"


def median_times(functions: dict[str, Callable[[], Any]], runs: int) -> dict[str, float]:
    """Median milliseconds of each function; they take turns, so that a slow moment hits all alike."""
    times: dict[str, list[float]] = {name: [] for name in functions}
    for function in functions.values():
        function()
    for _ in range(runs):
        for name, function in functions.items():
            time.sleep(0.05)  # onnxruntime's threads keep a core busy for a while after their work is done
            started = time.perf_counter()
            function()
            times[name].append(1e3 * (time.perf_counter() - started))
    return {name: float(np.median(values)) for name, values in times.items()}


def random_caffenet() -> Network:
    """CaffeNet with random weights."""
    from caffe2lrp.converters.caffe import load_definition
    from caffe2lrp.ir import with_weights
    from caffe2lrp.models import nets

    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "caffenet.prototxt"
        file.write_text(nets.prototxt("caffenet"))
        definition = load_definition(file)
    rng = np.random.default_rng(0)
    layers = []
    for layer in definition.layers:
        weights = {}
        for name, value in layer.weights.items():
            deviation = (2 / value[0].size) ** 0.5 if value.ndim > 1 else 0.1
            weights[name] = rng.standard_normal(value.shape, np.float32) * np.float32(deviation)
        layers.append(with_weights(layer, weights))
    return definition.with_layers(layers)


def networks() -> dict[str, Network]:
    """The networks that can be measured here."""
    found = {}
    for title, folder, file in (
        ("GoogLeNet", "bvlc_googlenet", "bvlc_googlenet.caffemodel"),
        ("SqueezeNet 1.1", "squeezenet_v1.1", "squeezenet_v1.1.caffemodel"),
    ):
        path = SHARED / "models" / folder
        if path.is_dir():
            found[title] = caffe2lrp.load(path / "deploy.prototxt", path / file).with_batch(1)
        else:
            print(f"{title}: weights are missing ({path})", file=sys.stderr)
    found["CaffeNet"] = random_caffenet()
    return found


def measure_network(network: Network, runs: int) -> dict[str, float]:
    """Milliseconds of our passes and of onnxruntime's forward pass."""
    x = np.random.default_rng(1).uniform(-120, 130, network.input_shape).astype(np.float32)
    peer = onnxruntime_forward(network, launch.threads())
    ours, theirs = network.forward(x)[network.outputs[0]], peer(x)
    assert np.abs(ours - theirs).max() < 1e-4, "onnxruntime computes something else"
    rules: dict[str, dict[str, Any]] = {
        "epsilon": {"rule": "epsilon", "epsilon": 1.0},
        "alphabeta": {"rule": "alphabeta", "beta": 1.0},
        "epsilon_alpha2_beta1": {"composite": "epsilon_alpha2_beta1"},
        "epsilon_plus": {"composite": "epsilon_plus"},
    }
    functions: dict[str, Callable[[], Any]] = {"forward": lambda: network.forward(x), "onnxruntime": lambda: peer(x)}
    for name, options in rules.items():
        functions[name] = lambda options=options: caffe2lrp.explain(network, x, target=1, **options)  # type: ignore[misc]
    return median_times(functions, runs)


def wall_time(arguments: list[str], environment: dict[str, str]) -> float:
    """Seconds of a command as a whole process."""
    started = time.perf_counter()
    subprocess.run(
        [sys.executable, "-m", "caffe2lrp", *arguments], check=True, capture_output=True,
        env={**os.environ, **environment}, cwd=ROOT,
    )  # fmt: skip
    return time.perf_counter() - started


def measure_command() -> dict[str, float]:
    """Seconds of `caffe2lrp explain`: first run ever, and later runs."""
    googlenet = SHARED / "models" / "bvlc_googlenet"
    if not googlenet.is_dir():
        return {}
    with tempfile.TemporaryDirectory() as folder:
        command = [
            "explain", str(SHARED / "photos" / "cat1.jpg"), "--prototxt", str(googlenet / "deploy.prototxt"),
            "--weights", str(googlenet / "bvlc_googlenet.caffemodel"), "--rule", "alphabeta", "--out", folder + "/out",
        ]  # fmt: skip
        environment = {"NUMBA_CACHE_DIR": folder + "/cache"}
        first = wall_time(command, environment)
        warm = [wall_time(command, environment) for _ in range(5)]
    return {"first": first, "warm": float(np.median(warm)), "help": wall_time(["--help"], {})}


# The peak is read from the kernel's account of the process itself: what getrusage reports starts with the
# size of the process that launched it.
_MEMORY_PROBE = """
import pathlib, sys
import numpy as np, caffe2lrp
network = caffe2lrp.load(*sys.argv[1:3])
caffe2lrp.explain(network, np.ones(network.input_shape, np.float32), target=1, rule="alphabeta", beta=1.0)
status = pathlib.Path("/proc/self/status").read_text()
print(1024 * int(status.split("VmHWM:")[1].split()[0]))
"""


def measure_memory(network: Network) -> dict[str, float]:
    """Peak resident bytes of a process that loads and explains a network, and the bytes of its weights."""
    with tempfile.TemporaryDirectory() as folder:
        files = [f"{folder}/net.prototxt", f"{folder}/net.caffemodel"]
        write_prototxt(network, files[0])
        write_caffemodel(network, files[1])
        done = subprocess.run(
            [sys.executable, "-c", _MEMORY_PROBE, *files], check=True, capture_output=True, text=True, cwd=ROOT
        )
    return {"peak": float(done.stdout), "weights": 4.0 * network.parameter_count}


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("--json", help="also write the numbers to this file")
    parser.add_argument("--runs", type=int, default=20, help="runs of each function; the median counts")
    arguments = parser.parse_args()
    results: dict[str, Any] = {"threads": launch.threads()}
    print(f"{launch.threads()} threads, batch 1, float32, medians; relevance passes include the forward pass\n")
    print(f"{'network':16} {'pass':22} {'ms':>8} {'forwards':>9} {'x onnxruntime':>14}")
    nets = networks()
    for title, network in nets.items():
        times = results[title] = measure_network(network, arguments.runs)
        for name, value in times.items():
            ratio = f"{value / times['onnxruntime']:14.2f}" if name in ("forward", "onnxruntime") else ""
            print(f"{title:16} {name:22} {value:8.1f} {value / times['forward']:9.2f} {ratio}")
    command = results["command"] = measure_command()
    for name, seconds in command.items():
        print(f"{'command line':16} {name:22} {seconds:8.2f} s")
    memory = results["memory"] = measure_memory(nets["CaffeNet"])
    print(
        f"CaffeNet peak memory {memory['peak'] / 2**20:.0f} MB, {memory['peak'] / memory['weights']:.2f} x its weights"
    )
    if arguments.json:
        Path(arguments.json).write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
