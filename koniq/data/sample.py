"""The built-in sample: a small data set with synthetic labels in KonIQ-10k's layout, and a small lifelog in LSC's."""

import io
import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
from PIL import Image, ImageEnhance, ImageFilter

from koniq.ground import InputError
from koniq.ground.bars import tqdm
from koniq.ground.built import install
from koniq.ground.log import LOG
from koniq.ground.paths import SAMPLE
from ku.files import atomic_folder, lock_path, turn

# Training, validation and test never share a scene. Names are functions of skimage.data.
SCENES = {
    "training": (
        *("astronaut", "brick", "coins", "grass", "gravel", "immunohistochemistry", "stereo_motorcycle", "page"),
        "retina",
    ),
    "validation": ("moon", "rocket"),
    "test": ("camera", "chelsea", "coffee"),
}
PICTURES = {"training": 1440, "validation": 96, "test": 96}  # many crops seen few times: few would be learnt by heart
SIZE = (384, 512)  # (height, width), KonIQ-10k's training size
RATERS = 100
VERSION = 1  # of the pictures and labels written; a change of either raises it
TABLE_NAME = "synthetic_distributions_sets.csv"
IMAGES_NAME = "images/512x384"


# Each distortion takes a 512x384 picture and a severity in (0, 1]. They are coarse, as a bad camera's are, so that they
# survive the reduction to the small input sizes of a demonstration.


def blur(picture: Image.Image, severity: float, rng: np.random.Generator) -> Image.Image:
    return picture.filter(ImageFilter.GaussianBlur(1 + 15 * severity))


def noise(picture: Image.Image, severity: float, rng: np.random.Generator) -> Image.Image:
    """Coloured grain, 4 pixels wide, as high ISO leaves after its smoothing."""
    height, width = SIZE[0] // 4, SIZE[1] // 4
    grain = rng.normal(0, 8 + 82 * severity, (height, width, 3)).clip(-127, 127)
    grain = Image.fromarray((grain + 128).astype(np.uint8)).resize(picture.size, Image.Resampling.BICUBIC)
    return Image.fromarray(
        (np.asarray(picture, np.int16) + np.asarray(grain, np.int16) - 128).clip(0, 255).astype(np.uint8)
    )


def jpeg(picture: Image.Image, severity: float, rng: np.random.Generator) -> Image.Image:
    """Blocks of a small picture compressed hard and enlarged."""
    small = picture.resize((SIZE[1] // 4, SIZE[0] // 4), Image.Resampling.BOX)
    buffer = io.BytesIO()
    small.save(buffer, "JPEG", quality=round(25 - 24 * severity))
    return Image.open(buffer).convert("RGB").resize(picture.size, Image.Resampling.NEAREST)


def pixelate(picture: Image.Image, severity: float, rng: np.random.Generator) -> Image.Image:
    side = 4 + 28 * severity
    small = picture.resize((round(SIZE[1] / side), round(SIZE[0] / side)), Image.Resampling.BOX)
    return small.resize(picture.size, Image.Resampling.NEAREST)


def underexpose(picture: Image.Image, severity: float, rng: np.random.Generator) -> Image.Image:
    return ImageEnhance.Brightness(picture).enhance(1 - 0.9 * severity)


def overexpose(picture: Image.Image, severity: float, rng: np.random.Generator) -> Image.Image:
    return picture.point([round(255 * (value / 255) ** (1 - 0.9 * severity)) for value in range(256)] * 3)


def wash_out(picture: Image.Image, severity: float, rng: np.random.Generator) -> Image.Image:
    return ImageEnhance.Contrast(picture).enhance(1 - 0.9 * severity)


DISTORTIONS: tuple[Callable, ...] = (blur, noise, jpeg, pixelate, underexpose, overexpose, wash_out)


def scene_of(image_name: str) -> str | None:
    """The scene of a picture of the sample by its name, such as moon of validation_0000_moon_wash_out.jpg."""
    described = image_name.split("_", 2)[-1]
    return next((name for names in SCENES.values() for name in names if described.startswith(f"{name}_")), None)


def scene(name: str) -> Image.Image:
    """The photograph that scikit-image calls `name`, as RGB. Raises InputError where that is not installed."""
    try:
        import skimage.data
    except ModuleNotFoundError as error:
        raise InputError(
            f"scikit-image, whose photographs these are, should be installed: {install('photographs')}"
        ) from error

    picture = getattr(skimage.data, name)()
    return Image.fromarray(picture[0] if isinstance(picture, tuple) else picture).convert("RGB")


def crop(photograph: Image.Image, size: tuple[int, int], rng: np.random.Generator) -> Image.Image:
    """A random 4:3 piece of the photograph, possibly mirrored, of `size` (height, width)."""
    height, width = size
    widest = min(photograph.width, photograph.height * width / height)
    wide = widest * rng.uniform(0.6, 1)
    high = wide * height / width
    left, top = rng.uniform(0, photograph.width - wide), rng.uniform(0, photograph.height - high)
    if rng.random() < 0.5:
        photograph = photograph.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    return photograph.resize((width, height), Image.Resampling.LANCZOS, (left, top, left + wide, top + high))


def ratings(severity: float, rng: np.random.Generator) -> dict[str, float]:
    """KonIQ-10k's c1..c5, c_total, MOS and SD, from `RATERS` synthetic raters of a distortion's severity (0..1)."""
    opinions = np.clip(np.rint(rng.normal(4.7 - 3.6 * severity, 0.6, RATERS)), 1, 5)
    shares = {f"c{score}": float(np.mean(opinions == score)) for score in range(1, 6)}
    return shares | {"c_total": RATERS, "MOS": 25 * (opinions.mean() - 1), "SD": opinions.std(ddof=1)}


def write_pictures(folder: Path) -> pd.DataFrame:
    """Draw and save the pictures of the three sets; return their table."""
    rng, rows = np.random.default_rng(VERSION), []
    bar = tqdm(total=sum(PICTURES.values()), desc="sample pictures", unit="pic", disable=None)
    for part, names in SCENES.items():
        photographs = {name: scene(name) for name in names}
        for number in range(PICTURES[part]):
            name = names[number % len(names)]
            picture = crop(photographs[name], SIZE, rng)
            # One in eight is left as it is; the others take every distortion in turn.
            kind = (number // len(names)) % (len(DISTORTIONS) + 1)
            severity = rng.uniform(0.05, 1) if kind < len(DISTORTIONS) else 0.0
            label = "pristine"
            if severity:
                label = DISTORTIONS[kind].__name__
                picture = DISTORTIONS[kind](picture, severity, rng)
            image_name = f"{part}_{number:04}_{name}_{label}.jpg"
            picture.save(folder / image_name, quality=95)
            rows.append({"image_name": image_name, **ratings(severity, rng), "set": part})
            bar.update()
    bar.close()
    return pd.DataFrame(rows)


LIFELOG_NAMES = (  # the name patterns of LSC'21, by year, and one without a time
    *(f"2015-02-23/b0000{n:04}_21i6bq_20150223_{7 + 2 * n:02}0647e.jpg" for n in range(6)),
    *(f"2016-08-11/20160811_{8 + 2 * n:02}1315_000.jpg" for n in range(6)),
    *(f"2018-05-04/B0000{3452 + n}_21I6X0_20180504_{7 + 2 * n:02}2707E.JPG" for n in range(6)),
    *(f"201901/01/20190101_{9 + 2 * n:02}3717_000.jpg" for n in range(6)),
    "201901/01/rr.jpg",
)


def write_lifelog(folder: Path) -> None:
    """A lifelog in LSC'21's layout: `lsc21-images.csv` (column image_path) and pictures, some of which do not open."""
    rng = np.random.default_rng([VERSION, 21])
    photographs = [scene(name) for name in SCENES["test"]]
    images = folder / "lsc21-image"
    for number, name in enumerate(LIFELOG_NAMES):
        picture = crop(photographs[number % len(photographs)], (768, 1024), rng)
        if number % 4:
            distort = DISTORTIONS[number % len(DISTORTIONS)]
            picture = distort(picture.resize(SIZE[::-1]), rng.uniform(0.05, 1), rng).resize((1024, 768))
        (images / name).parent.mkdir(parents=True, exist_ok=True)
        picture.save(images / name, "JPEG", quality=90)
    whole = (images / LIFELOG_NAMES[0]).read_bytes()
    broken = {
        "2016-08-11/20160811_214500_000.jpg": whole[: len(whole) // 2],  # truncated
        "2018-05-04/B00003999_21I6X0_20180504_231500E.JPG": b"",
        "201901/01/20190101_235900_000.jpg": b"this is a text, not a picture\n",
    }
    for name, content in broken.items():
        (images / name).write_bytes(content)
    listed = sorted([*LIFELOG_NAMES, *broken, "201901/01/20190101_225900_000.jpg"])  # the last is listed and not there
    pd.DataFrame({"image_path": listed}).to_csv(folder / "lsc21-images.csv", index=False)


def ensure(folder: Path = SAMPLE) -> Path:
    """The folder of the sample, written first unless this version of it is there already.

    It holds `metadata/synthetic_distributions_sets.csv` and `images/512x384/` (KonIQ-10k's columns and layout) and
    `LSC21/lsc21-images.csv` and `LSC21/lsc21-image/` (the lifelog).
    """
    note = {
        "version": VERSION,
        "pictures": PICTURES,
        "labels": "synthetic: they follow from the distortion; no person has rated these pictures",
    }

    def is_there() -> bool:
        about = folder / "sample.json"
        return about.is_file() and json.loads(about.read_text()) == note

    if is_there():
        return folder
    folder.parent.mkdir(parents=True, exist_ok=True)
    with turn(lock_path(folder), lambda: LOG.info("Waiting for another process that writes the sample ...")):
        if not is_there():
            _write(folder, note)
    return folder


def _write(folder: Path, note: dict) -> None:
    with atomic_folder(folder, durable=False) as new:  # thousands of files, that can be written again
        (new / IMAGES_NAME).mkdir(parents=True)
        (new / "metadata").mkdir()
        write_pictures(new / IMAGES_NAME).to_csv(new / "metadata" / TABLE_NAME, index=False)
        write_lifelog(new / "LSC21")
        (new / "sample.json").write_text(json.dumps(note))
