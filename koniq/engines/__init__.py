"""What computes scores: one engine is decided on for the weights, and then started, whatever it is made of.

It knows no scores, no tables and no pages. Names are imported when first used, and a framework when its engine starts.
"""

from koniq.ground.lazy import names_of

_HOME = {
    "DeviceName": "plan",
    "Engine": "engine",
    "EngineName": "plan",
    "Plan": "plan",
    "Precision": "plan",
    "convert": "conversion",
    "decide": "plan",
    "numbers": "engine",
    "scored_by": "plan",
    "to_litert": "conversion",
    "to_onnx": "conversion",
}
__all__ = [*_HOME]
__getattr__ = names_of(__name__, _HOME)
