"""Fixtures that several test modules share."""

from __future__ import annotations

from pathlib import Path

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker of tests that take seconds each; `-m "not slow"` leaves them out."""
    config.addinivalue_line("markers", "slow: takes several seconds")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of reference results, real models and photos beside the repository."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip(f"there is no folder {folder} with reference data")
    return folder
