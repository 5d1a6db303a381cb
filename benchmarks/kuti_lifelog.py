"""The study's lifelog loop, through kuti 0.9.8.1: pictures are scored one by one, and timed.

.venv-kuti/bin/python -m benchmarks.kuti_lifelog PICTURE... --weights my_run      # see `make kuti`
"""

import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING

import pandas as pd
import tyro

from koniq.commands import cli
from koniq.ground import InputError, first_few
from koniq.ground.files import write_csv
from koniq.ground.paths import ROOT
from koniq.network import Network, finding, sidecar, weights

if TYPE_CHECKING:
    import tf_keras

from koniq.training.in_kuti import (
    PYTHON,
    build,
    device,
    load,
    preprocessing,
)


def lifelog(
    kuti: ModuleType, model: "tf_keras.Model", network: Network, paths: Sequence[Path]
) -> tuple[list[float], float]:
    """The study's lifelog loop: the score of each picture, and how many pictures a second that is.

    Each is opened by kuti's `read_image`, resized to nearest neighbours, in a `model.predict` of its own. The first is
    scored once more before the clock starts, because Keras traces the network then.
    """
    preprocess = preprocessing(kuti)

    def score(path: Path) -> float:
        picture = preprocess(kuti.image_utils.read_image(str(path), image_size=network.input_size))
        return float(model.predict(picture[None], verbose=0)[0, 0])

    score(paths[0])
    began = time.perf_counter()
    scores = [score(path) for path in paths]
    return scores, len(paths) / (time.perf_counter() - began)


def lifelog_rate(
    path: Path, paths: Sequence[Path], out: Path | None = None, input_size: tuple[int, int] | None = None
) -> float:
    """Pictures a second of `lifelog`, run in kuti's own environment from any other.

    path: of the weights. out: a CSV for the scores (image_path, MOS), if they are wanted. input_size: (height, width);
    None: what the weights were trained at. Raises InputError if `make kuti` has not made that environment.
    """
    if not PYTHON.is_file():
        raise InputError(f"{PYTHON} should be there: run `make kuti`.")
    command = [PYTHON, "-m", "benchmarks.kuti_lifelog", *(one.resolve() for one in paths), "--weights", path.resolve()]
    command += ["--out", out.resolve()] if out else []
    command += ["--input-size", *input_size] if input_size else []
    done = subprocess.run([*map(str, command)], cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    return float(done.stdout.splitlines()[-1].split()[0])


@dataclass(frozen=True)
class Settings:
    pictures: tyro.conf.Positional[tuple[Path, ...]]  # in any format that Pillow reads
    weights: str = finding.ORIGINAL  # a file, a training run, or a name in trained_models
    out: Path | None = None  # a CSV of image_path, MOS
    input_size: tuple[int, int] | None = None  # (height, width); None: what the weights were trained at


def main(s: Settings) -> None:
    absent = [path for path in s.pictures if not path.is_file()]
    if absent or not s.pictures:
        raise InputError(f"pictures should be files. Received: {first_few(absent) or 'nothing'}")
    path = finding.find(s.weights)
    network, kuti = sidecar.network_of(path, s.input_size), load()
    model = build(kuti, network)
    weights.load(model, path)
    scores, rate = lifelog(kuti, model, network, s.pictures)
    if s.out:
        write_csv(pd.DataFrame({"image_path": s.pictures, "MOS": scores}), s.out)
    print(f"{rate:.2f} pictures a second, {len(scores)} of them, one by one at {network.input_size}, {device()}")


if __name__ == "__main__":
    cli.run(main, Settings)
