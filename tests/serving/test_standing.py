"""Where a score stands among the human scores of the table that its weights were calibrated by."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import koniq
from koniq.data import datasets
from koniq.data.scale import Scale
from koniq.measure.calibration import Affine, Calibration
from koniq.network import KONCEPT512, KONCEPT_LITE, sidecar
from koniq.network.finding import ORIGINAL
from koniq.serving import Table, table_of
from koniq.serving.standing import KNOWN

MAP = Calibration(Affine(1, 0), {}, 1000, "KonIQ-10k, validation")


def scorer(folder, network=KONCEPT_LITE, to_mos=None, name="mine.safetensors", **record):
    """What `table_of` asks of a scorer, with that record beside its weights."""
    weights = Path(folder, name)
    if record:
        sidecar.write_record(weights, network, **record)
    return SimpleNamespace(plan=SimpleNamespace(weights=weights), network=network, to_mos=to_mos)


def test_percentiles_are_the_shares_below():
    table = Table("four bins", (1, 0, 2, 1))
    found = [table.percentile(mos) for mos in (-5, 0, 12.5, 25, 40, 50, 62.5, 75, 100, 120)]
    assert found == [0, 0, 12.5, 25, 25, 25, 50, 75, 100, 100]
    assert Table(reason="none").percentile(50) is None


@pytest.mark.parametrize(
    ("name", "loaded"), [("KonIQ-10k", datasets.koniq10k), ("LIVE In the Wild", datasets.live_itw)]
)
def test_they_are_those_of_the_table_itself(test_data, name, loaded):
    where = {"KonIQ-10k": "koniq10k/koniq10k_distributions_sets.csv", "LIVE In the Wild": "live_itw/Data"}[name]
    found, rows, *_ = loaded(str(test_data / where), "")
    table = Table(name, KNOWN[name])
    assert (found, len(rows)) == (name, table.pictures)
    for mos in np.linspace(5, 95, 19):
        assert table.percentile(mos) == pytest.approx(100 * np.mean(mos > rows.MOS), abs=0.8)
    assert table.percentile(rows.MOS.median()) == pytest.approx(50, abs=0.8)


def test_the_small_network_is_placed_in_the_table_of_its_intervals():
    small = koniq.load("koncept_lite", engine="openvino")
    assert table_of(small).name == "LIVE In the Wild"
    assert table_of(small).pictures == 1162
    smaller = table_of(small.changed(input_size=(96, 128)))
    assert (smaller.counts, smaller.reason) == (
        (),
        "The weights were calibrated at 384 x 512, and score here at 96 x 128.",
    )


def test_a_map_to_mos_comes_first(tmp_path):
    found = table_of(scorer(tmp_path, to_mos=MAP, trained_on="mine", loss="plcc"))
    assert (found.name, found.counts, found.reason) == ("KonIQ-10k", KNOWN["KonIQ-10k"], "")
    assert table_of(scorer(tmp_path, trained_on="KonIQ-10k", loss="mse")).name == "KonIQ-10k"


def test_where_it_is_not_known_a_sentence_says_so(tmp_path):
    cases = {
        "Nothing beside": scorer(tmp_path, name="bare.safetensors"),
        "How the human scores of mine, all lie": scorer(tmp_path, to_mos=replace(MAP, fitted_on="mine, all")),
        "on a scale of 1 to 5": scorer(tmp_path, to_mos=replace(MAP, scale=Scale(1, 5))),
        "learnt by PLCC loss": scorer(tmp_path, trained_on="KonIQ-10k", loss="plcc"),
    }
    for said, one in cases.items():
        found = table_of(one)
        assert said in found.reason
        assert (found.counts, found.percentile(50)) == ((), None)


def test_the_original_has_no_record_and_is_known_by_name(tmp_path):
    assert table_of(scorer(tmp_path, KONCEPT512, name=ORIGINAL)).name == "KonIQ-10k"
