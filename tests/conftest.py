"""Fixtures that several test modules share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from caffe2lrp.kernels import team


def pytest_configure(config: pytest.Config) -> None:
    """Register the marker of tests that take seconds each; `-m "not slow"` leaves them out."""
    config.addinivalue_line("markers", "slow: takes several seconds")


@pytest.fixture(autouse=True)
def same_threads() -> Iterator[None]:
    """Puts the number of threads back, which the command line's --threads sets for the whole process."""
    before = team.threads()
    yield
    if team.threads() != before:
        team.set_threads(before)


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of reference results, real models and photos beside the repository."""
    folder = Path(__file__).resolve().parents[2] / "shared"
    if not folder.is_dir():
        pytest.skip(f"there is no folder {folder} with reference data")
    return folder
