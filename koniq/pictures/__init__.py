"""Pictures: which ones, opened as a network takes them, or the reason why not; and many of them kept for training.

It knows no score and no engine. Open decoding.py first.

Names are imported when first used.
"""

from koniq.ground.lazy import names_of

_HOME = {
    "EpochPlan": "order",
    "Input": "inputs",
    "Inputs": "inputs",
    "Opened": "decoding",
    "Pictures": "memory",
    "Prepared": "prepared",
    "as_seen": "decoding",
    "decode": "decoding",
    "distorted": "distortions",
    "of_training": "memory",
    "prepare": "prepared",
    "prepared_path": "prepared",
}
__all__ = [*_HOME]
__getattr__ = names_of(__name__, _HOME)
