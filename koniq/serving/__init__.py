"""Scores for whoever asks by HTTP: a page, an API, batches formed across requests.

It knows no file of its clients' but what they send. Open in_fastapi.py first, then batching.py.

Names are imported when first used.
"""

from koniq.ground.lazy import names_of

_HOME = {
    "Batches": "batching",
    "Full": "batching",
    "Gate": "limits",
    "Limits": "limits",
    "Refused": "limits",
    "Running": "in_uvicorn",
    "Server": "in_fastapi",
    "Table": "standing",
    "application": "in_fastapi",
    "table_of": "standing",
}
__all__ = [*_HOME]
__getattr__ = names_of(__name__, _HOME)
