"""What people look at of scores: pages, figures, selections.

It computes no score. Open page.py first.

Names are imported when first used.
"""

from koniq.ground.lazy import names_of

_HOME = {
    "compare": "comparison",
    "report": "lifelog_report",
    "select": "selection",
}
__all__ = [*_HOME]
__getattr__ = names_of(__name__, _HOME)
