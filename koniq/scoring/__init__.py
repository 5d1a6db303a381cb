"""Scores of pictures: the one prediction loop, and the CSV that nothing is lost from.

It knows no training and no page. Open scorer.py first, then loop.py.

Names are imported when first used.
"""

from koniq.ground.lazy import names_of

_HOME = {
    "Score": "score",
    "ScoreFile": "score_file",
    "Scorer": "scorer",
    "is_ours": "score_file",
    "load": "scorer",
    "predict": "loop",
    "read": "score_file",
}
__all__ = [*_HOME]
__getattr__ = names_of(__name__, _HOME)
