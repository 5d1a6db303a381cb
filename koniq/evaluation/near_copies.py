"""Find near copies: pictures that a network sees as nearly the same become one `group` of the table.

Near copies in training make a test too easy. koniq.data.splits keeps a group in one set, koniq.fetch.inspection names
the groups that are in several, and a test report gives its numbers without them, too. `--column scene --threshold 0.8`
does so for pictures that are alike, such as those of one scene. Groups that the table has already are never taken
apart.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from koniq.data import linked, splits
from koniq.ground.bars import tqdm
from koniq.reports import page

THRESHOLD = 0.95  # cosine; above it are bursts, crops and edits of one photograph, of BIQ2021 and LIVE In the Wild
BLOCK = 1024  # pictures whose cosines to all others are in memory at a time
SHEET = 48  # pairs, two pictures each


@dataclass(frozen=True)
class Pairs:
    """Near copies: `first` and `second` (pairs,) are rows of a table, first < second; `cosine`, how alike they are."""

    first: np.ndarray
    second: np.ndarray
    cosine: np.ndarray

    def touching(self, ones: np.ndarray, others: np.ndarray) -> np.ndarray:
        """Which of the rows `ones` are in a pair with one of the rows `others`; all three bool (rows,)."""
        found = np.zeros(len(ones), bool)
        for here, there in ((self.first, self.second), (self.second, self.first)):
            found[here[ones[here] & others[there]]] = True
        return found


def pairs_of(seen: np.ndarray, threshold: float = THRESHOLD) -> Pairs:
    """The pairs of pictures whose standardised features have a cosine above `threshold`.

    seen: (pictures, features); a picture with a nan is in no pair, and a feature that is the same everywhere says
    nothing. Each feature counts by how far it is from its mean over the pictures, in its standard deviations, so a few
    dozen pictures are needed. Memory: one copy of the features, and BLOCK rows of cosines.
    """
    there = np.flatnonzero(np.isfinite(seen).all(1)) if seen.size else np.empty(0, int)
    units = np.asarray(seen[there], np.float32)
    if len(units):
        units -= units.mean(0, dtype=np.float64).astype(np.float32)
        spread = units.std(0, dtype=np.float64).astype(np.float32)
        units /= np.where(spread > 1e-6 * spread.max(initial=0), spread, np.inf)
        length = np.linalg.norm(units, axis=1, keepdims=True)
        units /= np.where(length > 0, length, np.inf)
    found = []
    for start in tqdm(range(0, len(units), BLOCK), desc="comparing", unit="block", disable=None, leave=False):
        cosines = units[start : start + BLOCK] @ units[start:].T
        first, second = np.nonzero(np.triu(cosines > threshold, 1))
        found.append((first + start, second + start, cosines[first, second]))
    columns = [np.concatenate(column) for column in zip(*found, strict=True)] if found else [np.empty(0, int)] * 3
    return Pairs(there[columns[0].astype(int)], there[columns[1].astype(int)], columns[2].astype(np.float32))


def grouped(count: int, pairs: Pairs, before: Sequence | None = None) -> np.ndarray:
    """The group of each of `count` rows, 1, 2, ... in their order, nan for a row by itself: float (count,).

    Two rows are in one group if pairs lead from one to the other. before: groups that are known already, such as
    scenes, whose rows stay together; None or nan is a row without one.
    """
    known = pd.Series(before, dtype=object) if before is not None else pd.Series([None] * count, dtype=object)
    rows = np.flatnonzero(known.notna())
    of_known = count + pd.factorize(known[rows])[0]  # a group is a node, too
    first, second = np.concatenate([pairs.first, rows]), np.concatenate([pairs.second, of_known])
    nodes = count + len(rows)
    part = pd.Series(linked.parts(nodes, first, second)[:count])
    several = part.duplicated(keep=False)
    numbers = pd.Series(np.nan, part.index)
    numbers[several] = pd.factorize(part[several])[0] + 1.0
    return numbers.to_numpy()


def summary(ids: pd.DataFrame, column: str, pairs: Pairs, threshold: float) -> Iterator[str]:
    """What was found, a line each. ids: a table with the groups in `column`, and maybe `set` and `subset`."""
    counts = ids[column].value_counts()
    largest = f", the largest of {counts.max():,}" if len(counts) else ""
    yield (
        f"{len(ids):,} pictures: {len(counts):,} groups of near copies (cosine above {threshold:g}) with "
        f"{counts.sum():,} pictures{largest}"
    )
    if "set" not in ids:
        return
    yield f"{len(splits.across(ids, column)):,} of the groups are in several sets"
    test = (ids.set == "test").to_numpy()
    if not test.any() or test.all():
        return
    leaks = pairs.touching(test, ~test)
    by = "".join(f"; subset {name}: {leaks[rows].sum():,}" for name, rows in _subsets(ids))
    yield f"{leaks.sum():,} of the {test.sum():,} test pictures have a near copy in training or validation{by}"


def _subsets(ids: pd.DataFrame) -> Iterator[tuple[object, np.ndarray]]:
    for name in sorted(ids.subset.dropna().unique()) if "subset" in ids else ():
        yield name, (ids.subset == name).to_numpy()


def sheet(ids: pd.DataFrame, pairs: Pairs, folder: Path) -> bytes:
    """PNG of pairs side by side, for a person to judge the threshold by: half the closest, half the least close.

    Pairs in several sets come before others.
    """
    order = np.argsort(-pairs.cosine, kind="stable")
    if "set" in ids:
        sets = ids.set.to_numpy()
        order = order[np.argsort(sets[pairs.first[order]] == sets[pairs.second[order]], kind="stable")]
        apart = int((sets[pairs.first] != sets[pairs.second]).sum())
        order = order[:apart] if apart >= SHEET else order
    chosen = order if len(order) <= SHEET else np.concatenate([order[: SHEET // 2], order[-SHEET // 2 :]])
    cells = []
    for pair in chosen:
        for row in (pairs.first[pair], pairs.second[pair]):
            picture = ids.iloc[row]
            caption = f"{pairs.cosine[pair]:.3f}" + (f", {picture.set}" if "set" in ids else "")
            cells.append(page.cell(str(picture.image_path.relative_to(folder)), (caption,), (str(folder),)))
    return page.draw_sheet(cells)
