"""Scores of pictures: the one prediction loop, and the CSV that nothing is lost from.

It knows no training and no page. Open loop.py first.

Names are imported when first used.
"""

from koniq.ground.lazy import names_of

_HOME = {
    "Score": "loop",
    "ScoreFile": "score_file",
    "is_ours": "score_file",
    "predict": "loop",
    "read": "score_file",
    "score": "lifelog",
}
__all__ = [*_HOME]
__getattr__ = names_of(__name__, _HOME)
