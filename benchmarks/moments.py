"""How often the highest score of pictures of one thing is that of the picture that people rate highest.

python -m benchmarks.moments                              (BIQ2021's test part, which koncept_lite never saw)
python -m benchmarks.moments --weights my_run

datasets/moments.csv has what koniq.reports.moments found in the 2,000 pictures of BIQ2021's official test part, whose
hashes differ in 10 of 64 bits at most: 58 groups of 131 pictures, each looked at. `seen` says what they are: "moment",
one thing taken from one place several times; "copy", one picture twice; "other", two things.

Three things bound what that says. These are no bursts: whoever made BIQ2021 took one thing sharp and blurred, light and
dark, on purpose, so that pictures differ by more than those of a burst do. koncept_lite learnt from BIQ2021's training
part, which has other pictures of the same things. And where MOS differ by a few points, people do not agree either.
"""

from dataclasses import dataclass
from itertools import combinations, pairwise
from math import sqrt
from pathlib import Path

import numpy as np
import pandas as pd
import tyro

import koniq
from koniq.commands import cli
from koniq.commands.choices import Data
from koniq.ground import InputError, machine
from koniq.ground.paths import ROOT
from koniq.ground.text import markdown_table

BOUNDS = (0, 5, 10, 20, 100)  # of differences in MOS


@dataclass(frozen=True)
class Settings:
    weights: str = "koncept_lite"  # a file, a run, or a name in trained_models
    data: tyro.conf.OmitArgPrefixes[Data] = Data("biq2021")
    groups: Path = ROOT / "datasets/moments.csv"  # image_name, group, seen: of its test part


def main(s: Settings) -> None:
    rows = s.data.load().part("test")
    groups = pd.read_csv(s.groups).merge(rows[["image_name", "MOS", "image_path"]], on="image_name")
    groups = groups[groups.groupby("group").image_name.transform("size") > 1]
    if groups.empty:
        raise InputError(f"The test part should have groups of {s.groups}. Received: none of them")
    scorer = koniq.load(s.weights, intervals=True)
    found = list(scorer.scores(groups.image_path, progress="scoring"))
    groups = groups.assign(score=[one.mos for one in found], low=[one.low for one in found])
    groups = groups.assign(high=[one.high for one in found]).dropna(subset="score")
    print(f"{machine.machine()}; {machine.in_words(machine.versions())}; commit {machine.commit()}")
    print(f"{s.weights}, {scorer.plan.engine}\n")
    print(choices(groups), pairs(groups), sep="\n\n")


def share(right: int, count: int) -> str:
    """A share and its 95 % interval (Wilson's), in percent."""
    z, part = 1.96, right / count
    middle, half = part + z * z / (2 * count), z * sqrt(part * (1 - part) / count + z * z / (4 * count * count))
    low, high = ((middle + sign * half) / (1 + z * z / count) for sign in (-1, 1))
    return f"{100 * part:.0f} % [{100 * low:.0f}, {100 * high:.0f}]"


def choices(groups: pd.DataFrame) -> str:
    """Markdown: of the groups of each kind, how often the highest score has the highest MOS, and what MOS is lost."""
    lines = []
    for seen, own in groups.groupby("seen", sort=False):
        each = [one for _, one in own.groupby("group")]
        chosen = np.array([one.MOS[one.score.idxmax()] for one in each])
        best, mean = (np.array([getattr(one.MOS, name)() for one in each]) for name in ("max", "mean"))
        chance = np.mean([1 / len(one) for one in each])
        right = share(int((chosen == best).sum()), len(each))
        lost = f"{(best - chosen).mean():.1f}", f"{(best - mean).mean():.1f}"
        lines.append((seen, f"{len(each)}", f"{len(own)}", right, f"{100 * chance:.0f} %", *lost))
    heads = ("groups", "number", "pictures", "highest score is highest MOS [95 %]", "at random")
    return markdown_table((*heads, "MOS lost, mean", "at random"), lines)


def pairs(groups: pd.DataFrame) -> str:
    """Markdown: of the pairs within moments, by how far their MOS are apart, how often scores have their order."""
    own = groups[groups.seen == "moment"]
    found = pd.DataFrame(
        [
            (abs(a.MOS - b.MOS), (a.MOS - b.MOS) * (a.score - b.score) > 0, a.low > b.high or b.low > a.high)
            for _, one in own.groupby("group")
            for a, b in combinations(one.itertuples(), 2)
        ],
        columns=["apart", "right", "told"],
    )
    kinds = {
        f"MOS {low} to {high} apart": found[(found.apart >= low) & (found.apart < high)]
        for low, high in pairwise(BOUNDS)
    }
    kinds |= {"told apart by intervals": found[found.told], "not told apart": found[~found.told]}
    lines = [
        (name, f"{len(kind)}", share(int(kind.right.sum()), len(kind))) for name, kind in kinds.items() if len(kind)
    ]
    return markdown_table(("pairs of a moment", "number", "in the order of MOS [95 %]"), lines)


if __name__ == "__main__":
    cli.run(main, Settings)
