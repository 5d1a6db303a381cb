"""Columns of a table, named one by one, in lists or by a function, and the arrays that they make."""

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
import pandas as pd

Columns = str | Sequence[str] | Sequence[Sequence[str]] | Callable[[pd.DataFrame], object] | None


def column_sets(spec: Columns, name: str) -> list[list[str]]:
    """The lists of names in `spec`: one for a name or a flat list, several for a list of lists.

    Raises AssertionError, with the `name` of the argument, where it mixes names and lists.
    """
    if spec is None or callable(spec):
        return []
    names = [spec] if isinstance(spec, str) else list(spec)
    lists = [isinstance(part, (list, tuple)) for part in names]
    if any(lists) and not all(lists):
        raise AssertionError(
            f"{name} should be a list of names, or a list of lists of names. Received: {name}={spec!r}"
        )
    if any(lists):
        return [list(part) for part in names]
    return [names] if names else []


def names_in(spec: Columns) -> list[str]:
    """Every name in `spec`, however nested."""
    if spec is None or callable(spec):
        return []
    if isinstance(spec, str) or not isinstance(spec, Iterable):
        return [spec]
    return [name for part in spec for name in names_in(part)]


def tables(rows: pd.DataFrame, spec: Columns, name: str) -> Any:
    """One float32 array for each list of columns in `spec`, or what a function makes of the rows."""
    if callable(spec):
        return spec(rows)
    return [_table(rows, columns, name) for columns in column_sets(spec, name)]


def _table(rows: pd.DataFrame, columns: list[str], name: str) -> np.ndarray:
    values = rows[columns]
    try:
        if not any(isinstance(cell, (np.ndarray, list, tuple)) for cell in values.iloc[0]):
            return values.to_numpy(np.float32)
        cells = {column: [np.asarray(cell, np.float32) for cell in values[column]] for column in columns}
    except (TypeError, ValueError) as error:
        raise ValueError(f"{name} should be columns of numbers or arrays. Received: {columns} ({error})") from error
    stacks = [stack(arrays, column) for column, arrays in cells.items()]
    return stacks[0] if len(stacks) == 1 else stack(stacks, columns, axis=1)


def stack(arrays: Sequence[np.ndarray], name: str | list[str], axis: int = 0) -> np.ndarray:
    """np.stack; raises ValueError, with the `name` of the column, where the shapes differ."""
    shapes = sorted({np.shape(array) for array in arrays})
    if len(shapes) > 1:
        raise ValueError(
            f"arrays of one batch should share a shape (see input_shape, group_by). "
            f"Received: {name!r} with shapes {shapes}"
        )
    return np.stack(arrays, axis)
