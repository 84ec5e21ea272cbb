"""The guide to rules and composites names all of them, and docs/rules.md says the same."""

from __future__ import annotations

from pathlib import Path

from caffe2lrp import guide
from caffe2lrp.composites import COMPOSITES
from caffe2lrp.rules import RULES

PAGE = Path(__file__).resolve().parents[1] / "docs" / "rules.md"


def test_the_guide_is_complete() -> None:
    assert list(guide.RULE_TEXTS) == list(RULES)
    assert [*guide.COMPOSITE_TEXTS, *guide.BASELINE_TEXTS] == list(COMPOSITES)


def test_the_page_holds_the_tables() -> None:
    text = PAGE.read_text("utf-8")
    for table in guide.tables():
        assert table.markdown() in text, f"docs/rules.md: bring the table of {table.title.lower()} up to date"
