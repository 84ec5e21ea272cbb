"""What README and docs print can be typed: commands and options exist, and the quick start gives what it says."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
import typer

from caffe2lrp.cli import app

ROOT = Path(__file__).resolve().parents[1]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]


def blocks(page: Path, language: str) -> list[str]:
    """The code of a page that is in a language."""
    return re.findall(rf"^```{language}\n(.*?)^```", page.read_text("utf-8"), re.DOTALL | re.MULTILINE)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_commands_and_options_exist(page: Path) -> None:
    program = typer.main.get_command(app)
    for line in "".join(blocks(page, "sh")).replace("\\\n", " ").splitlines():
        words = shlex.split(line, comments=True)
        if words[:1] != ["caffe2lrp"]:
            continue
        command = program
        for word in words[1:]:
            command = getattr(command, "commands", {}).get(word, command)
            if word.startswith("-"):
                known = {name for p in command.params for name in (*p.opts, *p.secondary_opts)}
                assert word in known, f"{line}: there is no {word}"
        assert command is not program, line


def test_the_quick_start(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    page = ROOT / "docs" / "quick-start.md"
    (code,) = blocks(page, "python")
    (tmp_path / "models").symlink_to(ROOT / "models")
    monkeypatch.chdir(tmp_path)
    exec(code, {})
    assert (tmp_path / "three.png").is_file()
    printed, said = (re.findall(r"-?\d+\.?\d*", text) for text in (capsys.readouterr().out, blocks(page, "text")[-1]))
    assert list(map(float, printed)) == pytest.approx(list(map(float, said)), rel=1e-4)
