"""What benchmarks measure by and how they show it; the benchmarks themselves are run by hand."""

import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from PIL import Image
from tiny import TINY

from benchmarks import bounds, coverage, engines, feeding, lifelog, moments, tables, training
from benchmarks.processes import measured
from koniq.commands.choices import Data
from koniq.ground import InputError
from koniq.network import KONCEPT512, sidecar, weights
from koniq.scoring import score_tables
from koniq.scoring.taken import taken


def test_memory_is_that_of_the_command_and_not_of_what_started_it():
    ours = np.ones(25 << 20)  # 200 MiB
    lines, small = measured([sys.executable, "-c", "print(1); print(2)"])
    _, large = measured([sys.executable, "-c", "bytearray(b'1' * (100 << 20))"])
    assert lines == ["1", "2"]
    assert small < 60 << 20 < 100 << 20 < large < ours.nbytes + small


def test_made_up_tables_are_named_as_a_lifelog_and_models_agree_in_part(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "PIECE", 1500)
    found = []
    for model, name in enumerate("ab"):
        tables.write(tmp_path / f"{name}.csv", 4000, model)
        found.append(score_tables.read(tmp_path / f"{name}.csv").set_index("image_path"))
    first, second = found
    assert len(first) == 4000
    assert 3980 < len(second) < 4000
    assert 20 < (first.status == "missing").sum() < 60
    assert first.MOS.corr(second.MOS.reindex(first.index)) == pytest.approx(0.9, abs=0.02)
    assert taken(pd.Series(first.index)).time.diff()[1:].eq(pd.Timedelta(seconds=tables.EVERY)).all()


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


def test_what_only_the_loop_has_stands_in_columns_of_its_own():
    rows = [
        {"case": "torch", "batch": 4, "seconds": [1, 1], "memory": 3 << 29, "first": 2},
        {"case": "jpeg", "batch": 4, "seconds": [2], "memory": 3 << 29, "first": 9, "whole": [4], "decoding": 60},
        {"case": "jpeg", "batch": 4, "seconds": [2], "memory": 3 << 29, "first": 8, "whole": [8], "decoding": 80},
    ]
    lines = training.table(pd.DataFrame(rows), 4 * 3 * training.GFLOP * 1e9, training.Settings()).splitlines()
    heads = "with validation, pictures/s | decoding alone, pictures/s | share of bf16 rate |"
    assert lines[0].endswith(f"| first step or epoch, s | {heads}")
    assert lines[2:] == [
        "| torch | 4 | 4.00 | 4.00 to 4.00 |  | 1.50 | 2.0 |  |  | 100.0% |",
        "| jpeg | 4 | 2.00 | 2.00 to 2.00 |  | 1.50 | 9.0 | 0.67 | 70.00 | 50.0% |",
    ]


@pytest.fixture
def graphs(monkeypatch):
    """The graphs that torch.compile is given, which need no compiler here."""
    import torch

    from koniq.engines import in_torch as engine

    found, compiled = [], torch.nn.Module.compile

    def backend(graph, inputs):
        found.append(graph)
        return graph.forward

    torch.compiler.reset()
    monkeypatch.setattr(engine, "can_compile", lambda device: True)
    monkeypatch.setattr(torch.nn.Module, "compile", lambda *of, **how: compiled(*of, **{"backend": backend, **how}))
    yield found
    torch.compiler.reset()


@pytest.fixture
def small_loop(tmp_path, monkeypatch):
    """Settings of the loop by a small network, its pictures written."""
    monkeypatch.setattr(training, "KONCEPT512", TINY)
    chosen = training.Settings(size=(24, 32), batch_size=(2,), pictures=4, passes=2, folder=str(tmp_path))
    training.write_pictures(tmp_path, chosen)
    return chosen


def test_the_loop_takes_pictures_that_are_prepared_or_decodes_them_within_its_time(small_loop, monkeypatch, capsys):
    from koniq.pictures import memory

    opened, decoded = memory.opened, []
    monkeypatch.setattr(memory, "opened", lambda *of: decoded.append(time.sleep(0.1)) or opened(*of))
    by_file = training.CASES["torch-prepared"](small_loop)
    assert decoded == []
    assert f"Pictures: from {small_loop.folder}" in capsys.readouterr().out
    by_jpeg = training.CASES["torch-jpeg"](small_loop)
    assert len(decoded) == 4 + training.validated(small_loop)
    assert "Pictures: from" not in capsys.readouterr().out
    for found in (by_file, by_jpeg):
        assert len(found["seconds"]) == len(found["whole"]) == small_loop.passes
        assert all(train < whole for train, whole in zip(found["seconds"], found["whole"], strict=True))
        assert found["device"].endswith("float32, pictures read by threads")
    assert min(by_jpeg["seconds"]) > 0.1 * len(decoded) / small_loop.workers / 2  # batches
    assert by_jpeg["decoding"] > 0
    assert "decoding" not in by_file


def test_the_loop_is_compiled_and_reads_by_threads_where_a_case_says_so(small_loop, monkeypatch, graphs):
    from koniq.training import in_torch_feed

    monkeypatch.setattr(in_torch_feed, "SHARE_OF_DEVICE", 0.5)
    found = training.CASES["torch-bf16-compiled-threads"](small_loop)
    assert len(graphs) == 2  # of training and of validation
    assert found["device"].endswith("mixed_bfloat16, compiled, pictures read by threads")
    assert in_torch_feed.SHARE_OF_DEVICE == 0


def test_on_a_gpu_the_card_its_matrix_rate_and_every_share_are_printed(monkeypatch, capsys):
    def found(name, size, folder, s):
        return {"case": name, "batch": size, "memory": 1 << 30, "device": "d", "seconds": [size / 500], "first": 1}

    monkeypatch.setattr(training, "in_a_process", found)
    monkeypatch.setattr(training.through_kuti, "PYTHON", Path("not there"))
    monkeypatch.setattr(training, "write_pictures", lambda folder, s: None)
    monkeypatch.setattr(training, "gpu", lambda: "NVIDIA H100")
    monkeypatch.setattr(training, "matrix_rate", lambda: 1000 * 3 * training.GFLOP * 1e9)
    training.main(training.Settings(batch_size=(8, 64), pictures=64, rounds=1))
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("NVIDIA H100; ") for line in lines)
    assert "bf16 matrix product: 178 TFLOP/s on NVIDIA H100" in lines
    cases = [name for name in training.CASES if any(line.startswith(f"| {name} | 64 | 500.00 ") for line in lines)]
    assert cases == [name for name in training.CASES if name != "kuti"]
    assert all(line.endswith("| 50.0% |") for line in lines if " | 500.00 | " in line)


@pytest.mark.long
def test_cases_of_the_loop_run_in_processes_of_their_own(capsys):
    cases = ("torch-prepared", "torch-jpeg")
    training.main(training.Settings(cases=cases, size=(76, 100), batch_size=(2,), pictures=4, rounds=1))
    lines = capsys.readouterr().out.splitlines()
    assert [line.split(" | ")[0] for line in lines[-2:]] == ["| torch-prepared", "| torch-jpeg"]
    assert "The loop: 4 pictures an epoch, 1 timed after 1, 2 threads" in lines


def test_flop_are_those_of_convolutions_and_products():
    first, second, head = 2 * 27 * 8 * 11 * 15, 2 * 72 * 16 * 5 * 7, 2 * (16 * 32 + 32 * 16 + 16)
    assert bounds.flop(TINY) == first + second + head


@pytest.mark.long
def test_flop_of_koncept512_are_those_that_training_counts_with():
    assert bounds.flop(KONCEPT512) == pytest.approx(training.GFLOP * 1e9, rel=1e-3)


def test_bounds_are_shown_by_what_they_are_of(capsys):
    assert bounds.table([("a", 1.0), ("b", 2000), ("a", 3), ("a", 2)]).splitlines()[2:] == [
        "| a | 2.0 | 1.0 to 3.0 |",
        "| b | 2,000.0 | 2,000.0 to 2,000.0 |",
    ]
    bounds.main(bounds.Settings(pictures=2, rounds=1, input_size=(24, 32)))
    first, second = capsys.readouterr().out.splitlines()[-2:]
    assert first.startswith("| JPEGs of 512x384 decoded to 24x32, pictures/s | ")
    assert second.startswith("| JPEGs of 1024x768 decoded to 24x32, pictures/s | ")


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


def test_on_a_gpu_the_slower_of_decoding_and_engine_bounds_what_both_reach():
    case = "lite, bf16, compiled"
    whole, alone, file = (f"{case}: {what}" for what in (lifelog.WHOLE, lifelog.ALONE, lifelog.PREPARED))
    found = pd.DataFrame({"decoding alone": [60.0, 80], alone: 4000.0, whole: [30.0, 40], file: 2000.0})
    rows = lifelog.speeds(found, apart=True)
    heads, _, decoding, *lines = lifelog.speed_table(rows, {alone: 5e9, whole: 5e9, file: 5e9}, 40e12).splitlines()
    assert heads.endswith("| hours for 183,227 | decoding alone | share of bf16 rate |")
    assert decoding == "| decoding alone | 70.00 | 60.00 to 80.00 |  |  |  |  |  |"
    assert [line.split(" | ", 3)[3] for line in lines] == [
        " |  |  |  | 50.0% |",
        " | 50% | 1.5 | 70.00 | 0.4% |",
        " | 50% | 0.0 |  | 25.0% |",
    ]


@pytest.mark.parametrize("card", ["", "NVIDIA H100"])
def test_pytorch_scores_what_is_prepared_and_jpegs_at_each_size_of_batch(tmp_path, monkeypatch, capsys, graphs, card):
    """On a GPU compiled and without being asked, with the card named and its matrix rate beside."""
    monkeypatch.setattr(lifelog, "KONCEPT512", TINY)
    path = lifelog.write_weights(tmp_path, by_torch=True)
    monkeypatch.setattr(lifelog, "gpu", lambda: card)
    monkeypatch.setattr(lifelog, "matrix_rate", lambda: 1e12)
    few = {"pictures": 7, "count": 7, "peer_count": 0, "rounds": 2, "megapixels": (), "memory": ()}
    how = {"precisions": ("mixed_bfloat16",), "input_size": (24, 32), "batch_size": (2, 3, 4), "lite": ""}
    by = {"engine": "auto", "compile": "yes"} if card else {"engine": "torch"}  # auto is no on a processor
    lifelog.main(lifelog.Settings(str(path), out=tmp_path / "speed.csv", **few, **how, **by))
    lines = capsys.readouterr().out.splitlines()
    cases = [line.split(" | ")[0].removeprefix("| ") for line in lines if line.startswith("| tiny")]
    rates = ("engine alone", "JPEG to CSV", "JPEG to CSV, rules 1", "prepared to CSV")
    name = f"tiny, mixed_bfloat16{', compiled' if card else ''}"
    assert cases == [f"{name}, batch {size}: {what}" for size in (2, 3, 4) for what in rates]
    assert len(graphs) == (3 if card else 0)  # each size has its own
    assert any(line.startswith(f"{card}, " if card else "") and "; commit " in line for line in lines)
    assert any("bf16 matrix product: 1 TFLOP/s" in line for line in lines) == bool(card)
    assert all(line.endswith("% |") for line in lines if line.startswith("| tiny")) == bool(card)
    assert pd.read_csv(tmp_path / "speed.csv").machine.str.startswith("NVIDIA H100, ").all() == bool(card)


def test_random_weights_for_pytorch_are_written_without_keras(tmp_path, monkeypatch):
    monkeypatch.setattr(lifelog, "KONCEPT512", TINY)
    path = lifelog.write_weights(tmp_path, by_torch=True)
    assert sidecar.network_of(path).name == "tiny"
    weights.load_module(TINY.build_torch(), path, TINY)


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


def test_the_best_of_a_moment_is_counted():
    groups = pd.DataFrame(
        {
            "group": [1, 1, 1, 2, 2, 3, 3],
            "seen": ["moment"] * 5 + ["copy"] * 2,
            "MOS": [10.0, 30, 20, 52, 50, 70, 70],
            "score": [1.0, 3, 2, 4, 5, 6, 7],
        }
    )
    groups = groups.assign(low=groups.score - 0.6, high=groups.score + 0.6)
    choices = moments.choices(groups).splitlines()[2:]
    assert choices[0] == "| moment | 2 | 5 | 50 % [9, 91] | 42 % | 1.0 | 5.5 |"
    assert choices[1].startswith("| copy | 1 | 2 | 100 % [21, 100] | 50 % | 0.0 |")
    found = moments.pairs(groups)
    assert "| MOS 0 to 5 apart | 1 | 0 % [0, 79] |" in found
    assert "| MOS 10 to 20 apart | 2 | 100 % [34, 100] |" in found
    assert "| told apart by intervals | 1 | 100 % [21, 100] |" in found
    assert "| not told apart | 3 | 67 % [21, 94] |" in found


def test_moments_were_looked_at():
    table = pd.read_csv(moments.Settings().groups)
    assert table.image_name.is_unique
    assert table.groupby("group").size().min() == 2
    assert table.groupby("group").seen.nunique().max() == 1
    assert table.drop_duplicates("group").seen.value_counts().to_dict() == {"moment": 44, "copy": 12, "other": 2}


def test_moments_of_a_rated_table_are_scored(tmp_path, capsys):
    for number in range(4):
        Image.new("RGB", (64, 48), (60 * number, 90, 90)).save(tmp_path / f"{number}.png")
    names = [f"{number}.png" for number in range(4)]
    table = pd.DataFrame({"image_name": names, "MOS": [10.0, 20, 30, 40], "set": "test"})
    table.to_csv(tmp_path / "mine.csv", index=False)
    found = pd.DataFrame({"image_name": [*names[:3], "gone.png"], "group": [1, 1, 2, 2], "seen": "moment"})
    found.to_csv(tmp_path / "moments.csv", index=False)
    data = Data(str(tmp_path / "mine.csv"), images=str(tmp_path))
    moments.main(moments.Settings(data=data, groups=tmp_path / "moments.csv"))
    assert "| moment | 1 | 2 | " in capsys.readouterr().out
    found[2:].to_csv(tmp_path / "moments.csv", index=False)
    with pytest.raises(InputError, match="Received: none of them"):
        moments.main(moments.Settings(data=data, groups=tmp_path / "moments.csv"))
