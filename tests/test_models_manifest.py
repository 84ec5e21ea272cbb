"""The manifest of known models, and `caffe2lrp models list` and `path`."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from caffe2lrp.errors import OptionError
from caffe2lrp.models import nets
from caffe2lrp.models.cli import app
from caffe2lrp.models.manifest import ROLES, Entry, entries, find, label_list
from caffe2lrp.preprocessing import Preprocessing

PROMISED = {
    "digits",
    "bvlc_reference_caffenet",
    "bvlc_alexnet",
    "bvlc_googlenet",
    "places205_alexnet",
    "places205_googlenet",
    "vgg_cnn_f",
    "vgg_cnn_m",
    "vgg_cnn_s",
    "vgg16",
    "vgg19",
    "nin_imagenet",
    "squeezenet_v1.0",
    "squeezenet_v1.1",
    "resnet50",
    "ilsvrc12_labels",
}

each = pytest.mark.parametrize("entry", entries(), ids=lambda entry: entry.name)


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CAFFE2LRP_CACHE", str(tmp_path))


def test_all_promised_models_are_there() -> None:
    assert {entry.name for entry in entries()} >= PROMISED


@each
def test_hashes_are_hashes(entry: Entry) -> None:
    for source in entry.sources:
        assert source.sha1 is None or re.fullmatch(r"[0-9a-f]{40}", source.sha1)
        assert source.sha256 is None or re.fullmatch(r"[0-9a-f]{64}", source.sha256)
        assert source.size is None or source.size > 1_000_000


@each
def test_files_and_urls(entry: Entry) -> None:
    assert bool(entry.sources) != bool(entry.bundled)
    for source in entry.sources:
        assert source.urls
        assert all(re.match(r"https?://[^/ ]+/\S+$", url) for url in source.urls)
        assert (source.role == "archive") == bool(source.members)
        assert any(not member.optional for member in source.files)
        for member in source.files:
            assert member.role in ROLES
            assert Path(member.file).name == member.file
    if not any(source.hashes for source in entry.sources) and entry.sources:
        assert "no hash is published" in entry.notes


@each
def test_models_can_be_run(entry: Entry) -> None:
    if entry.kind == "data":
        return
    assert entry.preprocessing is not None
    assert entry.labels is not None
    settings = Preprocessing.from_dict(entry.preprocessing)
    assert entry.input is not None
    low, high = settings.bounds(entry.input)
    assert low.shape == entry.input
    assert (low < high).all()
    if entry.net is not None:
        assert nets.table(entry.net).input == entry.input


def test_names_and_aliases_are_unique() -> None:
    names = [name.lower() for entry in entries() for name in (entry.name, *entry.aliases)]
    assert len(names) == len(set(names))


def test_label_lists() -> None:
    for entry in entries():
        if entry.labels is not None:
            labels = label_list(entry.labels)
            assert labels.names or labels.file
            assert not labels.names or len(labels.names) == labels.count
            assert labels.entry is None or labels.file in [m.file for m in find(labels.entry).files]
    with pytest.raises(OptionError, match="no label list"):
        label_list("nonsense")


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("caffenet", "bvlc_reference_caffenet"),
        ("GoogLeNet", "bvlc_googlenet"),
        (" vgg16 ", "vgg16"),
        ("digits", "digits"),
    ],
)
def test_find(name: str, found: str) -> None:
    assert find(name).name == found


def test_unknown_name_suggests_near_ones() -> None:
    with pytest.raises(OptionError, match=r"no model 'googlnet'; did you mean bvlc_googlenet.*models list"):
        find("googlnet")
    with pytest.raises(OptionError, match=r"no model 'qqq'; 'caffe2lrp models list'"):
        find("qqq")


def test_list_as_json() -> None:
    result = CliRunner().invoke(app, ["list", "--json"])
    assert result.exit_code == 0, result.output
    facts = {item["name"]: item for item in json.loads(result.stdout)}
    assert set(facts) == {entry.name for entry in entries()}
    assert facts["vgg16"]["size"] == 553432081
    assert facts["vgg16"]["fetched"] is False
    assert facts["bvlc_googlenet"]["hashes"]["bvlc_googlenet.caffemodel"]["sha1"].startswith("405fc5ac")


def test_list_as_table(tmp_path: Path) -> None:
    (tmp_path / "vgg16").mkdir()
    (tmp_path / "vgg16" / "VGG_ILSVRC_16_layers.caffemodel").write_bytes(b"x")
    result = CliRunner().invoke(app, ["list"], env={"COLUMNS": "160", "TERM": "dumb"})
    assert result.exit_code == 0, result.output
    rows = {line.split()[1]: line for line in result.stdout.splitlines() if len(line.split()) > 2}
    assert "yes" in rows["vgg16"]
    assert "553 MB" in rows["vgg16"]
    assert "yes" not in rows["vgg19"]
    assert "comes with" in rows["digits"]


def test_path(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["path", "googlenet"])
    assert result.stdout.strip() == str(tmp_path / "bvlc_googlenet" / "bvlc_googlenet.caffemodel")
    places = CliRunner().invoke(app, ["path", "places205_googlenet"])
    assert places.stdout.strip().endswith("googlelet_places205_train_iter_2400000.caffemodel")


def test_unknown_names_are_left_to_the_main_program() -> None:
    result = CliRunner().invoke(app, ["path", "nonsense"])
    assert isinstance(result.exception, OptionError)
