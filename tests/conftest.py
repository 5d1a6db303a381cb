"""Fixtures that every test may use."""

import os
from pathlib import Path
from tempfile import TemporaryDirectory

import matplotlib
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from koniq.ground.log import aloud

matplotlib.use("Agg")
aloud()  # what is said is printed, as by commands
os.environ.setdefault("CUDA_VISIBLE_DEVICES", "")  # tests are the processor's, on a machine with a GPU as well


TESTS = Path(__file__).parent
# Files of long tests, begun first, so that of two processes neither is left with one of them at the end.
LONGEST = (
    *("study/test_matrix.py", "training/test_in_torch.py", "commands/test_scripts.py", "training/test_in_keras.py"),
    *(
        "measure/test_calibration.py",
        "scoring/test_resume.py",
        "engines/test_conversion.py",
        "network/test_in_torch.py",
    ),
)


def pytest_collection_modifyitems(items):
    first = {TESTS / name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: first.get(item.path, len(first)))


@pytest.fixture(scope="session")
def test_data() -> Path:
    """The folder of real pictures and tables named by KONIQ_TEST_DATA; skipped where it is not set."""
    folder = os.environ.get("KONIQ_TEST_DATA")
    if not folder:
        pytest.skip("KONIQ_TEST_DATA names no folder of real data")
    return Path(folder)


@pytest.fixture
def other_disk(tmp_path):
    """A folder on another file system than tmp_path."""
    memory = Path("/dev/shm")
    if not memory.is_dir() or memory.stat().st_dev == tmp_path.stat().st_dev:
        pytest.skip("there is one file system only")
    with TemporaryDirectory(dir=memory) as folder:
        yield Path(folder)


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    """A table of 40 grey pictures whose MOS is their brightness: 24 to train on, 8 to validate, 8 to test."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "images").mkdir()
    rng = np.random.default_rng(4)
    rows = []
    for number, grey in enumerate(rng.integers(0, 255, 40)):
        pixels = np.clip(rng.normal(grey, 10, (24, 32, 3)), 0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(folder / "images" / f"{number}.png")
        part = "training" if number < 24 else "validation" if number < 32 else "test"
        rows.append((f"{number}.png", grey / 2.55, part))
    pd.DataFrame(rows, columns=["image_name", "MOS", "set"]).to_csv(folder / "grey.csv", index=False)
    return folder / "grey.csv"
