"""Comparing maps of relevance that were computed in two ways."""

from __future__ import annotations

import numpy as np


def assert_same_map(got: np.ndarray, expected: np.ndarray) -> None:
    """Equal but for the order of sums: a forward pass that keeps z+ and z- adds them up to the output."""
    tolerance = 1e-12 if expected.dtype == np.float64 else 1e-5
    np.testing.assert_allclose(got, expected, rtol=0, atol=tolerance * np.abs(expected).max())
