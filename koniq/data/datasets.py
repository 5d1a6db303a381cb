"""The rated data sets: KonIQ-10k, LIVE In the Wild, BIQ2021, the built-in sample, and any table of one's own.

A table has image_name, MOS and set. It may have `group`, for pictures that are nearly the same, `scene`, for those that
are alike (the command `group` makes both), and `subset`, for kinds of pictures that reports give apart.
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path, PurePath

import pandas as pd
from PIL import Image

from koniq.data import sample, splits
from koniq.data.rated import SETS, _once, read_table
from koniq.data.releases import BIQ_TABLES, LIVE_TABLES, RATER_TRAINING, RELEASES
from koniq.data.scale import USUAL, Scale, given, guess
from koniq.ground import InputError, first_few, tables
from koniq.ground.paths import IMAGES, METADATA, NEAR_COPIES
from koniq.ground.typed import command
from ku.files import shown

VALIDATION = (0.9, 0.1)  # shares of training and validation, where a release has training and test alone
SEED = 1  # of that division, and of LIVE-itW's: the same for everybody, for ever
LIVE_SETS, LIVE_SHARES = ("training", "calibration", "test"), (0.7, 0.1, 0.2)  # of what is trained on it, see below


@dataclass(frozen=True)
class DataSet:
    """Rated pictures. `ids`: image_name, MOS, set, image_path and what else the table has, a row a picture."""

    name: str  # as reports call it
    ids: pd.DataFrame
    absent: tuple[str, ...] = ()  # pictures of the table that are not on disk
    repeated: tuple[str, ...] = ()  # pictures that the table names more than once, each of which has one row here
    label: str = (
        "MOS"  # what the scores are: "MOS", "synthetic MOS", or "scores of ..." a network, see koniq.training.teacher
    )
    folder: Path | None = None  # of its pictures
    scale: Scale = USUAL  # that its MOS are on
    skips: bool = False  # whether pictures that are not there, or do not open, may be left out
    broken: tuple[str, ...] = ()  # pictures of the table that do not open, and were left out
    note: str = ""  # what was done to its table, for the summary
    teacher: Mapping[str, object] | None = None  # where its scores are a network's: what they depend on

    @property
    def of_table(self) -> int:
        """How many pictures the table names, those that were left out among them."""
        return len(self.ids) + len(self.absent) + len(self.broken)

    def without(self, broken: Iterable[str]) -> "DataSet":
        """The same without pictures that do not open, which it counts."""
        broken = tuple(broken)
        ids = self.ids[~self.ids.image_name.isin(broken)].reset_index(drop=True)
        return replace(self, ids=ids, broken=(*self.broken, *broken))

    def has(self, name: str) -> bool:
        """Whether there are pictures in a set."""
        return bool((self.ids.set == name).any())

    def part(self, name: str) -> pd.DataFrame:
        """The rows of one set. Raises InputError if there are none."""
        rows = self.ids[self.ids.set == name].reset_index(drop=True)
        if rows.empty:
            found = self.ids.set.value_counts().to_dict()
            raise InputError(f"{self.name} should have pictures in its set {name!r}. Received: {found}")
        return rows

    def summary(self) -> str:
        """One line: the name, the number of pictures by set, and how many of the table are not there."""
        counts = self.ids.set.value_counts()
        parts = ", ".join(f"{counts[name]:,} {name}" for name in SETS if name in counts)
        absent = f"; {len(self.absent):,} of the table's {self.of_table:,} are not there" if self.absent else ""
        broken = f"; {len(self.broken):,} of the table's {self.of_table:,} do not open" if self.broken else ""
        again = f"; named more than once, taken once: {first_few(self.repeated)}" if self.repeated else ""
        label = self.label if self.scale.is_usual else f"{self.label} from {self.scale}"
        note = f"; {self.note}" if self.note else ""
        return f"{self.name}: {parts} ({label}){absent}{broken}{again}{note}"


def origin(label: str) -> str:
    """Where labels come from that no person gave: what they do, as a part of sentences on them."""
    return "follow from known distortions" if label.startswith("synthetic") else "are another network's scores"


def load(
    dataset: str,
    table: str = "",
    images: str = "",
    skip_missing: bool = False,
    scale: Sequence[float] | None = None,
) -> DataSet:
    """A data set by name ("koniq10k", "live_itw", "biq2021", "sample") or from a CSV with image_name, MOS, set.

    `table` and `images` say where its table (for LIVE-itW and BIQ2021: the folder of their tables) and its pictures
    lie, if not in the usual place. Names are matched to files whatever their letter case. scale: the lowest and the
    highest MOS of an own table, if `koniq.data.scale.guess` does not tell. Raises InputError if the table or the folder
    is not there, a column is missing or wrong, or pictures are missing and `skip_missing` is not set. Whether pictures
    open is seen when they are read: `skip_missing` is kept for then.
    """
    name, ids, folder, label = read(dataset, table, images)
    if not folder.is_dir():
        raise InputError(
            f"The pictures of {name} should lie in {folder}, which is not there{_HOW_TO_GET.get(dataset, '')}."
        )
    ids, repeated = _once(ids, name)
    ids = ids.assign(image_path=found(ids.image_name, folder))
    absent = tuple(ids.image_name[ids.image_path.isna()])
    if absent and (len(absent) == len(ids) or not skip_missing):
        hint = "" if len(absent) == len(ids) else " Give --skip-missing to go on without them."
        raise InputError(
            f"{folder} should hold the {len(ids):,} pictures of {name}'s table, and {len(absent):,} of them are "
            f"not there ({first_few(absent)}).{hint}"
        )
    known = USUAL if dataset in READERS else guess(ids.MOS.to_numpy(float))
    ids = ids[ids.image_path.notna()].reset_index(drop=True)
    note = NOTES.get(dataset, "")
    return DataSet(name, ids, absent, repeated, label, folder, given(scale) or known, skip_missing, note=note)


def read(dataset: str, table: str = "", images: str = "") -> tuple[str, pd.DataFrame, Path, str]:
    """What `load` starts from: the name, the rows of the table, the folder of the pictures, what the scores are."""
    reader = READERS.get(dataset)
    if reader is None and not dataset.lower().endswith(".csv"):
        raise InputError(
            f"dataset should be one of {', '.join(READERS)} or a .csv table. Received: dataset={dataset!r}"
        )
    return reader(table, images) if reader else _own_table(dataset, images)


def found(names: Iterable[str], folder: Path) -> list[Path | None]:
    """Where each picture lies, None for those that are not there; a name may lead into a folder within.

    Letter case is overlooked, backslashes may stand for slashes, and the ending of a picture may be left out. Raises
    InputError where several pictures differ in the ending alone.
    """
    paths = list(folder.iterdir())
    exact, folded = {path.name: path for path in paths}, {path.name.casefold(): path for path in paths}
    without = cache(_without_ending)

    def place(name: str) -> Path | None:
        for way in tables.spellings(name):
            path = exact.get(way) or folded.get(way.casefold()) or folder / way
            if path.exists():
                return path
        if PurePath(name).suffix.lower() in Image.registered_extensions():
            return None
        path = folder / name.replace("\\", "/")
        fitting = without(path.parent).get(path.name.casefold(), [])
        if len(fitting) > 1:
            raise InputError(
                f"A name without its ending should fit one picture in {path.parent}. Received: {name}, which fits "
                f"{first_few(sorted(path.name for path in fitting))}; give the names with their endings"
            )
        return fitting[0] if fitting else None

    return [place(name) for name in names]


def _without_ending(folder: Path) -> dict[str, list[Path]]:
    """The pictures in a folder by their names without ending, in lower case."""
    found = defaultdict(list)
    for path in folder.iterdir() if folder.is_dir() else ():
        if path.suffix.lower() in Image.registered_extensions():
            found[path.stem.casefold()].append(path)
    return found


def koniq10k(table: str = "", images: str = "") -> tuple[str, pd.DataFrame, Path, str]:
    """KonIQ-10k (Hosu et al., arXiv 1910.06180), from `koniq10k_distributions_sets.csv` and its 512x384 pictures."""
    path = Path(table or METADATA / "koniq10k_distributions_sets.csv")
    ids = read_table(path, "KonIQ-10k", _HOW_TO_GET["koniq10k"])
    return "KonIQ-10k", ids, Path(images or IMAGES / "512x384"), "MOS"


def live_itw(table: str = "", images: str = "") -> tuple[str, pd.DataFrame, Path, str]:
    """LIVE In the Wild (Ghadiyaram and Bovik, 2016) from its three .mat tables, without the seven training pictures."""
    from scipy.io import loadmat

    folder = Path(table or METADATA)
    absent = [f"{key}.mat" for key in LIVE_TABLES.values() if not (folder / f"{key}.mat").is_file()]
    if absent:
        how = _HOW_TO_GET["live_itw"]
        raise InputError(f"The tables of LIVE In the Wild should lie in {folder}; not there: {', '.join(absent)}{how}.")
    try:
        columns = {column: loadmat(folder / f"{key}.mat", squeeze_me=True)[key] for column, key in LIVE_TABLES.items()}
        ids = pd.DataFrame({**columns, "set": "test"}).astype({"image_name": str})
    except Exception as error:  # SciPy raises anything on a broken file
        raise InputError(f"The .mat files in {folder} should be those of the release. Received: {error}") from error
    ids = with_groups(ids[~ids.image_name.isin(RATER_TRAINING)], "live_itw")
    return "LIVE In the Wild", ids, Path(images or IMAGES / "live_500x500"), "MOS"


def live_division(table: str = "") -> pd.Series:
    """The one division of LIVE In the Wild for networks that are trained on it: by image_name, one of LIVE_SETS.

    A fifth, `test`, is only ever tested on; a tenth, `calibration`, makes maps to its scale and intervals; the rest is
    `training`. It is of the whole table, whichever pictures there are, and keeps pictures of one scene together.
    table: as of `live_itw`.
    """
    ids = live_itw(table)[1]
    return splits.split(ids, "scene", LIVE_SHARES, SEED, LIVE_SETS).set_axis(ids.image_name)


def biq2021(table: str = "", images: str = "") -> tuple[str, pd.DataFrame, Path, str]:
    """BIQ2021 (Ahmed and Asif, J. Electron. Imaging 31(5), 053010): 10,000 pictures to train on, 2,000 to test on.

    Its MOS, from 0 to 1, are times 100 here. The release has no validation part: a tenth of training becomes it, the
    same tenth every time, alike in MOS and with pictures of one scene on one side. `subset`: 1, 2 or 3, by the names
    (ss01 are photographs of everyday, ss02 were taken badly on purpose, ss03 are from Unsplash).
    """
    folder = Path(table or METADATA)
    absent = [name for name in BIQ_TABLES.values() if not (folder / name).is_file()]
    if absent:
        how = _HOW_TO_GET["biq2021"]
        raise InputError(f"The tables of BIQ2021 should lie in {folder}; not there: {', '.join(absent)}{how}.")
    parts = []
    for name, file_name in BIQ_TABLES.items():
        rows = tables.read_typed(folder / file_name).rename(columns={"Image Name": "image_name"})
        if not {"image_name", "MOS"} <= {*rows}:
            raise InputError(
                f"{folder / file_name} should have the columns Image Name, MOS. Received: {', '.join(rows)}"
            )
        parts.append(rows.assign(set=name))
    ids = pd.concat(parts, ignore_index=True)
    subset = ids.image_name.str.extract(r"^ss0([1-3])\b", flags=re.IGNORECASE, expand=False)
    if subset.isna().any() or not pd.to_numeric(ids.MOS, errors="coerce").between(0, 1).all():
        raise InputError(f"The tables in {folder} should be BIQ2021's, of names ss01 to ss03 and MOS from 0 to 1.")
    ids = with_groups(ids.assign(MOS=ids.MOS * 100, subset=subset.astype(int)), "biq2021")
    training = ids[ids.set == "training"]
    ids.loc[training.index, "set"] = splits.split(training, "scene", VALIDATION, SEED, SETS[:2])
    return "BIQ2021", ids, Path(images or IMAGES / "biq2021"), "MOS"


def with_groups(ids: pd.DataFrame, dataset: str) -> pd.DataFrame:
    """The rows of an official set with the columns `group` and `scene`, by the list of near copies that is kept of it.

    The list was made by the command `group` from the features of EfficientNet-lite0 trained on ImageNet, with
    thresholds of .95 and .8.
    """
    known = tables.read_typed(NEAR_COPIES, (*tables.NAMES, "dataset", "group", "scene"))
    known = known[known.dataset == dataset]
    known = known.set_axis(known.image_name.str.casefold())
    names = ids.image_name.str.casefold()
    return ids.assign(**{column: names.map(known[column]) for column in ("group", "scene")})


def built_in_sample(table: str = "", images: str = "") -> tuple[str, pd.DataFrame, Path, str]:
    """The built-in sample, made first if it is not there. See koniq.data.sample."""
    folder = sample.ensure()
    ids = read_table(Path(table or folder / "metadata" / sample.TABLE_NAME), "The built-in sample")
    ids = ids.assign(group=ids.image_name.map(sample.scene_of))
    return "built-in sample", ids, Path(images or folder / sample.IMAGES_NAME), "synthetic MOS"


def _own_table(table: str, images: str) -> tuple[str, pd.DataFrame, Path, str]:
    path = Path(table)
    name = shown(path.stem)
    return name, splits.with_sets(path, read_table(path, name, needs_set=False)), beside(path, images), "MOS"


def beside(table: Path, images: str = "") -> Path:
    """The folder of an own table's pictures: `images`, else `images` beside it, else its own."""
    usual = table.parent / "images"
    return Path(images) if images else usual if usual.is_dir() else table.parent


def pictures(dataset: str, images: str = "", table: str = "") -> tuple[pd.DataFrame, Path]:
    """The rows of a data set by name or of a CSV, as they stand, with `image_path`, and the folder of its pictures.

    Nothing is split and nothing left out: a CSV may have no `set`, and a picture that is not there has the path where
    it should be. Raises InputError if the table or the folder is not there, or none of the pictures.
    """
    if dataset in READERS or not dataset.lower().endswith(".csv"):
        name, ids, folder, _ = read(dataset, table, images)
    else:
        path = Path(dataset)
        name, folder = shown(path.stem), beside(path, images)
        ids = read_table(path, name, needs_set=False)
    if not folder.is_dir():
        raise InputError(f"The pictures of {name} should lie in {folder}, which is not there.")
    ids = ids.reset_index(drop=True)
    paths = found(ids.image_name, folder)
    if not any(paths):
        raise InputError(f"{folder} should hold the {len(ids):,} pictures of {name}'s table. Received: none of them")
    places = [path or folder / picture for path, picture in zip(paths, ids.image_name, strict=True)]
    return ids.assign(image_path=pd.Series(places, dtype=object)), folder


READERS: dict[str, Callable] = {
    **{"koniq10k": koniq10k, "live_itw": live_itw, "biq2021": biq2021},
    "sample": built_in_sample,
}
NOTES = {"biq2021": "its MOS, 0 to 1, are times 100, and its validation part is a tenth of the official training part"}

_HOW_TO_GET = {name: f"; {command(f'fetch {name}')} gets it" for name in RELEASES}
