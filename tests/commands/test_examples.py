"""The notebooks run as they stand, from top to bottom, in a kernel of their own."""

from pathlib import Path

import nbformat
import pytest
from nbclient import NotebookClient

ROOT = Path(__file__).resolve().parents[2]
NOTEBOOKS = sorted((ROOT / "examples").glob("*.ipynb"))
SAID = {  # what each of them comes to, among much else
    "score_my_photos": ("MOS", "scoring: 100%"),
    "learn_my_taste": ("with your ratings, pictures not seen", "The ratings are learnt", "features: 100%"),
    "the_collapse": ("0.426", "spread of the distances", "mean |gradient|, per MOS"),
}


def test_each_of_them_is_known():
    assert {path.stem for path in NOTEBOOKS} == {*SAID}


@pytest.mark.slow
@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_a_notebook_runs(path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    notebook = nbformat.read(path, as_version=4)
    assert all(not cell.outputs for cell in notebook.cells if cell.cell_type == "code")  # kept without
    NotebookClient(notebook, timeout=300, kernel_name="python3", resources={"metadata": {"path": str(ROOT)}}).execute()
    said = [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]
    assert [text for text in SAID[path.stem] if text not in str(said)] == []
    assert "image/png" in str(said)
    assert "stderr" not in str(said)
