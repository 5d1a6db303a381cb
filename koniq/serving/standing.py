"""Where a score stands among the human scores of the table that its weights were calibrated by."""

from bisect import bisect_right
from dataclasses import dataclass, field
from itertools import accumulate
from pathlib import Path

from koniq.data.published import KONIQ10K_MOS, LIVE_ITW_MOS, STUDY_WEIGHTS
from koniq.data.scale import FREE, Scale
from koniq.measure import conformal
from koniq.network import Network, sidecar
from koniq.network.finding import ORIGINAL
from koniq.scoring.scorer import Scorer

# By what a record calls them: how many pictures have a MOS in each of 50 bins from 0 to 100.
KNOWN = {"KonIQ-10k": KONIQ10K_MOS, "LIVE In the Wild": LIVE_ITW_MOS}


@dataclass(frozen=True)
class Table:
    """The human scores of a table, as far as they are known here; or why no score can be placed among them."""

    name: str = ""  # "" if it is not known which table it is
    counts: tuple[int, ...] = ()  # pictures in bins of equal width from 0 to 100; none where `reason` says why
    reason: str = ""
    _below: tuple[int, ...] = field(init=False, repr=False, default=())

    def __post_init__(self):
        object.__setattr__(self, "_below", (0, *accumulate(self.counts)))

    @property
    def pictures(self) -> int:
        """How many it has."""
        return sum(self.counts)

    def percentile(self, mos: float) -> float | None:
        """The percentage (0 to 100) of its pictures with a lower MOS, taken as even within a bin; None if not known."""
        if not self.counts:
            return None
        width = 100 / len(self.counts)
        edges = [width * number for number in range(len(self.counts) + 1)]
        at = bisect_right(edges, mos) - 1
        if at < 0 or at >= len(self.counts):
            return 0.0 if at < 0 else 100.0
        below = self._below[at] + self.counts[at] * (mos - edges[at]) / width
        return 100 * below / self.pictures


def table_of(scorer: Scorer) -> Table:
    """The table that calibrated what a scorer scores by.

    It is the one that its map to MOS was fitted on; without one, the one that intervals were made on; without them, the
    one that was trained on. Released weights without a record are known by name.
    """
    weights, record = Path(scorer.plan.weights), sidecar.record(scorer.plan.weights)
    to_mos = scorer.to_mos
    if not record and weights.name in (ORIGINAL, *STUDY_WEIGHTS.values()):
        record = {"trained_on": "KonIQ-10k"}
    name = to_mos.fitted_on if to_mos else record.get(conformal.KEY, {}).get("made_on") or record.get("trained_on", "")
    if not name:
        return Table(reason="Nothing beside the weights says which table they were calibrated by.")
    known = next((table for table in KNOWN if name.startswith(table)), "")
    if reason := _reason(name, known, record, scorer):
        return Table(known or name, reason=reason)
    return Table(known, KNOWN[known])


def _reason(name: str, known: str, record: dict, scorer: Scorer) -> str:
    """Why scores cannot be placed among a table's; "" if they can."""
    scale, network = scorer.to_mos.scale if scorer.to_mos else Scale.of(record), scorer.network
    if not known:
        return f"How the human scores of {name} lie is not known here."
    if not scale.is_usual:
        return f"The scores are on a scale of {scale}, and those of {known} on {Scale()}."
    if not scorer.to_mos and record.get("loss") in FREE:
        return f"The network learnt by {FREE[record['loss']]}, so that without a calibration its scores are no MOS."
    if "input_size" in record and (*record["input_size"],) != network.input_size and not scorer.to_mos:
        return f"The weights were calibrated at {_size(record['input_size'])}, and score here at {_size(network)}."
    return ""


def _size(found: list[int] | Network) -> str:
    return " x ".join(map(str, found.input_size if isinstance(found, Network) else found))
