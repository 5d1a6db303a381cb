"""Train KonCept512 in PyTorch, on KonIQ-10k or any table with image_name, MOS and set.

The rates and epochs are the study's; its network and the rest of its way are set by what says so, as replicate.py does.
Edit a setting here or give it on the command line. On 4 GPUs: torchrun --nproc-per-node 4 -- THIS_SCRIPT ...
"""

from dataclasses import asdict, dataclass
from typing import Literal

from koniq import engines
from koniq.commands import cli
from koniq.evaluation import conclude
from koniq.network import KONCEPT512, NETWORKS
from koniq.network.koncept512 import Topology
from koniq.training import Statistics, teacher


@dataclass(frozen=True)
class Settings:
    dataset: str = "koniq10k"  # koniq10k, biq2021, sample (built in, synthetic labels), or a .csv: image_name, MOS, set
    table: str = ""  # its table, if not in koniq/metadata
    images: str = ""  # the folder of its pictures, if not in koniq/images
    teacher: str = ""  # weights whose scores are learnt in place of MOS; --images FOLDER alone: of any pictures
    scale: tuple[float, float] | None = None  # the lowest and highest MOS of an own table; None: by its range
    skip_missing: bool = False  # go on without the pictures of the table that are not there, or do not open
    network: Literal["koncept512", "koncept_lite"] = "koncept512"  # the study's, or the small one of this project
    pooling: Literal["mean", "8x8"] = "mean"  # of koncept512's last map: all of it, or its upper left (the study)
    head_epsilon: float = 1e-3  # of the batch normalisation of its head, as Keras's (the study, as PyTorch's: 1e-5)
    body_scale: bool = False  # whether that of its body learns a scale, which Keras's does not have (the study: does)
    batch_size: int = 8  # of all processes together
    whole_batches: bool = True  # leave out an epoch's last batch of fewer pictures (the study: trained on, too)
    micro_batch: int = 0  # pictures at a time through the body, in whose memory all then fits; 0: the whole batch
    statistics: Statistics = "moving"  # of batch normalisation; or frozen, trailing, reestimated: see README
    loss: Literal["mse", "plcc", "plcc_mse", "nin", "mae", "huber"] = "mse"  # plcc, nin: not on the MOS scale
    epochs: tuple[int, ...] = (40, 20)  # at most, one a stage
    learning_rates: tuple[float, ...] = (1e-4, 2e-5)  # of Adam, one a stage
    body_rate: float = 1.0  # what the body has of it; the head has all
    hold: int = 0  # parts of koncept_lite that stay as they are, and are computed once: up to 16 blocks, 17: all
    average: float = 0.0  # of the weights over batches, what it keeps a batch, such as .995: then it is what is kept
    patience: int = 20  # epochs without an improvement that end a stage; 0: none do (the study)
    select_by: Literal["plcc", "loss"] = "plcc"  # the best: highest mean of the batches' validation PLCC, lowest loss
    validation_batch: int = 0  # pictures in a batch of validation (the study: 8); 0: 32, or as many as in training
    reload_best: bool = False  # each stage starts from the best weights so far (the study: does), not from the last
    weights: str = "imagenet"  # start: imagenet, try-imagenet (random if out of reach), none (random), a file, a run
    start_at_mean: bool = True  # the first score is the mean MOS of the training set (the study: 0)
    momentum: float = 0.9  # of the moving statistics of batch normalisation; PyTorch's 0.1 is what is not kept
    sync_batch_norm: bool = True  # of several processes: statistics of the whole batch
    input_size: tuple[int, int] = KONCEPT512.input_size  # (height, width) of a picture as the network sees it
    resize: Literal["lanczos", "bicubic", "bilinear", "box", "nearest"] = "lanczos"  # how pictures get there
    rules: Literal["2", "1"] = "2"  # by which pictures are decoded; of a run that was begun before: 1
    fit: Literal["squash", "crop", "pad"] = "squash"  # what becomes of other proportions than those of input_size
    seed: int = 1  # of weights, order, flips and dropout
    device: engines.DeviceName = "auto"  # auto: the GPU, if any; one that PyTorch lacks is an error
    precision: Literal["auto", "float32", "mixed_bfloat16"] = "auto"  # auto: bfloat16 where hardware is fast at it
    compile: Literal["auto", "yes", "no"] = "auto"  # the network by torch.compile, which takes minutes; auto: on CUDA
    workers: int = 2  # threads that decode pictures and make batches
    test: bool = True  # at the end, calibrate on the validation and test on the test pictures
    run: str = ""  # the run's folder, a name in koniq/models or a path; named by the settings if empty
    resume: bool = False  # go on from the last whole epoch of a run that was stopped
    overwrite: bool = False  # replace a run of the same name


def main(s: Settings) -> None:
    data = teacher.load(s)
    from koniq.engines.in_torch import of_module  # these import PyTorch, once the data are known to be there
    from koniq.training import in_torch
    from koniq.training.in_torch_processes import processes

    network = NETWORKS[s.network].at(s.input_size, s.resize, s.rules, s.fit).built_as(Topology.of(asdict(s)))
    with processes(s.device) as group:
        run = in_torch.open_run(group, data, asdict(s))
        data = teacher.taught(data, run.folder, s)
        module = in_torch.train(run, group, network, data, s)
        if group.rank == 0 and s.test:
            conclude(run.folder, of_module(module, network), data, s.workers)


if __name__ == "__main__":
    cli.run(main, Settings)
