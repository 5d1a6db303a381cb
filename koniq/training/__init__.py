"""Networks trained by the study's recipes, in Keras, in PyTorch and through kuti: runs, their stages, how they start.

It knows no table of results. Open run.py first.

Names are imported when first used.
"""

from koniq.ground.lazy import names_of

_HOME = {
    "Run": "run",
    "Statistics": "run",
    "initial": "start",
    "run_name": "run",
}
__all__ = [*_HOME]
__getattr__ = names_of(__name__, _HOME)
