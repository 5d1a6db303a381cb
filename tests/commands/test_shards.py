"""The files of examples/ that score in shards, run as they stand: merged, the same as of one machine."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from commands import ended
from PIL import Image

import lifelog_predict
from koniq.commands import score
from koniq.ground import exits

ROOT = Path(__file__).resolve().parents[2]
HOW = ("--weights", "koncept_lite", "--input-size", "64", "80", "--device", "cpu", "--engine", "openvino")


@pytest.fixture(scope="module")
def scored(tmp_path_factory):
    """A folder with pictures, one of which does not open, and their scores by one machine."""
    folder = tmp_path_factory.mktemp("shards")
    (folder / "my photos").mkdir()
    for number in range(10):
        Image.effect_noise((100, 80), 10 + 20 * number).convert("RGB").save(folder / f"my photos/{number}.jpg")
    (folder / "my photos/broken.jpg").write_text("no picture")
    code = ended(score, folder / "my photos", "--out", folder / "whole.csv", *HOW)
    assert code == exits.UNSCORED
    return folder


def run(scored, file, out, **environment):
    environment = os.environ | {"PYTHON": sys.executable, "PYTHONPATH": str(ROOT), "SHARDS": "3"} | environment
    command = ["bash", ROOT / "examples" / file, scored / "my photos", scored / out, *HOW]
    done = subprocess.run(command, env=environment, cwd=scored, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def merged(scored, out):
    parts = sorted((scored / out).glob("part_*.csv"))
    assert len(parts) == 3
    assert ended("merge", *parts, "--out", scored / f"{out}.csv", "--pictures", scored / "my photos") == 0
    assert (scored / f"{out}.csv").read_bytes() == (scored / "whole.csv").read_bytes()
    assert ended(score, scored / "my photos", "--out", scored / f"{out}.csv", *HOW) == exits.UNSCORED


def test_the_slurm_array(scored, capsys):
    for task in "231":
        run(scored, "slurm_array.sh", "slurm", SLURM_ARRAY_TASK_ID=task, SLURM_ARRAY_TASK_COUNT="3")
    merged(scored, "slurm")
    assert "11 of them are in" in capsys.readouterr().out
    # Run again, as a task that was requeued, it has nothing to do.
    assert "of them are in" in run(scored, "slurm_array.sh", "slurm", SLURM_ARRAY_TASK_ID="2")


def test_the_array_is_of_as_many_tasks_as_shards():
    text = (ROOT / "examples/slurm_array.sh").read_text()
    assert "#SBATCH --array=1-8\n#SBATCH --requeue\n" in text
    assert "shards=${SHARDS:-8}" in text


def test_xargs(scored):
    run(scored, "xargs.sh", "xargs")
    merged(scored, "xargs")


@pytest.mark.parametrize("command", [score, lifelog_predict], ids=["score", "lifelog_predict"])
def test_a_shard_on_the_command_line(command, scored, monkeypatch, capsys):
    monkeypatch.chdir(scored)
    assert ended(command, "my photos", "--shard", "9/8", *HOW) == exits.BAD_INPUT
    assert "shard should be such as 3/8" in capsys.readouterr().err
    assert ended(command, "my photos", "--shard", "2/9000", *HOW) == 0  # of nothing
    assert "0 pictures, shard 2/9000 of 11" in capsys.readouterr().out
    assert Path("lifelog_mos_2_of_9000.csv").read_text().count("\n") == 1
