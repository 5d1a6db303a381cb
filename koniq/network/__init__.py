"""The rating networks: their records, their layers, what builds them in each framework, and their weights.

It knows no pictures, no data and no training. Names are imported when first used, and no framework before it is built.
"""

from koniq.ground.lazy import names_of

_HOME = {
    "KONCEPT512": "spec",
    "KONCEPT_LITE": "spec",
    "NETWORKS": "spec",
    "TOLERANCE": "spec",
    "Network": "spec",
    "find": "finding",
    "find_or_default": "finding",
    "load": "weights",
    "network_of": "sidecar",
    "read_state": "weights",
    "title": "sidecar",
    "write_state": "weights",
}
__all__ = [*_HOME]
__getattr__ = names_of(__name__, _HOME)
