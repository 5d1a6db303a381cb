"""What many pictures cost: numbers by measured rates, and nothing that was not measured."""

import pandas as pd
import pytest
from commands import ended

from koniq.ground import InputError
from koniq.study import scale

CPU, CARD = "A Processor (4 cores)", "NVIDIA H100, A Processor (4 cores)"


def speed(path, machine=CPU, decoding=100.0, engine=25.0, whole=20.0, limits=""):
    cases = {
        "decoding alone": decoding,
        "koncept512, float32: engine alone": engine,
        "koncept512, float32: JPEG to CSV": whole,
    }
    rows = [{"case": case, "median": median, "machine": machine, "limits": limits} for case, median in cases.items()]
    pd.DataFrame(rows).to_csv(path, index=False)
    return path


def figures(path, *rows):
    columns = ("step", "case", "value", "unit")
    table = pd.DataFrame(rows, columns=columns).assign(low=0, high=0, command="a command", device=CPU)
    table.to_csv(path, index=False)
    return path


def test_core_hours_are_pictures_by_the_rate_of_all_cores(tmp_path):
    (rate,) = scale.rates(speed(tmp_path / "speed.csv"))
    assert rate.cores == 4
    assert rate.hours(72_000) == pytest.approx(4)  # an hour of four cores
    assert rate.bound == "the network, 80%"  # 1/25 of 1/25 + 1/100


def test_what_decodes_slower_than_it_scores_is_bound_by_decoding(tmp_path):
    (rate,) = scale.rates(speed(tmp_path / "speed.csv", decoding=25, engine=75))
    assert rate.bound == "decoding, 75%"


def test_a_gpu_has_hours_of_its_own_and_the_slower_of_the_two_bounds_it(tmp_path):
    (rate,) = scale.rates(speed(tmp_path / "speed.csv", CARD, decoding=900, engine=4000, whole=800))
    assert rate.on_gpu
    assert rate.bound == "decoding"
    assert rate.hours(2_880_000) == pytest.approx(1)


def test_the_same_processor_limited_is_another_machine(tmp_path):
    both = [speed(tmp_path / "a.csv"), speed(tmp_path / "b.csv", limits="OV_CPU_MAX_ISA=AVX2", whole=5)]
    table = pd.concat([pd.read_csv(path, keep_default_na=False) for path in both])
    table.to_csv(tmp_path / "speed.csv", index=False)
    assert [rate.whole for rate in scale.rates(tmp_path / "speed.csv")] == [20, 5]


def test_without_rates_it_is_said_where_they_come_from(tmp_path):
    with pytest.raises(InputError, match=r"benchmarks\.lifelog --out"):
        scale.rates(tmp_path / "speed.csv")


def test_what_was_not_measured_is_said_to_be_missing(tmp_path):
    found = scale.blocks(speed(tmp_path / "speed.csv"), tmp_path / "none.csv")
    assert found["memory"] == found["network"] == scale.NONE
    assert found["storage"].count(scale.NONE) == len(scale.STORED)
    assert found["hours of a GPU"] == scale.NO_GPU


def test_storage_and_network_follow_from_the_bytes_of_a_picture(tmp_path):
    table = figures(tmp_path / "scale.csv", ("bytes", "JPEG 1024x768", 250_000, "bytes"))
    found = scale.blocks(speed(tmp_path / "speed.csv"), table, (8_000_000,), scale.Prices(gb_month=0.01))
    assert "| 250,000 | 2.0 TB (20.00) |" in found["storage"]
    assert "| 10.0 for a core | 100 |" in found["network"]  # 5 pictures a second of 2 Mbit


def test_a_step_takes_what_its_rate_says(tmp_path, monkeypatch):
    monkeypatch.setattr(scale, "STEPS", (scale.Step("merge", "rows", "merged", "the disk"),))
    table = figures(tmp_path / "scale.csv", ("merge", "rows", 50_000, "rows/s"))
    assert "| merged | 50,000 | 1.0 hours | the disk |" in scale.steps_table(scale.Figures(table), (180_000_000,))


@pytest.mark.parametrize(
    ("hours", "said"),
    [
        (0.4 / 3600, "under a second"),
        (1 / 3600, "1 second"),
        (59.9 / 3600, "1 minute"),
        (0.01, "36 seconds"),
        (0.5, "30 minutes"),
        (1, "1.0"),
        (99.94, "99.9"),
        (20_000, "20,000"),
    ],
)
def test_hours_are_said_in_what_suits_them(hours, said):
    assert scale.duration(hours) == said


def test_every_step_of_the_page_was_measured():
    known = scale.Figures()
    lacking = [step.title for step in scale.STEPS if known.get(step.step, step.case) is None]
    assert not lacking
    assert all(known.get("bytes", case) for case in scale.STORED)


def test_the_page_is_what_the_tables_give_today():
    text = scale.PAGE.read_text(encoding="utf-8")
    for name, block in scale.blocks(scale.SPEED, scale.SCALE).items():
        assert f"<!-- begin: {name} -->\n{block}\n<!-- end: {name} -->" in text, "koniq scale --write"


def test_a_price_stands_in_brackets_and_the_page_takes_none(capsys):
    assert ended("scale", "--pictures", 1_000_000, "--core-hour", 0.05) == 0
    printed = capsys.readouterr().out
    assert "| 1 million |" in printed
    assert "In brackets: what it costs" in printed
    assert ended("scale", "--write", "--core-hour", 1) == 2
    assert "write should go without prices" in capsys.readouterr().err


@pytest.mark.parametrize("given", [("--core-hour", "-1"), ("--pictures", "0"), ("--gb-month", "nan")])
def test_what_is_no_price_and_no_number_is_refused(given, capsys):
    assert ended("scale", *given) == 2
    assert "Received: " in capsys.readouterr().err
