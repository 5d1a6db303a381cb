"""What a network is worth: tested, calibrated, diagnosed, tried on distortions and on what it never saw.

It trains nothing. Open testing.py first.

Names are imported when first used.
"""

from koniq.ground.lazy import names_of

_HOME = {
    "calibrate": "calibrating",
    "conclude": "ending",
    "diagnose": "diagnosis",
    "evaluate": "testing",
    "test_report": "testing",
    "verify": "verifying",
}
__all__ = [*_HOME]
__getattr__ = names_of(__name__, _HOME)
