"""How good scores are: metrics with intervals, maps to the MOS scale, intervals about scores, and what of it is kept.

It knows no picture and computes no score. Open metrics.py first.

Names are imported when first used.
"""

from koniq.ground.lazy import names_of

_HOME = {
    "Calibration": "calibration",
    "Intervals": "conformal",
    "METRICS": "metrics",
    "agreement": "metrics",
    "difference": "metrics",
    "fit": "calibration",
    "mean_interval": "metrics",
    "measure": "metrics",
    "over_seeds": "metrics",
}
__all__ = [*_HOME]
__getattr__ = names_of(__name__, _HOME)
