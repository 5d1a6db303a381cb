"""A table's column that says which set each row is in, drawn at random."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from ku.files import atomic_path

if TYPE_CHECKING:
    import pandas as pd

SETS = ("training", "validation", "test")


def get_train_test_sets(
    ids: "pd.DataFrame",
    stratify_on: str = "MOS",
    test_size: tuple[float, float] = (0.2, 0.2),
    save_path: str | Path | None = None,
    show_histograms: bool = False,
    stratify: bool = False,
    random_state: int | np.random.Generator | None = None,
) -> "pd.DataFrame":
    """A copy of `ids` with the column `set`, drawn at random: training, validation or test.

    Args:
        test_size: shares (below 1) or numbers of rows for (validation, test).
        save_path: CSV to which the table is written.
        show_histograms: draw `stratify_on` for each set.
        stratify: take the sets evenly from the 10 quantile bins of `stratify_on`.
        random_state: a seed or a Generator.
    """
    n = len(ids)
    held_out = [size if isinstance(size, (int, np.integer)) else round(size * n) for size in test_size]
    if len(held_out) != 2 or min(held_out) < 0 or sum(held_out) >= n:
        raise ValueError(
            f"test_size should be (validation, test) and leave some of the {n} rows. Received: {test_size=}"
        )
    counts = [n - sum(held_out), *held_out]
    # Each set's rows stand evenly spread along the order, so that any stretch of it holds its share of each.
    places = np.concatenate([(np.arange(count) + 0.5) / count for count in counts if count])
    sets = np.repeat(SETS, counts)[np.argsort(places, kind="stable")]
    by_value = np.argsort(ids[stratify_on].to_numpy(), kind="stable") if stratify else np.arange(n)
    bins = np.arange(n) * (10 if stratify else 1) // n
    order = by_value[np.lexsort((np.random.default_rng(random_state).random(n), bins))]
    ids = ids.assign(set=sets[np.argsort(order)])
    if save_path is not None:
        with atomic_path(save_path) as path:
            ids.to_csv(path, index=False)
    if show_histograms:
        import matplotlib.pyplot as plt

        _, axes = plt.subplots()
        edges = np.histogram_bin_edges(ids[stratify_on], 30)
        for name in SETS:
            axes.hist(ids.loc[ids["set"] == name, stratify_on], edges, density=True, histtype="step", label=name)
        axes.set(xlabel=stratify_on, ylabel="density")
        axes.legend()
        plt.show()
    return ids


def partition_rows(
    t: "pd.DataFrame",
    test_size: float = 0.2,
    set_name: str = "set",
    set_values: Sequence[str] = ("training", "test"),
    random_state: int | np.random.Generator | None = None,
    copy: bool = True,
) -> "pd.DataFrame":
    """Return `t` with the column `set_name`, which says for each row which of the two `set_values` it is in.

    test_size: rows drawn for the second set, a float as the share of all, an int as their number.
    copy: False writes the column into `t` itself.
    """
    count = test_size if isinstance(test_size, int | np.integer) else round(test_size * len(t))
    if not 0 <= count <= len(t):
        raise ValueError(f"test_size should be a share or at most the {len(t)} rows. Received: test_size={test_size}")
    first, second = set_values
    in_test = np.random.default_rng(random_state).permutation(len(t)) < count
    t = t.copy() if copy else t
    t[set_name] = np.where(in_test, second, first)
    return t
