"""The study: its matrix, the recipes of its rows, what was measured, and the tables and figures of it.

It starts trainings as processes, and knows nothing of how they train. Open recipes.py first.

Names are imported when first used.
"""

from koniq.ground.lazy import names_of

_HOME = {
    "RECIPES": "recipes",
    "Row": "recipes",
    "measurements": "results",
    "record": "results",
    "replicate": "matrix",
}
__all__ = [*_HOME]
__getattr__ = names_of(__name__, _HOME)
