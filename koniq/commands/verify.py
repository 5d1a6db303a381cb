"""Whether published figures come out: of the original KonCept512 and of the study's weights, on the sets they are of.

python -m koniq fetch koniq10k live_itw koncept512/original    # what it takes; koncept512 alone: the study's, too
python -m koniq verify
python -m koniq verify --weights my_copy.h5 --images koniq10k/512x384 --table koniq10k_distributions_sets.csv

Every test picture is scored once for each weights, in float32 and without a map to MOS, and SRCC, PLCC, MAE and RMSE
are set beside the published ones, each with a tolerance and its reason. Where one does not come out, the colour order,
the resize and the weights are looked at, and the cause is named. What is not on disk is left out, and a line says so.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import tyro

from koniq.commands.choices import How
from koniq.data import datasets
from koniq.data.published import CLAIMS, Claim
from koniq.evaluation.verifying import NOT_CHECKED, verify
from koniq.fetch.sources import ITEMS
from koniq.ground import InputError, RunStopped
from koniq.ground.log import LOG
from koniq.ground.paths import HOME, RESULTS, TRAINED_MODELS
from koniq.ground.typed import command
from koniq.network.finding import ORIGINAL, find
from koniq.scoring import Scorer


@dataclass(frozen=True)
class Settings:
    weights: str = ""  # the original's file, if not in trained_models
    table: str = ""  # KonIQ-10k's table, if not in koniq/metadata
    images: str = ""  # the folder of its pictures, if not in koniq/images
    live_table: str = ""  # the folder of LIVE In the Wild's tables, if not in koniq/metadata
    live_images: str = ""  # the folder of its pictures, if not in koniq/images
    live: bool = True  # LIVE In the Wild as well, if it is there
    rows: bool = True  # the study's own weights as well, those of them that are in trained_models
    how: tyro.conf.OmitArgPrefixes[How] = How(precision="float32", dct_scaling=False)
    out: Path = RESULTS / "verify"  # the folder of the results and the scores; a later run goes on with these


def main(s: Settings) -> None:
    places = {"koniq10k": (s.table, s.images), "live_itw": (s.live_table, s.live_images)}
    if not s.live:
        places.pop("live_itw")
    data = {name: datasets.load(name, *place, True) for name, place in places.items() if _is_there(name, *place)}
    claims = [(claim, path) for claim, path in _with_weights(s) if claim.dataset in data]
    if not claims:
        raise InputError(
            "Weights should be there, and rated pictures that figures of them are published of. Received: none, or "
            f"none that go together; {command('fetch koniq10k live_itw koncept512/original')} gets both"
        )
    for rated in data.values():
        LOG.info(rated.summary())

    def load(path: Path, claim: Claim, pictures: Sequence[Path]) -> Scorer:
        how = replace(s.how, resize=s.how.resize or claim.resize)
        return how.load(path, pictures, calibrate=False, intervals=False)

    outcomes = verify(claims, data, load, s.out)
    wrong = [outcome for outcome in outcomes if not outcome.came_out]
    LOG.info(f"{len(outcomes) - len(wrong)} of {len(outcomes)} came out; {s.out / 'verify.md'} and verify.csv say all")
    if wrong and all(outcome.cause == NOT_CHECKED for outcome in outcomes):
        raise InputError(wrong[0].verdict)
    if wrong:
        titles = "; ".join(f"{one.claim.model} on {one.data}: {one.verdict}" for one in wrong)
        raise RunStopped(f"Published figures of {len(wrong)} of {len(outcomes)} do not come out. {titles}")


def _is_there(name: str, table: str, images: str) -> bool:
    """Whether a data set is to be gone by: it was named, or its pictures' usual folder is there."""
    (folder,) = (HOME / part.target for part in ITEMS[name].parts if part.kind == "pictures")
    if not (table or images or folder.is_dir()):
        LOG.info(f"Left out: {name}, whose pictures would lie in {folder}; {command(f'fetch {name}')} gets it")
        return False
    return True


def _with_weights(s: Settings) -> Iterator[tuple[Claim, Path]]:
    """The claims whose weights are there, and these."""
    absent = {}
    for claim in CLAIMS:
        if claim.weights != ORIGINAL and not s.rows:
            continue
        if claim.weights == ORIGINAL and s.weights:
            yield claim, find(s.weights)
        elif (path := TRAINED_MODELS / claim.weights).is_file():
            yield claim, path
        else:
            absent[claim.weights] = claim.model
    if absent:
        rows = "; ".join(f"{model} ({name})" for name, model in absent.items())
        LOG.info(f"Left out, as not in {TRAINED_MODELS}: {rows}; {command('fetch koncept512')} gets them")
