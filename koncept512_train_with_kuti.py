"""Train KonCept512 through the library kuti 0.9.8.1, by the recipe of the study's row of that name.

It needs an environment of its own, which `make kuti` makes. Edit a setting here or give it on the command line:
.venv-kuti/bin/python koncept512_train_with_kuti.py --batch-size 4
"""

from dataclasses import asdict, dataclass
from typing import Literal

from koniq.commands import cli
from koniq.data import datasets
from koniq.evaluation import conclude
from koniq.network import KONCEPT512
from koniq.training import Run, in_kuti, run_name


@dataclass(frozen=True)
class Settings:
    dataset: str = "koniq10k"  # koniq10k, biq2021, sample (built in, synthetic labels), or a .csv: image_name, MOS, set
    table: str = ""  # its table, if not in koniq/metadata
    images: str = ""  # the folder of its pictures, if not in koniq/images
    scale: tuple[float, float] | None = None  # the lowest and highest MOS of an own table; None: by its range
    skip_missing: bool = False  # go on without the pictures of the table that are not there, or do not open
    batch_size: int = 8  # as in the study
    loss: Literal["mse", "plcc"] = "mse"  # plcc: kuti's own, (1 - PLCC of the batch) / 2, not on the MOS scale
    epochs: tuple[int, ...] = (40, 20)  # at most, one a stage; each stage starts from the best weights so far
    learning_rates: tuple[float, ...] = (1e-4, 2e-5)  # of Adam, one a stage
    patience: int = 20  # epochs without a lower validation loss that end a stage; 0: none do
    weights: str = "imagenet"  # start: imagenet, none (random), a file, a run of any of our scripts in Keras
    start_at_mean: bool = True  # the first score is the mean MOS of the training set (the study: 0)
    momentum: float = 0.99  # of the moving statistics of batch normalisation; a run of few steps needs less
    input_size: tuple[int, int] = KONCEPT512.input_size  # (height, width) of a picture as the network sees it
    resize: Literal["lanczos", "bicubic", "bilinear", "box", "nearest"] = "lanczos"  # how pictures get there
    rules: Literal["2", "1"] = "2"  # by which pictures are decoded; of a run that was begun before: 1
    fit: Literal["squash", "crop", "pad"] = "squash"  # what becomes of other proportions than those of input_size
    seed: int = 1  # of weights and dropout; kuti draws order and flips anew in every run
    device: Literal["auto", "cuda", "cpu"] = "auto"  # auto: the GPU, if any; one that TensorFlow lacks is an error
    workers: int = 2  # threads that make batches
    run: str = ""  # the run's folder, a name in koniq/models or a path; named by the settings if empty
    overwrite: bool = False  # replace a run of the same name


def main(s: Settings) -> None:
    data = datasets.load(s.dataset, s.table, s.images, s.skip_missing, s.scale)
    print(data.summary())
    network = KONCEPT512.at(s.input_size, s.resize, s.rules, s.fit)
    kuti = in_kuti.load(s.seed, s.device, training=True)
    run = Run(s.run or f"kuti-{run_name(data, asdict(s))}", asdict(s), overwrite=s.overwrite)
    model = in_kuti.start(kuti, network, s.weights, data, s.start_at_mean, s.momentum)
    helper, data = in_kuti.helper(kuti, run, model, network, data, s.loss, s.batch_size, s.patience, s.workers)
    run.begin(data, network, in_kuti.device(), in_kuti.checkpoint(helper))
    in_kuti.train(kuti, run, helper, data, s.epochs, s.learning_rates)
    conclude(run.folder, in_kuti.engine(kuti, model, network), data, s.workers)


if __name__ == "__main__":
    cli.run(main, Settings)
