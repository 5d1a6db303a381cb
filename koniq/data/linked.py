"""Rows that pairs lead from one to the other: near copies, moments, groups that share a picture."""

import numpy as np
from scipy import sparse


def parts(count: int, first: np.ndarray, second: np.ndarray) -> np.ndarray:
    """Of each of `count` rows which part it is in: int (count,), 0, 1, ...

    first, second: (pairs,), rows that belong together; so do all that pairs lead to from one another.
    """
    graph = sparse.coo_array((np.ones(len(first), bool), (first, second)), (count, count))
    return sparse.csgraph.connected_components(graph, directed=False)[1]
