"""The study: KonCept512, its data sets, its one prediction loop, its metrics and its reports.

From Python, `koniq.load` gives what scores pictures: see koniq.scoring.scorer. Names are imported when first used.
"""

from typing import TYPE_CHECKING

from koniq.ground.lazy import names_of

if TYPE_CHECKING:
    from koniq.ground.errors import InputError, RunStopped
    from koniq.scoring.score import Score
    from koniq.scoring.scorer import Scorer, load

__version__ = "0.1.0"

_HOME = {
    "InputError": "ground.errors",
    "RunStopped": "ground.errors",
    "Score": "scoring.score",
    "Scorer": "scoring.scorer",
    "load": "scoring.scorer",
}
__all__ = ["InputError", "RunStopped", "Score", "Scorer", "load"]
__getattr__ = names_of(__name__, _HOME)
