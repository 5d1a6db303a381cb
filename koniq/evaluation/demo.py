"""What `make demo` shows: photographs distorted in known ways, and whether a model's scores follow the distortion."""

from itertools import product
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image

from koniq.data import sample
from koniq.evaluation import sense
from koniq.ground import InputError, first_few
from koniq.ground.bars import tqdm
from koniq.ground.files import write_csv
from koniq.ground.typed import command
from koniq.pictures.distortions import STEPS, distorted
from koniq.scoring.facts import Facts
from ku.files import atomic_path

PHOTOS = ("astronaut", "chelsea", "coffee", "rocket", "stereo_motorcycle")  # functions of skimage.data
TRAINING = {"astronaut": "training", "rocket": "training", "coffee": "validation"}  # photographs of the little training
TAUGHT = ("blur", "jpeg", "noise", "rescale")  # distortions in it: 32 pictures to learn from, 16 to check on
QUALITY = 95  # of the JPEGs written, as of the weakest step of jpeg


def file_name(photo: str, kind: str, step: int) -> str:
    """What the picture of one step is called; at step 0 of any kind it is the photograph as it is."""
    return f"{photo}_{kind}_{step}.jpg" if step else f"{photo}.jpg"


def write(folder: Path) -> int:
    """Write photos/, five photographs as they are and in steps 1 to 4 of each kind; return how many pictures.

    And training.csv with image_name, MOS, set: of some of them, labels that follow from the step and that no person
    gave.
    """
    (folder / "photos").mkdir(parents=True, exist_ok=True)
    names, rows = set(), []
    for number, photo in enumerate(tqdm(PHOTOS, desc="photographs", unit="pic", disable=None, leave=False)):
        pixels = np.asarray(sample.scene(photo))
        for kind, step in product(STEPS, range(5)):
            name = file_name(photo, kind, step)
            if name in names:
                continue
            strength = STEPS[kind][step] if step else None
            changed = distorted(pixels, kind, strength, np.random.default_rng([number, step])) if step else pixels
            with atomic_path(folder / "photos" / name) as path:
                Image.fromarray(changed).save(path, "JPEG", quality=QUALITY, subsampling=0)
            names.add(name)
            if step and photo in TRAINING and kind in TAUGHT:
                rows.append((name, 80 - 16 * step, TRAINING[photo]))
    write_csv(pd.DataFrame(rows, columns=["image_name", "MOS", "set"]), folder / "training.csv")
    return len(names)


def steps(table: pd.DataFrame) -> pd.DataFrame:
    """The scores by what was done to the pictures: photograph, kind, step, MOS; a photograph as it is at each step 0.

    table: image_path, MOS of the pictures that `write` wrote. Raises InputError if one of them has no score.
    """
    mos = dict(zip(table.image_path, table.MOS, strict=True))
    rows = [(*of, mos.get(file_name(*of), float("nan"))) for of in product(PHOTOS, STEPS, range(5))]
    found = pd.DataFrame(rows, columns=["photograph", "kind", "step", "MOS"])
    if (lacking := found.MOS.isna()).any():
        names = [file_name(row.photograph, row.kind, row.step) for row in found[lacking].itertuples()]
        raise InputError(
            f"Each of the pictures that `{command('demo')}` writes should have a score. "
            f"Received: none of {first_few(dict.fromkeys(names))}"
        )
    return found


def shown(table: pd.DataFrame, about: dict) -> str:
    """What a reader sees: the mean score by kind and step, and how well its order follows the step."""
    found = steps(table)
    means = found.pivot_table(index="kind", columns="step", values="MOS", sort=False)
    order = sense.correlations(found)
    falling = int((order == 1).sum().sum())
    lines = [f"{'':20}{'as it is':>10}{'1':>8}{'2':>8}{'3':>8}{'4':>8}{'order':>10}"]
    for kind, (whole, *distorted_ones) in zip(means.index, means.to_numpy(), strict=True):
        cells = "".join(f"{value:8.1f}" for value in distorted_ones)
        lines.append(f"{sense.TITLES[kind]:20}{whole:10.1f}{cells}{order[kind].mean():10.2f}")
    label = Facts(about).label
    return "\n".join(
        (
            f"Mean {label} of {len(PHOTOS)} photographs by {about.get('model', 'the model')}, distorted more",
            "strongly from left to right\n",
            *lines,
            "\norder: how the score falls with the step, by Spearman's rank correlation, the mean of the photographs:",
            "1 if each step scores below the one before, -1 if each scores above it.",
            f"In {falling} of {order.size} series of five pictures each step scores below the one before.",
        )
    )
