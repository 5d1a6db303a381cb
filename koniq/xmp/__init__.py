"""XMP beside pictures: sidecars read, changed in a few properties and in nothing else, and put back.

It knows no network and no page. No picture is ever opened for writing. Open tagging.py first, then packets.py.

Names are imported when first used.
"""

from koniq.ground.lazy import names_of

_HOME = {
    "NAMESPACE": "packets",
    "Packet": "packets",
    "Tagging": "tagging",
    "XmpError": "packets",
    "rating": "sidecars",
    "sidecar": "sidecars",
    "stars": "tagging",
    "tag": "tagging",
    "undo": "undoing",
}
__all__ = [*_HOME]
__getattr__ = names_of(__name__, _HOME)
