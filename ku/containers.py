"""Lists, tuples and dictionaries: made of other things, updated by known keys only, described in a line."""

from collections.abc import Iterable, Iterator, Mapping, MutableMapping, Sequence
from typing import Any

import numpy as np


def force_list(x: Any) -> list:
    """Return a list or tuple as a list, anything else (a str, an array, None) as a list of one."""
    return list(x) if isinstance(x, list | tuple) else [x]


def force_tuple(x: Any) -> tuple:
    """Return `x` as a tuple, by the rule of `force_list`."""
    return tuple(force_list(x))


def chunks(l: Sequence, n: int) -> Iterator[Sequence]:  # noqa: E741
    """Yield successive slices of `n` items of `l`; the last may be shorter."""
    if n < 1:
        raise ValueError(f"n should be positive. Received: n={n}")
    for start in range(0, len(l), n):
        yield l[start : start + n]


def check_keys_exist(new: Iterable[str], old: Iterable[str]) -> None:
    """Raise ValueError naming the keys of `new` that `old` lacks, and those it has."""
    known = set(old)
    if unknown := [key for key in new if key not in known]:
        raise ValueError(f"Parameters should be among {', '.join(sorted(known))}. Received: {', '.join(unknown)}")


def updated_dict(d: Mapping, only_existing: bool = True, **updates) -> dict:
    """Return a copy of `d` with the updates; only_existing leaves out those whose key is not in `d`."""
    return {**d, **{key: value for key, value in updates.items() if key in d or not only_existing}}


def update_config(obj: Any, **kwargs) -> None:
    """Set attributes of `obj` (items of a mapping) that exist; others raise ValueError and nothing is set."""
    if isinstance(obj, MutableMapping):
        check_keys_exist(kwargs, obj)
        obj.update(kwargs)
    else:
        check_keys_exist(kwargs, [name for name in dir(obj) if not name.startswith("_")])
        for key, value in kwargs.items():
            setattr(obj, key, value)


def get_sizes(x: Any, array_marker: str = "array") -> str:
    """Describe nested lists, tuples and arrays by size, as in '([array<2,224,224,3>], [array<2,1>])'."""
    if isinstance(x, list | tuple):
        items = ", ".join(get_sizes(item, array_marker) for item in x)
        return f"[{items}]" if isinstance(x, list) else f"({items})"
    if hasattr(x, "shape") and not isinstance(x, np.generic):
        return f"{array_marker}<{','.join(map(str, x.shape))}>"
    return "<1>"


def trimmed(value: Any) -> str:
    """`value` as one line of text, of 80 characters at most."""
    text = " ".join(str(value).split())
    return text if len(text) <= 80 else f"{text[:77]}..."
