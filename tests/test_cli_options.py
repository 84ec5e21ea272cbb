"""The parts of the command line: which pictures, which classes, which preprocessing and labels."""

from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import numpy as np
import pytest

from caffe2lrp.cli import loading
from caffe2lrp.cli.images import find_pictures, unique_names
from caffe2lrp.cli.options import Channels, ModelOptions, parse_numbers, parse_scale, parse_shape
from caffe2lrp.cli.targets import Targets
from caffe2lrp.cli.terminal import error, one_line
from caffe2lrp.converters.caffe import load_definition
from caffe2lrp.errors import ImageError, OptionError
from caffe2lrp.ir import Network
from caffe2lrp.models import entries
from caffe2lrp.preprocessing import Preprocessing

LABELS = ["tabby, tabby cat", "Siamese cat, Siamese", "crane", "crane", "cock", "hen"]


class TestTargets:
    """What ``--target`` says."""

    outputs = np.array([0.1, 3.0, 0.2, 2.0, 2.0, -1.0])

    def chosen(self, *texts: str, labels: list[str] | None = LABELS) -> list[int]:
        return Targets(texts, 6, labels).of(self.outputs)

    def test_default_is_the_highest(self) -> None:
        assert self.chosen() == [1]

    @pytest.mark.parametrize(
        ("text", "classes"),
        [
            ("4", [4]),
            ("top3", [1, 3, 4]),
            ("Top-2", [1, 3]),
            ("top99", [1, 3, 4, 2, 0, 5]),
            ("Siamese cat, Siamese", [1]),
            ("siamese CAT", [1]),
            ("tabb", [0]),
            ("hen", [5]),
        ],
    )
    def test_forms(self, text: str, classes: list[int]) -> None:
        assert self.chosen(text) == classes

    def test_several_without_repetition(self) -> None:
        targets = Targets(["hen", "top2", "5"], 6, LABELS)
        assert targets.of(self.outputs) == [5, 1, 3]
        assert targets.name == "5+top2+5"

    def test_exact_name_wins_over_part(self) -> None:
        assert Targets(["cat"], 2, ["catamaran", "cat"]).of(np.zeros(2)) == [1]

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ("6", "6 classes, from 0 to 5"),
            ("-1", "from 0 to 5"),
            ("top0", "top1"),
            ("", "empty"),
            ("cat", "2 classes; .*0 tabby, tabby cat; 1 Siamese cat"),
            ("crane", "2 crane; 3 crane"),
            ("Siamees", "no class 'Siamees'; near: 1 Siamese cat"),
            ("zzz", "no class 'zzz'$"),
        ],
    )
    def test_wrong(self, text: str, message: str) -> None:
        with pytest.raises(OptionError, match=message):
            self.chosen(text)

    def test_name_needs_labels(self) -> None:
        with pytest.raises(OptionError, match="--labels"):
            self.chosen("hen", labels=None)


class TestPictures:
    """Which files are meant, and what their results are called."""

    def test_files_folders_and_patterns(self, tmp_path: Path) -> None:
        for name in ("b.png", "a.JPG", "notes.txt", "sub/c.png"):
            (tmp_path / name).parent.mkdir(exist_ok=True)
            (tmp_path / name).touch()
        (tmp_path / "folder.png").mkdir()
        pictures, failures = find_pictures([str(tmp_path), str(tmp_path / "**" / "c.*"), str(tmp_path / "b.png")])
        assert [p.path.name for p in pictures] == ["a.JPG", "b.png", "c.png"]
        assert not failures

    def test_name_with_brackets_is_a_file(self, tmp_path: Path) -> None:
        (tmp_path / "a[1].png").touch()
        pictures, _ = find_pictures([str(tmp_path / "a[1].png")])
        assert [p.name for p in pictures] == ["a[1]"]

    def test_nothing_found(self, tmp_path: Path) -> None:
        pictures, failures = find_pictures([str(tmp_path), str(tmp_path / "*.png")])
        assert not pictures
        assert [f.error.split(" '")[0] for f in failures] == ["there are no pictures in the folder", "no file matches"]

    @pytest.mark.parametrize(
        ("paths", "names"),
        [
            (["x/cat.jpg", "x/dog.jpg"], ["cat", "dog"]),
            (["x/cat.jpg", "y/cat.jpg", "y/dog.jpg"], ["x_cat.jpg", "y_cat.jpg", "dog"]),
            (["x/cat.jpg", "x/cat.png"], ["cat.jpg", "cat.png"]),
            (["x/Cat.jpg", "y/cat.jpg"], ["x_Cat.jpg", "y_cat.jpg"]),
            (["1/x/cat.jpg", "2/x/cat.jpg"], ["1_x_cat.jpg", "2_x_cat.jpg"]),
        ],
    )
    def test_names_are_short_and_unique(self, paths: list[str], names: list[str]) -> None:
        assert unique_names([Path(path) for path in paths]) == names

    def test_names_are_unique_even_when_paths_spell_the_same(self) -> None:
        paths = [Path(name) for name in ("/a_b/c.png", "/a/b_c.png", "/b/c.png", "/c.png", "/x/a_b_c.png.png")]
        names = unique_names(paths)
        assert len({name.casefold() for name in names}) == len(paths)


class TestValues:
    """Values of options."""

    def test_shapes(self) -> None:
        assert parse_shape("1,3,227,227") == parse_shape("1x3x227x227") == (1, 3, 227, 227)
        assert parse_shape(None) is None
        for wrong in ("", "0,3,8,8", "a", "1,,3"):
            with pytest.raises(OptionError, match="--input-shape"):
                parse_shape(wrong)

    def test_scale(self) -> None:
        assert parse_scale("1/256") == 1 / 256
        assert parse_scale("0.5") == 0.5
        for wrong in ("1/0", "x", "1/2/3", ""):
            with pytest.raises(OptionError, match="--scale"):
                parse_scale(wrong)

    def test_numbers(self) -> None:
        assert parse_numbers("104,117,123") == (104, 117, 123)
        assert parse_numbers("mean.binaryproto") is None

    def test_errors_are_one_line_in_words_of_the_command_line(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert one_line("two:\n  a\n  b\nKnown: c") == "two: a; b; Known: c"
        error("no size; for example input_shape=(1, 3, 8, 8),\nor at layer='ip', rule='alphabeta', beta=1.0")
        assert capsys.readouterr().err == (
            "caffe2lrp: error: no size; for example --input-shape 1,3,8,8, or at --layer ip, --rule alphabeta, "
            "--beta 1.0\n"
        )


def network(tmp_path: Path, *shape: int) -> Network:
    """A net that only rectifies its input."""
    file = tmp_path / "deploy.prototxt"
    dims = " ".join(f"input_dim: {d}" for d in shape)
    file.write_text(f'name: "tiny" input: "data" {dims} layer {{ name: "r" type: "ReLU" bottom: "data" top: "r" }}')
    return load_definition(file)


class TestPreprocessing:
    """What is assumed, and what options change."""

    @pytest.mark.parametrize(
        ("shape", "expected"),
        [
            ((1, 3, 224, 224), Preprocessing("BGR", (104, 117, 123), 1, ("short", 256))),
            ((1, 3, 227, 227), Preprocessing("BGR", (104, 117, 123), 1, ("short", 256))),
            ((1, 3, 112, 112), Preprocessing("BGR", (104, 117, 123), 1, ("short", 128))),
            ((1, 3, 32, 32), Preprocessing("BGR", (104, 117, 123), 1, ("short", None))),
            ((1, 1, 28, 28), Preprocessing("GRAY", None, 1 / 256, ("short", None))),
        ],
    )
    def test_assumed(self, tmp_path: Path, shape: tuple[int, ...], expected: Preprocessing) -> None:
        assert loading.assumed_preprocessing(network(tmp_path, *shape)) == expected

    def test_no_pictures(self, tmp_path: Path) -> None:
        with pytest.raises(ImageError, match="pictures have the shape"):
            loading.assumed_preprocessing(network(tmp_path, 1, 4, 8, 8))

    def test_only_what_is_not_given_is_said_to_be_assumed(
        self, tmp_path: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        network(tmp_path, 1, 3, 8, 8)
        file = tmp_path / "deploy.prototxt"
        given = ModelOptions(prototxt=file, mean="1,2,3", scale="1/2")
        opened = loading.open_network(given)
        assert opened.preprocessing == Preprocessing("BGR", (1, 2, 3), 0.5)
        message = capsys.readouterr().err
        assert "BGR, mean 1,2,3, scale 0.5, resize short (channels, resize: assumed" in message
        assert message.count("\n") == 1
        loading.open_network(ModelOptions(None, file, None, None, None, "0", Channels.RGB, "1", "stretch"))
        assert capsys.readouterr().err == ""

    def test_turned_channels_turn_the_mean(self, tmp_path: Path) -> None:
        network(tmp_path, 1, 3, 8, 8)
        opened = loading.open_network(ModelOptions(prototxt=tmp_path / "deploy.prototxt", channels=Channels.RGB))
        assert opened.preprocessing == Preprocessing("RGB", (123, 117, 104))

    def test_mean_image(self, tmp_path: Path) -> None:
        network(tmp_path, 1, 3, 8, 8)
        mean = np.arange(3 * 8 * 8, dtype=np.float32).reshape(3, 8, 8)
        np.save(tmp_path / "mean.npy", mean)
        options = ModelOptions(prototxt=tmp_path / "deploy.prototxt", mean=str(tmp_path / "mean.npy"))
        assert loading.open_network(options).preprocessing == Preprocessing("BGR", mean)

    def test_known_file_name(self, tmp_path: Path) -> None:
        entry = next(e for e in entries() if e.name == "bvlc_googlenet")
        renamed = network(tmp_path, 1, 3, 224, 224)
        found = loading._known_entry([tmp_path / "bvlc_googlenet.caffemodel"], renamed)
        assert found == entry
        assert loading._known_entry([tmp_path / "bvlc_googlenet.caffemodel"], network(tmp_path, 1, 1, 8, 8)) is None

    def test_known_content(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        file = tmp_path / "renamed.bin"
        file.write_bytes(b"weights")
        googlenet = next(e for e in entries() if e.name == "bvlc_googlenet")
        digest = hashlib.sha256(b"weights").hexdigest()
        source = dataclasses.replace(googlenet.sources[0], sha1=None, sha256=digest, size=7)
        monkeypatch.setattr(loading, "entries", lambda: [dataclasses.replace(googlenet, sources=(source,))])
        net = network(tmp_path, 1, 3, 224, 224)
        found = loading._known_entry([file], net)
        assert found is not None
        assert found.name == "bvlc_googlenet"
        file.write_bytes(b"changed")
        assert loading._known_entry([file], net) is None
