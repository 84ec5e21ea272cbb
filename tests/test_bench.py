"""The bench's pieces, on a tiny network. Nothing is said of times."""

from __future__ import annotations

import importlib
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from caffe2lrp.converters.caffe import load_definition
from caffe2lrp.ir import Network
from tests.bench import __main__ as program
from tests.bench import layers, limits, memory, networks, passes, peers, report, scaling, timing
from tests.bench.context import Bench
from tests.bench.limits import Machine
from tests.bench.report import Row

MACHINE = Machine(gflops=100.0, bandwidth=10.0)

_TINY = """
name: "tiny"
input: "data"
input_shape { dim: 1 dim: 3 dim: 23 dim: 23 }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "conv1"
        convolution_param { num_output: 8 kernel_size: 5 stride: 2 pad: 1 } }
layer { name: "relu1" type: "ReLU" bottom: "conv1" top: "conv1" }
layer { name: "norm1" type: "LRN" bottom: "conv1" top: "norm1" lrn_param { local_size: 3 alpha: 0.0001 beta: 0.75 } }
layer { name: "pool1" type: "Pooling" bottom: "norm1" top: "pool1"
        pooling_param { pool: MAX kernel_size: 3 stride: 2 } }
layer { name: "one" type: "Convolution" bottom: "pool1" top: "one"
        convolution_param { num_output: 8 kernel_size: 1 } }
layer { name: "relu_one" type: "ReLU" bottom: "one" top: "one" }
layer { name: "three" type: "Convolution" bottom: "pool1" top: "three"
        convolution_param { num_output: 8 kernel_size: 3 pad: 1 group: 2 } }
layer { name: "relu_three" type: "ReLU" bottom: "three" top: "three" }
layer { name: "both" type: "Concat" bottom: "one" bottom: "three" top: "both" }
layer { name: "pool2" type: "Pooling" bottom: "both" top: "pool2" pooling_param { pool: AVE global_pooling: true } }
layer { name: "drop" type: "Dropout" bottom: "pool2" top: "pool2" }
layer { name: "fc" type: "InnerProduct" bottom: "pool2" top: "fc" inner_product_param { num_output: 6 } }
layer { name: "prob" type: "Softmax" bottom: "fc" top: "prob" }
"""


@pytest.fixture(scope="module")
def tiny(tmp_path_factory: pytest.TempPathFactory) -> Network:
    """A network with all layer types that the measured ones have."""
    file = tmp_path_factory.mktemp("tiny") / "tiny.prototxt"
    file.write_text(_TINY)
    return networks.with_random_weights(load_definition(file))


@pytest.fixture(scope="module", autouse=True)
def found() -> Iterator[dict[str, peers.Peer]]:
    """The peers; what stands in for torchvision goes away behind the tests."""
    before = set(sys.modules)
    yield peers.find_peers()
    for name in [name for name in sys.modules if name.split(".")[0] == "torchvision" and name not in before]:
        del sys.modules[name]


# -- peers -----------------------------------------------------------------------------------------------------


def test_forward_passes_agree(tiny: Network, found: dict[str, peers.Peer]) -> None:
    rows = list(passes.forward_of(tiny, "tiny", found, 2, 1, MACHINE, (1.2, 1.0)))
    assert [row.peer for row in rows] == ["onnxruntime", "OpenCV", "torch"]
    for row in rows:
        missing = found[row.peer].version is None
        assert (row.ratio is None, row.note) == (missing, "missing" if missing else "")
    assert (rows[0].floor, rows[0].aim, rows[1].floor) == (1.2, 1.0, None)
    assert rows[0].ours is not None
    assert rows[0].share == pytest.approx(limits.limit_ms(tiny, MACHINE, "forward") / rows[0].ours)


def test_explanations_agree(tiny: Network, found: dict[str, peers.Peer]) -> None:
    bounds: dict[str, report.Bounds] = dict.fromkeys(limits.RULES, (2.0, None))
    rows = list(passes.explanations_of(tiny, "tiny", found, 2, 1, MACHINE, bounds))
    assert [row.what for row in rows] == [f"tiny {rule}" for rule in limits.RULES]
    assert {row.ratio is None for row in rows} == {found["zennit"].version is None}


def test_peers_that_compute_something_else_are_refused() -> None:
    x = np.linspace(-1, 1, 50)
    peers.check_forward("a peer", x, x + 1e-5)
    with pytest.raises(AssertionError, match=r"a peer computes something else: its output differs by 0\.001"):
        peers.check_forward("a peer", x, x + 1e-3)
    peers.check_map("a peer", x, 3 * x)
    with pytest.raises(AssertionError, match=r"its map has a correlation of -1\.00000"):
        peers.check_map("a peer", x, -x)


def test_missing_peers_are_named_with_what_installs_them(monkeypatch: pytest.MonkeyPatch, tiny: Network) -> None:
    monkeypatch.setattr(peers, "version", lambda package: None)
    monkeypatch.setitem(sys.modules, "cv2", None)
    none = peers.find_peers()
    assert [peer.version for peer in none.values()] == [None] * 4
    assert str(none["zennit"]) == "zennit is missing: pip install 'caffe2lrp[bench]'"
    assert str(none["OpenCV"]) == "OpenCV is missing: pip install 'caffe2lrp[bench]'"
    rows = [*passes.forward_of(tiny, "tiny", none, 2, 1, MACHINE)]
    assert {(row.note, row.ratio) for row in rows} == {("missing", None)}
    monkeypatch.setattr(peers, "version", lambda package: "2.0" if package == "torch" else None)
    assert "pip install --no-deps zennit where no torchvision fits" in str(peers.find_peers()["zennit"])


def test_the_stand_in_has_the_classes_that_zennit_imports(monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            patch.delitem(sys.modules, name)
        peers._stand_in_for_torchvision()
        resnet = importlib.import_module("torchvision.models.resnet")
        assert {resnet.Bottleneck.__name__, resnet.BasicBlock.__name__} == {"Bottleneck", "BasicBlock"}
        assert isinstance(importlib.import_module("torchvision.models.vgg").VGG, type)
        for name in [name for name in sys.modules if name.split(".")[0] == "torchvision"]:
            del sys.modules[name]


# -- sections --------------------------------------------------------------------------------------------------


def test_the_machine_is_measured() -> None:
    machine = limits.measure_machine(2, size=64, values=2**16)
    assert machine.gflops > 0
    assert machine.bandwidth > 0


def test_limits_count_products_and_weights(tiny: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    dense = 16 * 6
    convolutions = tiny.multiply_adds - dense
    expected = 4 * convolutions * 2 / 100e9 + 2 * 4 * dense / 10e9
    assert limits.limit_ms(tiny, MACHINE, "alphabeta") == pytest.approx(1e3 * expected)
    read: list[int] = []
    reading = limits.reading
    monkeypatch.setattr(limits, "reading", lambda values: read.append(values) or reading(values))
    rows = list(limits.fully_connected_rows(tiny, "tiny", "alphabeta", 2))
    assert read == [dense]  # as much memory as the weights take
    assert all(row.ours is not None and row.ours > 0 for row in rows)
    assert all(row.theirs is not None and row.theirs > 0 for row in rows)


def test_layers_add_up_to_the_whole(tiny: Network) -> None:
    for rule in limits.RULES:
        steps = layers.profile(tiny, rule, 2)
        assert sum(step.share for step in steps) == pytest.approx(1)
        assert {step.layer for step in steps} >= {"conv1", "one", "three", "fc"}
        rated = {(step.way, step.layer) for step in steps if step.gflops}
        assert rated >= {(way, name) for way in ("forward", "back") for name in ("conv1", "one", "three")}
        assert {step.way for step in steps if step.bandwidth} >= {"forward", "back"}
    assert len(layers.table(steps)) > len(steps)
    assert json.loads(json.dumps(layers.as_json(steps)))[0]["way"] == "forward"


def test_products_of_a_rule_are_counted(tiny: Network) -> None:
    steps = [step for step in layers.profile(tiny, "alphabeta", 2) if step.gflops]
    counted = {(s.way, s.layer): 1e6 * s.gflops * s.ms / limits.multiply_adds(tiny, s.layer) for s in steps if s.gflops}
    # pixels have both signs, so conv1 has two sources; what comes from a ReLU has one; two denominators each
    expected = {"conv1": 8, "one": 4, "three": 4}
    assert counted == pytest.approx({(way, name): n for way in ("forward", "back") for name, n in expected.items()})


def test_the_median_counts_or_the_best_run(monkeypatch: pytest.MonkeyPatch) -> None:
    assert timing.usual([3.0, 1.0, 2.0, 9.0, 8.0]) == 3
    monkeypatch.setattr(timing, "BEST", True)
    assert timing.usual([3.0, 1.0, 2.0, 9.0, 8.0]) == 1


def test_rows_of_scaling(tiny: Network) -> None:
    rows = [
        *scaling.machine_rows(64, 2**16),
        *scaling.thread_rows(tiny, "tiny", MACHINE, 1),
        *scaling.batch_rows(tiny, "tiny", 3, peers.find_peers(), 1, 1, (0.85, None)),
        *scaling.target_rows(tiny, "tiny", 3, 1),
        *scaling.area_rows(tiny, "tiny", (23, 46), 1),
    ]
    names = [
        "product",
        "memory",
        "forward",
        "epsilon",
        "alphabeta",
        "forward",
        "forward",
        "epsilon",
        "epsilon",
        "alphabeta",
        "forward",
        "epsilon",
    ]
    assert [row.what.split()[1].rstrip(",") for row in rows] == names
    assert len({row.what for row in rows}) == len(rows)
    assert all(row.ratio is not None and np.isfinite(row.ratio) for row in rows)  # noise may make it negative


def test_memory_of_a_process(tiny: Network, tmp_path: Path) -> None:
    paths = peers.write_files(tiny, tmp_path)
    assert 0 < memory.load_seconds(paths, times=1) < 60
    peak = memory.explain_peak(paths)
    assert peak is None or 1e7 < peak < 1e10


# -- the table -------------------------------------------------------------------------------------------------


def test_bounds_are_met_from_the_side_that_is_better() -> None:
    slower = report.against("s", "a", 12.0, "peer", 10.0, (1.2, 1.0))
    faster = report.times_faster("s", "b", 10.0, "peer", 45.0, (3.5, 5))
    missing = report.against("s", "c", 12.0, "peer", None, (1.2, 1.0))
    alone = Row("s", "d", 0.3, "s", floor=0.4, aim=0.2)
    for row, expected in ((slower, (True, False)), (faster, (True, False)), (missing, (None,) * 2)):
        assert (row.meets(row.floor), row.meets(row.aim)) == expected
    assert (alone.meets(alone.floor), alone.meets(alone.aim)) == (True, False)
    assert report.summary([slower, faster, missing, alone]) == (
        "3 of 4 floors met (1 not measured), 0 of 4 aims met (1 not measured)"
    )
    line = report.table_line(slower).split()
    assert line == ["a", "12.0", "ms", "peer", "10.0", "1.20", "≤", "1.2", "yes", "≤", "1", "NO"]
    assert report.table_line(missing).split()[-6:] == ["≤", "1.2", "?", "≤", "1", "?"]


def test_numbers_are_stored_and_compared(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ours = 8.0

    def section(bench: Bench) -> Iterator[Row]:
        yield report.against("forward", "tiny", ours, "peer", 10.0, (1.2, 0.5))

    monkeypatch.setitem(program.SECTIONS, "forward", section)
    file = tmp_path / "numbers.json"
    program.main(["--only", "forward", "--runs", "1", "--json", str(file)])
    stored: dict[str, Any] = json.loads(file.read_text())
    assert stored.keys() >= {"commit", "processor", "vectors", "threads", "runs", "peers", "machine", "rows"}
    assert stored["peers"]["onnxruntime"]
    (row,) = stored["rows"]
    assert (row["ratio"], row["meets_floor"], row["meets_aim"]) == (0.8, True, False)

    ours = 6.0
    capsys.readouterr()
    program.main(["--only", "forward", "--runs", "1", "--compare", str(file)])
    last = capsys.readouterr().out.splitlines()[-1]
    assert last.split() == ["forward:", "tiny", "/", "peer", "8", "6", "0.750", "ratio", "0.80,", "now", "0.60"]


def test_files_that_cannot_be_compared_with_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "layers.json").write_text('{"layers": []}')
    for name, message in (("nothing.json", "cannot read"), ("layers.json", "has no rows to compare with")):
        with pytest.raises(SystemExit):
            program.parse(["--compare", str(tmp_path / name)])
        assert message in capsys.readouterr().err
