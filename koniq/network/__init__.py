"""The rating networks: their records, their layers, what builds them in each framework, and their weights.

It knows no pictures, no data and no training. Names are imported when first used, and no framework before it is built.
"""

from importlib import import_module

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


def __getattr__(name: str):
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_HOME[name]}"), name)
