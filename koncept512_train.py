"""Train KonCept512 on KonIQ-10k, or on any table with image_name, MOS and set, as the study does.

Edit a setting here or give it on the command line:  python koncept512_train.py --batch-size 4 --loss plcc
"""

from dataclasses import asdict, dataclass
from typing import Literal

from koniq.commands import cli
from koniq.engines.in_keras import of_model, prepare, resolved
from koniq.evaluation import conclude
from koniq.network import KONCEPT512, NETWORKS
from koniq.network.koncept512 import Topology
from koniq.training import Statistics, by_xla, check_shared, run_name, teacher


@dataclass(frozen=True)
class Settings:
    dataset: str = "koniq10k"  # koniq10k, biq2021, sample (built in, synthetic labels), or a .csv: image_name, MOS, set
    table: str = ""  # its table, if not in koniq/metadata
    images: str = ""  # the folder of its pictures, if not in koniq/images
    teacher: str = ""  # weights whose scores are learnt in place of MOS; --images FOLDER alone: of any pictures
    scale: tuple[float, float] | None = None  # the lowest and highest MOS of an own table; None: by its range
    skip_missing: bool = False  # go on without the pictures of the table that are not there, or do not open
    network: Literal["koncept512", "koncept_lite"] = "koncept512"  # the study's, or the small one of this project
    pooling: Literal["mean", "8x8"] = "mean"  # of koncept512's last map: all of it, or its upper left (a port's)
    head_epsilon: float = 1e-3  # of the batch normalisation of its head; the study's PyTorch: 1e-5
    body_scale: bool = False  # whether that of its body learns a scale; the study's PyTorch: does
    batch_size: int = 8  # the study: 8, 4, 2; the original: 16
    micro_batch: int = 0  # pictures at a time through the body, in whose memory all then fits; 0: the whole batch
    statistics: Statistics = "moving"  # of batch normalisation; or frozen, trailing, reestimated: see README
    loss: Literal["mse", "plcc", "plcc_mse", "nin", "mae", "huber"] = "mse"  # plcc, nin: not on the MOS scale
    epochs: tuple[int, ...] = (40, 20, 10)  # at most, one a stage; each stage starts from the best weights so far
    learning_rates: tuple[float, ...] = (1e-4, 2e-5, 1e-5)  # of Adam, one a stage
    patience: int = 20  # epochs without a lower validation loss that end a stage; 0: none do
    weights: str = "imagenet"  # start: imagenet, try-imagenet (random if out of reach), none (random), a file, a run
    start_at_mean: bool = True  # the first score is the mean MOS of the training set (the study: 0)
    momentum: float = 0.99  # of the moving statistics of batch normalisation; a run of few steps needs less
    sync_batch_norm: bool = True  # of several devices: statistics of the whole batch
    input_size: tuple[int, int] = KONCEPT512.input_size  # (height, width) of a picture as the network sees it
    resize: Literal["lanczos", "bicubic", "bilinear", "box", "nearest"] = "lanczos"  # how pictures get there
    rules: Literal["2", "1"] = "2"  # by which pictures are decoded; of a run that was begun before: 1
    fit: Literal["squash", "crop", "pad"] = "squash"  # what becomes of other proportions than those of input_size
    seed: int = 1  # of weights, order, flips and dropout
    device: Literal["auto", "cuda", "cpu"] = "auto"  # auto: the GPU, if any; one that TensorFlow lacks is an error
    devices: int = 1  # GPUs of this machine that share each batch; with device cpu, to try it: parts of the processor
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = "float32"  # mixed: faster where hardware has it
    jit_compile: Literal["auto", "yes", "no"] = "auto"  # a step by XLA, which takes minutes; auto: on a GPU
    workers: int = 2  # threads that make batches
    run: str = ""  # the run's folder, a name in koniq/models or a path; named by the settings if empty
    resume: bool = False  # go on from the last whole epoch of a run that was stopped
    overwrite: bool = False  # replace a run of the same name


def main(s: Settings) -> None:
    check_shared(s)
    data = teacher.load(s)
    print(data.summary())
    network = NETWORKS[s.network].at(s.input_size, s.resize, s.rules, s.fit).built_as(Topology.of(asdict(s)))
    jit_compile = by_xla(s.jit_compile, s.micro_batch, s.statistics, s.devices)
    device = prepare(s.seed, s.precision, s.device, True, jit_compile, s.devices)
    how = resolved(s.precision, jit_compile)
    from koniq.training import in_keras  # it imports Keras, which is prepared by now

    run = in_keras.KerasRun(s.run or run_name(data, asdict(s)), asdict(s), s.resume, s.overwrite)
    data = teacher.taught(data, run.folder, s)
    how_started = (s.start_at_mean, s.momentum, s.micro_batch, s.statistics, s.devices, s.sync_batch_norm)
    model = in_keras.start(network, s.weights, data, *how_started)
    helper, data = in_keras.helper(run, model, network, data, s, how["compile"])
    run.begin(data, network, device, helper.checkpoint.path, how)
    in_keras.train(run, helper, data, s.epochs, s.learning_rates, s.seed)
    conclude(run.folder, of_model(model, network), data, s.workers)


if __name__ == "__main__":
    cli.run(main, Settings)
