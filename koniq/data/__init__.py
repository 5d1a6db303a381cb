"""What rated pictures there are: data sets, their tables and sets, the scale of their MOS, what was published of them.

It opens no picture and knows no network. Open datasets.py first.

Names are imported when first used.
"""

from koniq.ground.lazy import names_of

_HOME = {
    "DataSet": "datasets",
    "PUBLISHED": "published",
    "RELEASES": "releases",
    "SETS": "rated",
    "Scale": "scale",
    "load": "datasets",
    "read": "datasets",
    "read_table": "rated",
}
__all__ = [*_HOME]
__getattr__ = names_of(__name__, _HOME)
