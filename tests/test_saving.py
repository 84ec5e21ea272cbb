"""Files are written whole or not at all."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from caffe2lrp.errors import FileFormatError
from caffe2lrp.saving import check_target, replacing


def test_what_was_there_stays_until_all_is_well(tmp_path: Path) -> None:
    target = tmp_path / "net"
    target.write_text("old")
    with pytest.raises(ZeroDivisionError), replacing(target) as draft:  # noqa: PT012
        draft.write_text("half")
        assert target.read_text() == "old"
        raise ZeroDivisionError
    assert target.read_text() == "old"
    with replacing(target) as draft:
        draft.write_text("new")
    assert target.read_text() == "new"
    assert list(tmp_path.iterdir()) == [target]


def test_permissions_and_links_stay(tmp_path: Path) -> None:
    target, link = tmp_path / "net", tmp_path / "link"
    target.write_text("old")
    target.chmod(0o640)
    link.symlink_to(target)
    with replacing(link) as draft:
        draft.write_text("new")
    assert link.is_symlink()
    assert target.read_text() == "new"
    assert target.stat().st_mode & 0o777 == 0o640


def test_places_that_are_refused(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    os.mkfifo(tmp_path / "fifo")
    with pytest.raises(FileFormatError, match="there already"):
        check_target(tmp_path / "file", overwrite=False)
    for path, words in [
        (tmp_path, "folder of that name"),
        (tmp_path / "fifo", "no regular file"),
        (Path(os.devnull), "no regular file"),
        (tmp_path / "no" / "file", "there is no folder"),
        (tmp_path / "file" / "file", "there is no folder"),
        (tmp_path / "nul\0", "null"),
        (tmp_path / ("long" * 100), "too long"),
    ]:
        with pytest.raises(FileFormatError, match=words):
            check_target(path)
        with pytest.raises(FileFormatError, match=words), replacing(path):
            pass


def test_a_full_disk(tmp_path: Path) -> None:
    (tmp_path / "net").write_text("old")
    with pytest.raises(FileFormatError, match="net: cannot write the file: No space left"), replacing(tmp_path / "net"):
        raise OSError(28, "No space left on device")
    assert (tmp_path / "net").read_text() == "old"


def test_the_longest_names(tmp_path: Path) -> None:
    target = tmp_path / ("é" * 127)  # 254 bytes
    with replacing(target) as draft:
        draft.write_text("new")
    assert target.read_text() == "new"
