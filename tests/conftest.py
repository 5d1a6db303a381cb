"""Fixtures that every test may use."""

import os
from pathlib import Path

import matplotlib
import pytest

matplotlib.use("Agg")


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder of real pictures and tables named by KONIQ_TEST_DATA; skipped where it is not set."""
    folder = os.environ.get("KONIQ_TEST_DATA")
    if not folder:
        pytest.skip("KONIQ_TEST_DATA names no folder of real data")
    return Path(folder)
