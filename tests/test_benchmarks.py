"""What benchmarks measure by and how they show it; the benchmarks themselves are run by hand."""

import subprocess
import sys

import numpy as np
import pandas as pd
import pytest

from benchmarks import coverage, engines, feeding, lifelog, training
from benchmarks.processes import measured
from koniq.ground import InputError


def test_memory_is_that_of_the_command_and_not_of_what_started_it():
    ours = np.ones(25 << 20)  # 200 MiB
    lines, small = measured([sys.executable, "-c", "print(1); print(2)"])
    _, large = measured([sys.executable, "-c", "bytearray(b'1' * (100 << 20))"])
    assert lines == ["1", "2"]
    assert small < 60 << 20 < 100 << 20 < large < ours.nbytes + small


def test_a_command_that_fails_or_takes_too_long_is_an_error_with_its_stderr():
    with pytest.raises(subprocess.CalledProcessError) as error:
        measured([sys.executable, "-c", "raise SystemExit('no memory')"])
    assert error.value.stderr == "no memory\n"
    with pytest.raises(subprocess.CalledProcessError) as error:
        measured([sys.executable, "-c", "import time; time.sleep(60)"], limit=0.5)
    assert " timed out after " in error.value.stderr.splitlines()[-1]


def test_a_rate_is_the_median_of_all_steps_beside_kutis_at_the_same_batch():
    rows = [("kuti", 8, [4, 4]), ("torch", 8, [1, 2]), ("kuti", 8, [4, 4]), ("torch", 8, [2, 4]), ("torch", 16, [4, 4])]
    rows = [(*row, 3 << 29, first) for first, row in enumerate(rows)]
    found = pd.DataFrame(rows, columns=["case", "batch", "seconds", "memory", "first"])
    assert training.table(found, None, training.Settings()).splitlines()[2:] == [
        "| kuti | 8 | 2.00 | 2.00 to 2.00 | 1.00 | 1.50 | 2.0 |",
        "| torch | 8 | 4.00 | 2.00 to 8.00 | 2.00 | 1.50 | 3.0 |",
        "| torch | 16 | 4.00 | 4.00 to 4.00 |  | 1.50 | 4.0 |",
    ]
    peak = 2 * 3 * training.GFLOP * 1e9
    assert training.table(found, peak, training.Settings()).splitlines()[2].endswith("| 100.0% |")


def test_the_largest_difference_is_shown_with_its_picture():
    scores = pd.DataFrame({"keras/float32": [1.0, 2, 3], "torch/float32": [1.0, 1.5, 3.25]}, index=["a/1", "b/2", "3"])
    assert engines.table(scores, {"keras/float32": 1, "torch/float32": 2}).splitlines()[2:] == [
        "| keras/float32 | 1.000000 | 1.000000 | 0.00000 |  | +0.00000 | 1.0 |",
        "| torch/float32 | 1.000000 | 0.952217 | 0.50000 | 2 | -0.08333 | 2.0 |",
    ]


def test_coverage_is_as_promised_on_halves_and_is_seen_to_break_on_a_shifted_set(tmp_path, capsys):
    rng = np.random.default_rng(0)
    predicted = rng.uniform(20, 80, 300)
    mos = predicted + rng.normal(0, 5, 300)
    for name, shift in (("own", 0), ("shifted", 15)):
        pd.DataFrame({"MOS": mos + shift, "predicted": predicted}).to_csv(tmp_path / f"{name}.csv", index=False)
    chosen = coverage.Settings(tmp_path / "own.csv", (tmp_path / "shifted.csv",), halves=100, out=tmp_path / "m.csv")
    coverage.main(chosen)
    assert capsys.readouterr().out.count(", within three standard errors") == 2
    found = pd.read_csv(tmp_path / "m.csv").set_index(["dataset", "set", "metric"]).value
    assert 0.89 < found["own", "intervals, random halves", "coverage"] < 0.93
    assert found["shifted", "intervals, by intervals of own", "coverage"] < 0.6
    assert 0.89 < found["shifted", "intervals, random halves, own affine map", "coverage"] < 0.95


def test_what_is_reached_together_stands_beside_the_peer_and_what_both_allow(tmp_path, monkeypatch):
    whole, alone = f"lite, float32: {lifelog.WHOLE}", f"lite, float32: {lifelog.ALONE}"
    found = pd.DataFrame({"peer": [1.0, 2, 2], "decoding alone": 60.0, alone: 30.0, whole: [15.0, 18, 20]})
    rows = lifelog.speeds(found).set_index("case")
    assert rows.loc[whole, ["median", "low", "high", "ratio"]].tolist() == [18, 15, 20, 10]
    assert rows.share[whole] == pytest.approx(18 / 20)
    assert rows.hours[whole] == pytest.approx(183_227 / 18 / 3600)
    assert rows.hours.peer == pytest.approx(183_227 / 2 / 3600)
    assert rows.loc[alone, ["share", "hours"]].isna().all()
    assert lifelog.speed_table(rows.reset_index()).splitlines()[-1].endswith("| 15.00 to 20.00 | 10.00 | 90% | 2.8 |")
    monkeypatch.setenv("OV_CPU_MAX_ISA", "AVX2")
    for _ in range(2):
        lifelog.add(rows.reset_index(), tmp_path / "speed.csv")
    table = pd.read_csv(tmp_path / "speed.csv")
    assert (len(table), set(table.limits)) == (8, {"OV_CPU_MAX_ISA=AVX2"})
    assert table["median"].tolist() == [*rows["median"]] * 2


def test_what_comes_out_of_a_file_stands_beside_what_reading_it_gives():
    found = pd.DataFrame({"raw": [1000.0, 2000, 4000], "keras": [900.0, 1000, 3000]})
    assert feeding.table(found).splitlines()[2:] == [
        "| raw | 2,000 | 1,000 to 4,000 | 1.00 | 1.00 to 1.00 |",
        "| keras | 1,000 | 900 to 3,000 | 0.75 | 0.50 to 0.90 |",
    ]


def test_every_way_of_feeding_runs(capsys):
    feeding.main(feeding.Settings(pictures=9, size=(24, 32), batch_size=4, passes=1, rounds=1))
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("|")[1].strip() for line in lines[-len(feeding.CASES) :]] == [*feeding.CASES]
    with pytest.raises(InputError, match="cases should be among raw, keras"):
        feeding.main(feeding.Settings(cases=("none",)))
