"""Bars and figures in a kernel of Jupyter, and none where nobody looks."""

import subprocess
import sys

import nbformat
import pytest
from nbclient import NotebookClient

from koniq.ground.bars import in_notebook, tqdm
from koniq.ground.paths import ROOT

CODE = """
from pathlib import Path
from koniq.ground.bars import in_notebook, tqdm
from koniq.reports.figures import new_figure, save_figure

for _ in tqdm(range(3), desc="three", disable=None):
    pass
figure, axes = new_figure(2, 1)
save_figure(figure, Path({out!r}))
print(in_notebook())
"""


def test_nobody_looks_here(capsys):
    assert not in_notebook()
    assert [*tqdm(range(3), disable=None, desc="three")] == [0, 1, 2]
    assert capsys.readouterr() == ("", "")


@pytest.mark.slow
def test_a_kernel_shows_bars_and_figures(tmp_path, monkeypatch):
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    notebook = nbformat.v4.new_notebook(cells=[nbformat.v4.new_code_cell(CODE.format(out=str(tmp_path / "a.png")))])
    NotebookClient(notebook, timeout=60, kernel_name="python3").execute()
    outputs = notebook.cells[0].outputs
    said = "".join(output.text for output in outputs if output.output_type == "stream")
    assert {output.name for output in outputs if output.output_type == "stream"} == {"stdout"}
    assert "three: 100%" in said
    assert said.rstrip().endswith("True")
    (picture,) = (output.data for output in outputs if output.output_type == "display_data")
    assert picture["image/png"]
    done = subprocess.run(
        [sys.executable, "-c", CODE.format(out=str(tmp_path / "b.png"))], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "False\n", "")
