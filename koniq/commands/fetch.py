"""Fetch data and weights: from the first of their sources that works, checked, and put in place only when right.

python -m koniq fetch --list
python -m koniq fetch koniq10k live_itw biq2021 imagenet koncept512/original
python -m koniq fetch live_itw --archive ChallengeDB_release.zip     no transfer, the same unpacking and checks
"""

from dataclasses import dataclass, replace
from pathlib import Path

import tyro

from koniq.commands import cli
from koniq.fetch.installation import Options, ensure, not_fetched
from koniq.fetch.sources import ITEMS, named
from koniq.ground import InputError, RunStopped


@dataclass(frozen=True)
class Settings(Options):
    names: tyro.conf.Positional[tuple[str, ...]] = ()  # koniq10k, live_itw, biq2021, imagenet, koncept512, or a part
    # ^ such as koniq10k/table, imagenet/keras, imagenet/pytorch, koncept512/original, koncept512/mse-b8
    list: bool = False  # say what there is: sizes, sources, licences, and what is in place already


def main(s: Settings) -> None:
    if s.list or not s.names:
        show(Path(s.root))
        return
    chosen = named(s.names)
    if s.attempts < 1:
        raise InputError(f"attempts should be positive. Received: attempts={s.attempts}")
    archived = [pair for pair in chosen if pair[1].kind == "pictures"] or chosen  # what an archive on disk is for
    if s.archive and (len(archived) > 1 or not Path(s.archive).is_file()):
        raise InputError(
            "archive should be a file, and go with one part, such as koncept512/original. "
            f"Received: archive={s.archive!r} for {', '.join(s.names)}"
        )
    tables = [(item, item.parts[0]) for item, _ in chosen if item.parts[0].kind == "table"]
    chosen = list(dict.fromkeys((*tables, *chosen)))  # pictures are checked against their table, so it comes first
    failed: dict[str, RunStopped] = {}
    for item, part in chosen:
        try:
            if part.kind == "pictures" and f"{item.name}/table" in failed:
                raise not_fetched(item, part, s, "it is checked against the table, which is not there")
            ensure(item, part, s if (item, part) in archived else replace(s, archive=""))
        except RunStopped as error:
            failed[f"{item.name}/{part.name}"] = error
    if failed:
        *others, last = failed.values()
        for error in others:
            cli.complain(error)
        raise last


def show(root: Path) -> None:
    """Print what can be fetched: parts, sizes, sources, licences, where it goes, and whether it is there."""
    for item in ITEMS.values():
        print(f"{item.name}: {item.title}\n  licence: {item.licence}")
        for part in item.parts:
            target = root / part.target
            there = "there" if target.is_file() or (target.is_dir() and any(target.iterdir())) else "not there"
            print(f"  {item.name}/{part.name} -> {target} ({there}); by hand: {part.page}")
            for source in part.sources:
                size = f"{source.size / 1e6:,.1f} MB" if source.size else "size not stated"
                known = (
                    source.digest.partition(":")[0] + " known" if source.digest else "no hash stated, content checked"
                )
                print(f"    {source.url} ({size}, {known})")
