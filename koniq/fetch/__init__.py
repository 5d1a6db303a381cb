"""Data and weights brought from where they are, checked, and put in place only when right; and what is in place.

It trains and scores nothing. Open sources.py first.

Names are imported when first used.
"""

from koniq.ground.lazy import names_of

_HOME = {
    "ITEMS": "sources",
    "Options": "installation",
    "Report": "inspection",
    "body_weights": "bodies",
    "check": "inspection",
    "ensure": "installation",
    "inspect": "inspection",
    "named": "sources",
}
__all__ = [*_HOME]
__getattr__ = names_of(__name__, _HOME)
