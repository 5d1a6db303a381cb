"""Training in PyTorch: the study's recipe, on one device or, under `torchrun`, on several processes.

A step waits for nothing: what is noted of it stays on the device until the epoch is over (`in_torch_means`).
"""

import hashlib
import os
import time
from collections.abc import Mapping
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pandas as pd
import torch
from torch import nn

from koniq.data.datasets import DataSet
from koniq.engines.in_torch import precise, prepare, resolved, settle
from koniq.ground import InputError
from koniq.ground.bars import tqdm
from koniq.ground.log import LOG
from koniq.network import Network, weights
from koniq.pictures.memory import Pictures, of_training, rows_of_training
from koniq.pictures.order import EpochPlan
from koniq.training import in_torch_batch, stages
from koniq.training.in_torch_feed import Batches, fed, feed
from koniq.training.in_torch_held import Held, Tail
from koniq.training.in_torch_losses import LOSSES
from koniq.training.in_torch_means import Means, averaged
from koniq.training.in_torch_processes import Group, average_statistics, synced
from koniq.training.run import Run, about, begun, check_finite, epoch_line, out_of_memory, run_name
from koniq.training.stages import Learner, Monitor, Note, Stage
from koniq.training.start import initial

# What selects the best weights: a column of the log, and its sign.
SELECT_BY = {"plcc": ("val_plcc_tf", 1), "loss": ("val_loss", -1)}
# Settings that are each machine's own, or only asked of the first process.
OWN = ("dataset", "table", "images", "teacher", "run", "workers", "resume", "overwrite", "test")
EVERY = 10  # batches between looks at whether the loss is finite
COMPILER = {"dynamic": False}  # all batches of a kind are of one size: of torch.compile


class Recipe(Protocol):
    """The settings of a script that training follows; the script says what they mean."""

    loss: str
    batch_size: int
    whole_batches: bool
    validation_batch: int
    epochs: tuple[int, ...]
    learning_rates: tuple[float, ...]
    body_rate: float
    hold: int
    average: float
    patience: int
    select_by: str
    reload_best: bool
    weights: str
    start_at_mean: bool
    momentum: float
    micro_batch: int
    statistics: str
    sync_batch_norm: bool
    precision: str
    compile: str
    seed: int
    workers: int


class TorchRun(Run):
    """A run whose network is PyTorch's."""

    STATE = "state.pth"

    def write_state(
        self,
        path: Path,
        progress: str,
        module: dict,
        optimizer: dict,
        average: dict | None = None,
    ) -> None:
        """As Run.write_state, of the states in memory that `TorchLearner.state` gives."""
        state = {"progress": progress, "module": module, "optimizer": optimizer}
        torch.save(state | ({"average": average} if average else {}), path)

    def read_progress(self) -> str:
        return torch.load(self.state_path, map_location="cpu", weights_only=True, mmap=True)["progress"]


class Follower(TorchRun):
    """The run as the other processes see it: they know how far it is, and write nothing."""

    def __init__(self, name: str):
        self.folder = self.place(name)
        self.state_path = self.folder / self.STATE
        self.finished = begun(self.folder) and about(self.folder).finished is not None
        self.resumed = self.has_state
        self.progress = self.read()

    def save(self, *of: Any) -> None:
        pass

    show = finish = begin = save


def open_run(group: Group, data: DataSet, settings: Mapping[str, Any]) -> Run:
    """The run that the settings name or give a name to, whose files are the first process's to write.

    Raises InputError where a restart by torchrun would not go on with it, and as `Group.agree` and `check_shared` do.
    """
    resume, overwrite = settings["resume"], settings["overwrite"]
    # How often it was started again torchrun says each machine otherwise: by the run's state alone is it known.
    if int(os.environ.get("TORCHELASTIC_MAX_RESTARTS", 0)) and (overwrite or not resume):
        raise InputError(
            "Under torchrun with --max-restarts a run should be given --resume, and not --overwrite, for at each "
            f"restart it begins by the same settings. Received: resume={resume}, overwrite={overwrite}"
        )
    name = settings["run"] or f"pytorch-{run_name(data, settings)}"
    group.agree("The settings", {key: value for key, value in settings.items() if key not in OWN})
    if group.rank == 0:
        run = TorchRun(name, settings, resume, overwrite)
    group.check_shared(TorchRun.place(name))
    run = Follower(name) if group.rank else run
    group.agree("The state of the run", {"resumed": run.resumed, "progress": run.progress, "finished": run.finished})
    return run


def start(network: Network, data: DataSet, s: Recipe) -> nn.Module:
    """The network before training, from the weights that `initial` finds."""
    torch.manual_seed(s.seed)
    module = network.build_torch(float(data.part("training").MOS.mean()) if s.start_at_mean else 0.0)
    for layer in in_torch_batch.norms(module):
        layer.momentum = 1 - s.momentum  # PyTorch counts what is new, Keras what is kept
    begins = initial(s.weights, network)
    if begins.path:
        begins.say(whole=weights.load_module(module, begins.path, network, body=True))
    return module


def train(run: Run, group: Group, network: Network, data: DataSet, s: Recipe, held: Held | None = None) -> nn.Module:
    """Train by stages with Adam, a new one each, and return the network with the best weights of all.

    held: what the held parts give of the pictures, if that is known from another run from the same weights.
    s.batch_size: of all processes together; s.micro_batch: of one. A run that has a state goes on from it, and sees the
    same pictures, flips and dropout as if it had never stopped. Raises InputError if the batch cannot be shared out
    evenly, RunStopped if a loss is not finite.
    """
    unit = group.size * max(s.micro_batch, 1)
    if s.batch_size % unit:
        raise InputError(
            f"batch_size should be a multiple of {unit}, the processes times the micro-batch. "
            f"Received: batch_size={s.batch_size}"
        )
    # What follows held parts is no module by itself that micro-batches could go through compiled.
    how = "no" if s.hold and s.micro_batch else s.compile
    precision, compiled, device = settle(group.device, s.precision, how)
    LOG.info(f"{data.summary()}\nDevice: {device}{f', {group.size} processes' if group.size > 1 else ''}")
    learner = TorchLearner(run, group, network, prepare(start(network, data, s), group.device), s, precision)
    if not run.finished:
        pictures = held
        if not held:
            data, pictures = of_training(data, network, run.folder, s.workers, group.rank > 0, group.together)
            group.agree("The pictures of training and validation", _digest(rows_of_training(data)))
        run.begin(data, network, device, learner.best, resolved(group.device, precision, compiled))
        learner.ready(data, pictures, compiled)
    monitor = Monitor(*SELECT_BY[s.select_by], s.patience)
    stages.train(run, learner, Stage.all(s.epochs, s.learning_rates), monitor, s.reload_best)
    return learner.module


def _digest(rows: pd.DataFrame) -> dict[str, Any]:
    """What rows of other pictures, or in another order, have otherwise."""
    text = rows[["image_name", "MOS", "set"]].to_csv(index=False)
    return {"count": len(rows), "sha256": hashlib.sha256(text.encode()).hexdigest()[:12]}


class TorchLearner(Learner):
    """A network in training, of which this process sees its share of the pictures.

    module: the whole network. `trained` is what of it trains, and what its pictures go into; `net` is the same, or DDP
    around it; `average` keeps the running average of its weights over batches, moving statistics included, if the
    recipe wants one: then this is what is validated and kept.
    """

    def __init__(self, run: Run, group: Group, network: Network, module: nn.Module, s: Recipe, precision: str):
        self.run, self.group, self.network, self.module, self.s = run, group, network, module, s
        self.precision, self.precisely = precision, partial(precise, group.device, precision)
        self.best = run.folder / f"{network.name}_best.safetensors"

    def ready(self, data: DataSet, pictures: Pictures | Held, compiled: bool) -> None:
        """Ready the network for its stages: the weights that the run has come to, what is held, shared and compiled."""
        s, group, module = self.s, self.group, self.module
        if self.run.resumed:
            self.kept = torch.load(self.run.state_path, map_location="cpu", weights_only=True)
            module.load_state_dict(self.kept["module"])
        group.wait()  # nobody writes a state before all have read it
        if group.size > 1 and s.sync_batch_norm:
            self.module = module = synced(module, own=compiled or group.device.type != "cuda")
        self.trained = module
        if s.hold:
            self.trained = Tail(module, s.hold)
            if not isinstance(pictures, Held):
                where = self.run.folder, group.device, self.precision, group.rank > 0
                pictures = Held(self.trained, rows_of_training(data), pictures, *where)
            self.trained.map_shape = pictures.map_shape
        if s.micro_batch and s.statistics != "trailing":
            in_torch_batch.share(self.trained, s.batch_size // (group.size * s.micro_batch))
        if compiled:
            torch._dynamo.config.optimize_ddp = False  # else a graph for each piece in which DDP shares gradients
            (self.trained.base if s.micro_batch else self.trained).compile(**COMPILER)
        # Where a graph is compiled for a size of batch, passes without a gradient are of the size of the others.
        self.wide = 1 if compiled else in_torch_batch.WIDE
        self.net = self.trained
        if group.size > 1 and not s.micro_batch:
            self.net = nn.parallel.DistributedDataParallel(self.trained, broadcast_buffers=False)
        self.training, validation = data.part("training"), data.part("validation").assign(flip=False)
        self.feed = feed(pictures, rows_of_training(data).image_name, group.device, s.workers)
        whole = s.whole_batches and len(self.training) >= s.batch_size
        self.batches = partial(Batches, batch_size=s.batch_size, group=group, whole_only=whole)
        size = s.validation_batch or max(s.batch_size, 32)
        self.checked = Batches(validation, size, group, filled=compiled)
        if not whole and group.size == 1 and len(self.training) % s.batch_size == 1:
            raise InputError(
                "whole_batches should be on, for the last batch of an epoch would be of one picture, of which there is "
                f"no variance. Received: {len(self.training)} pictures of training, batch_size={s.batch_size}"
            )

    def begin(self, stage: Stage, resumed: bool) -> None:
        self.adam = _adam(self.module, stage.lr, self.s.body_rate)
        self.average = averaged(self.trained, self.s.average)
        if resumed:
            self.adam.load_state_dict(self.kept["optimizer"])
            if self.average:
                self.average.load_state_dict(self.kept["average"])
        elif not stage.number and self.s.statistics in ("frozen", "trailing"):
            # ImageNet's are of other pictures, those of random weights of none.
            self._reestimate(self.trained, self.s.batch_size)

    def fit(self, stage: Stage, first: int, note: Note) -> None:
        s, group, over = self.s, self.group, False
        plan = EpochPlan(self.training, s.seed, stage.number, first)
        with tqdm(desc=stage.title, unit="pic", smoothing=0.02, disable=True if group.rank else None) as bar:
            while not over:
                epoch, began = plan.epoch, time.perf_counter()
                # The 1 sets it apart from the rows' own.
                rng = np.random.default_rng([s.seed, stage.number, epoch, 1, group.rank])
                torch.manual_seed(int(rng.integers(1 << 63)))
                batches = self.batches(plan.rows())
                pictures = len(batches) * s.batch_size
                bar.reset(pictures)
                try:
                    values = self._train(batches, bar)
                except RuntimeError as error:
                    if not is_out_of_memory(error):
                        raise
                    raise out_of_memory(s.batch_size, s.micro_batch, group.size) from error
                if s.statistics == "reestimated":
                    self._reestimate(self.judged, s.micro_batch or s.batch_size)
                if group.size > 1 and not s.sync_batch_norm:
                    average_statistics(self.trained, group)
                values |= {f"val_{name}": value for name, value in self._validate().items()}
                seconds = time.perf_counter() - began
                over = note(epoch, values, seconds)
                if group.rank == 0:
                    tqdm.write(epoch_line(stage.title, epoch + 1, stage.epochs, values, pictures / seconds))
                plan.epoch += 1

    def save_best(self) -> None:
        if self.group.rank == 0:
            module = getattr(self.judged, "whole", self.judged)
            copy = _on_host(module.state_dict())
            state = {key: tensor.contiguous().numpy() for key, tensor in copy.items()}
            self.run.later(weights.write_state, state, self.best, self.network)

    def load_best(self) -> None:
        self.group.wait()  # they are written
        weights.load_module(self.module, self.best, self.network)

    def state(self) -> tuple[dict, ...]:
        """Copies in the host's memory, so that training may go on while they are written; the first process's alone."""
        if self.group.rank:
            return ()
        return tuple(_on_host(each.state_dict()) for each in (self.module, self.adam, self.average) if each)

    @property
    def judged(self) -> nn.Module:
        """What is validated, and kept if it is the best."""
        return self.average.module if self.average else self.trained

    def _reestimate(self, module: nn.Module, micro_batch: int) -> None:
        """Replace the moving statistics by those over the training set, its pictures as they are."""
        seen = fed(self.batches(self.training.assign(flip=False)), self.feed)
        in_torch_batch.reestimate(module, (pixels for pixels, _ in seen), micro_batch, self.precisely)

    def _train(self, batches: Batches, bar: tqdm) -> dict[str, float]:
        """Go through the batches, a step of Adam each: means over them, of the network as it was at each."""
        s, group, means = self.s, self.group, Means(LOSSES[self.s.loss], self.group.device)
        self.net.train()
        if s.statistics in ("kept", "frozen", "trailing"):
            in_torch_batch.hold(self.trained if s.statistics == "kept" else self.trained.base)
        trail = in_torch_batch.Trail(self.trained) if s.statistics == "trailing" else nullcontext()
        for number, (pixels, mos) in enumerate(fed(batches, self.feed)):
            own = self._backward(pixels, mos, trail)
            if s.statistics == "trailing":
                trail.update(group.add)
            self.adam.step()
            self.adam.zero_grad(set_to_none=True)
            if self.average:
                self.average.update_parameters(self.trained)
            bar.update(len(mos))
            means.add(group.gather(own.detach(), len(mos)), mos)
            if number % EVERY == 0 and (found := means.not_finite()):
                check_finite({"loss": found.loss}, f"after {found.batches} batches of the epoch", self.best)
        return means.values()

    def _backward(self, pixels: torch.Tensor, mos: torch.Tensor, trail: AbstractContextManager) -> torch.Tensor:
        """Add the gradient of the whole batch's loss to the parameters; the scores of this process's pictures.

        trail: a context around the pass that the moving statistics see.
        """
        s, group = self.s, self.group

        def loss(own: torch.Tensor) -> torch.Tensor:
            return LOSSES[s.loss](group.gather(own, len(mos)), mos)

        if s.micro_batch:
            own = in_torch_batch.backward(self.net, pixels, s.micro_batch, loss, self.precisely, trail, self.wide)
            for parameter in self.net.parameters():
                if parameter.grad is not None:
                    group.add(parameter.grad)
            return own
        with self.precisely(), trail:
            own = self.net(pixels)[:, 0]
        # Each process has the gradient of its own pictures' part; DDP takes the mean, and their sum is wanted.
        (group.size * loss(own)).backward()
        return own

    @torch.no_grad()
    def _validate(self) -> dict[str, float]:
        """Means over the batches of the validation set."""
        group, means = self.group, Means(LOSSES[self.s.loss], self.group.device)
        judged = self.judged.eval()
        for pixels, mos in fed(self.checked, self.feed):
            with self.precisely():
                own = judged(pixels)[:, 0]
            means.add(group.gather(own, len(mos)), mos)
        return means.values()


def _adam(module: nn.Module, lr: float, body_rate: float) -> torch.optim.Adam:
    """Adam for what trains; the body at `body_rate` of the head's rate."""
    if body_rate == 1:
        return torch.optim.Adam([each for each in module.parameters() if each.requires_grad], lr, fused=True)
    body = [each for each in module.base.parameters() if each.requires_grad]
    groups = [{"params": body, "lr": lr * body_rate}, {"params": list(module.fc.parameters())}]
    return torch.optim.Adam(groups, lr, fused=True)


def is_out_of_memory(error: RuntimeError) -> bool:
    """Whether a device, or the processor, had not the memory for what was to be computed."""
    return isinstance(error, torch.OutOfMemoryError) or "DefaultCPUAllocator" in str(error)


def _on_host(state: Any) -> Any:
    """A copy of a state, its tensors on the processor."""
    if isinstance(state, torch.Tensor):
        return state.detach().to("cpu", copy=True)
    if isinstance(state, dict):
        return {key: _on_host(value) for key, value in state.items()}
    return [_on_host(value) for value in state] if isinstance(state, list) else state
