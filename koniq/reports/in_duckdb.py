"""Two tables of scores of any length paired by DuckDB, as koniq.reports.pairing pairs those in memory."""

from collections.abc import Iterator, Sequence

import numpy as np
import pandas as pd

from koniq.data.scale import Scale
from koniq.reports.pairing import KINDS, may_have_moved, whole
from koniq.scoring.in_duckdb import OK, LargeTable
from koniq.scoring.score_tables import ScoreTable

ODD = "(^|/)[.]{0,2}(/|$)"  # a name that os.path.normpath changes, or that is a whole path
PAIR = "image_path, first, second, second - first AS difference"
ORDER = "ORDER BY abs(second - first) DESC, place"


class LargePairs:
    """The pictures that two tables both score, see `koniq.reports.pairing.Pairs`.

    Pictures are paired by the MD5 of what `koniq.reports.pairing.keys` has of them: 16 bytes a picture in place of a
    path, of any length, so that those of ten million lie in memory.
    """

    def __init__(
        self,
        tables: Sequence[ScoreTable | LargeTable],
        abouts: Sequence[dict],
        scales: Sequence[Scale | None] = (None, None),
        by_name: bool = False,
    ):
        self._database = next(table for table in tables if isinstance(table, LargeTable)).another_database()
        for side, table, scale in zip("ab", tables, scales, strict=True):
            self._define(side, table, scale)
        roots = [about.get("roots", []) for about in abouts]
        self._on_disk = any(len(side) > 1 for side in roots)  # where a picture lies; asked once
        names = ["image_path", "image_path"]
        paths = [*map(self._whole, "ab", roots)] if all(roots) else names
        self.counts = self._join(paths, by_name)
        matched = sum(self.counts[kind] for kind in KINDS[:4])
        if all(roots) and may_have_moved(roots) and (by_name or not matched) and not self._any_in_both():
            common = {*roots[0]} & {*roots[1]}
            below = [f"CASE WHEN contains(image_path, '/') THEN image_path ELSE {path} END" for path in paths]
            self.counts = self._join(names if common else below, by_name)
        self.first, self.second = (
            self._database.numbers(f"SELECT {name} FROM pairs ORDER BY place", np.float64, len(self))
            for name in ("first", "second")
        )

    def __len__(self) -> int:
        return self.counts[KINDS[0]]

    def _define(self, side: str, table: ScoreTable | LargeTable, scale: Scale | None) -> None:
        """Have a table as the view a_rows or b_rows: place, image_path, mos (NULL without a score)."""
        name = f"{side}_scores"
        if isinstance(table, LargeTable):
            table.define(self._database, name)
        else:
            frame = table.frame[["image_path", "MOS", "status"]].assign(place=np.arange(len(table)))
            self._database.connection.register(f"{name}_in_memory", frame)
            self._database(f"CREATE TABLE {name} AS SELECT * FROM {name}_in_memory")
        mos = f"(MOS - {scale.low!r}) * 100 / {scale.high - scale.low!r}" if scale and not scale.is_usual else "MOS"
        self._database(
            f"CREATE VIEW {side}_rows AS SELECT place, image_path, CASE WHEN {OK} THEN {mos} END AS mos FROM {name}"
        )

    def _whole(self, side: str, roots: Sequence[str]) -> str:
        """The whole path of image_path, in SQL; by Python, where it is more than put behind the one root."""
        function = f"whole_{side}"
        self._database.connection.create_function(
            function, lambda name: whole(name, roots), ["VARCHAR"], "VARCHAR", side_effects=True
        )
        if len(roots) > 1:
            return f"{function}(image_path)"
        root = whole("", roots).rstrip("/").replace("'", "''")
        return (
            f"CASE WHEN regexp_matches(ltrim(image_path, '/'), '{ODD}') THEN {function}(image_path) "
            f"WHEN starts_with(image_path, '/') THEN image_path ELSE '{root}/' || image_path END"
        )

    def _join(self, keys: Sequence[str], by_name: bool) -> dict[str, int]:
        """Pair the rows by these expressions, into the tables `matched` and `pairs`. Returns how many of each kind."""
        one = self._database.one
        for side, key in zip("ab", keys, strict=True):
            found = f"SELECT place, mos, md5_number({key}) AS key FROM {side}_rows"
            if self._on_disk:
                self._database(f"CREATE OR REPLACE TABLE {side}_found AS {found}")
                found = f"FROM {side}_found"
            self._database(f"CREATE OR REPLACE VIEW {side}_keys AS {found}")
        for side in "ab":
            named = self._by_name(side) if by_name else f"FROM {side}_keys"
            self._database(f"CREATE OR REPLACE VIEW {side}_named AS {named}")
        twice = [one(f"SELECT count(*) - count(DISTINCT key) FROM {side}_named") for side in "ab"]
        for side in "ab":
            nth = self._nth(side) if any(twice) else f"FROM {side}_named"
            self._database(f"CREATE OR REPLACE VIEW {side}_nth AS {nth}")
        self._database(
            "CREATE OR REPLACE TABLE matched AS SELECT a.place, a.mos AS first, b.mos AS second FROM a_nth a "
            f"JOIN b_nth b USING (key{', nth' * any(twice)})"
        )
        self._database("CREATE OR REPLACE VIEW pairs AS FROM matched WHERE first IS NOT NULL AND second IS NOT NULL")
        scored = [
            one(f"SELECT count(*) FROM matched WHERE first IS {a} NULL AND second IS {b} NULL")
            for a, b in (("NOT", "NOT"), ("NOT", ""), ("", "NOT"), ("", ""))
        ]
        alone = [one(f"SELECT count(*) FROM {side}_rows") - sum(scored) for side in "ab"]
        return dict(zip(KINDS, [*scored, *alone], strict=True))

    def _any_in_both(self) -> bool:
        return bool(self._database.one("SELECT count(*) FROM (FROM a_keys SEMI JOIN b_keys USING (key) LIMIT 1)"))

    def _by_name(self, side: str) -> str:
        """The keys; where one is in one table only, that of the file's name, if it is that of one such row."""
        other = {"a": "b", "b": "a"}[side]
        self._database(
            f"""
            CREATE OR REPLACE TABLE {side}_alone AS SELECT min(place) AS place, md5_number(chr(0) || name) AS key FROM (
                SELECT place, split_part(image_path, '/', -1) AS name FROM {side}_rows
                SEMI JOIN (FROM {side}_keys ANTI JOIN {other}_keys USING (key)) USING (place)
            ) GROUP BY name HAVING count(*) = 1
            """
        )
        return (
            f"SELECT place, mos, coalesce(alone.key, keys.key) AS key FROM {side}_keys keys "
            f"LEFT JOIN {side}_alone alone USING (place)"
        )

    def _nth(self, side: str) -> str:
        """The keys, and of those that are there more than once the how manieth it is, in the order of the table."""
        self._database(
            f"CREATE OR REPLACE TABLE {side}_twice AS SELECT key FROM {side}_named GROUP BY key HAVING count(*) > 1"
        )
        return f"""
            SELECT place, mos, key, 1 AS nth FROM {side}_named ANTI JOIN {side}_twice USING (key)
            UNION ALL SELECT place, mos, key, row_number() OVER (PARTITION BY key ORDER BY place) AS nth
            FROM {side}_named SEMI JOIN {side}_twice USING (key)
        """

    def most_different(self, count: int) -> pd.DataFrame:
        first = f"(FROM pairs {ORDER} LIMIT {count})"
        return self._database(f"SELECT {PAIR} FROM {first} JOIN a_rows USING (place) {ORDER}").df()

    def pieces(self) -> Iterator[pd.DataFrame]:
        found = self._database.pieces(f"SELECT {PAIR} FROM pairs JOIN a_rows USING (place) {ORDER}")
        return (piece.to_pandas() for piece in found)
