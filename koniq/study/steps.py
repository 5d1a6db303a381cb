"""A few steps of a training, timed on made-up pictures: a program of its own, `python -m koniq.study.steps CASE`.

Run by `koniq.study.estimate`, which gives it a `Case` as JSON, and in kuti's environment for kuti's row. The answer is
a line of JSON: {"step": seconds, "validation": seconds, "device": in words}, or {"error": why there is none}. A step
takes the network from uint8 pictures in memory to its new weights, by MSE and Adam: the loss takes no time to speak of.
"""

import json
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial

import numpy as np

from koniq.ground import InputError
from koniq.network import NETWORKS, Network

STEPS = 3  # timed, after one that prepares much; more of them where they take less than ENOUGH together
ENOUGH, MOST = 1.0, 20.0  # seconds that are timed: at least, in at most 50 steps; and after which no step begins
MOS = 50.0  # about which made-up scores lie


@dataclass(frozen=True)
class Case:
    """What the time of a step depends on, besides the machine."""

    framework: str  # tensorflow, kuti, pytorch
    network: str
    input_size: tuple[int, int]  # (height, width)
    batch_size: int
    micro_batch: int = 0
    statistics: str = "moving"
    precision: str = "float32"
    compile: str = "no"  # of PyTorch
    device: str = "auto"

    @property
    def validation_batch(self) -> int:
        """As many pictures as are validated at a time."""
        return self.batch_size if self.framework == "kuti" else max(self.batch_size, 32)

    def at_size(self) -> Network:
        return NETWORKS[self.network].at(tuple(self.input_size))

    def pictures(self, count: int) -> tuple[np.ndarray, np.ndarray]:
        """Made-up pictures, uint8 (count, height, width, 3), and their MOS, float32 (count, 1)."""
        rng = np.random.default_rng(1)
        pixels = rng.integers(0, 256, (count, *self.input_size, 3), np.uint8)
        return pixels, rng.uniform(0, 2 * MOS, (count, 1)).astype(np.float32)

    def dumped(self) -> str:
        return json.dumps(asdict(self))


# Of a case: what runs a step on a batch, what validates one, each until its numbers are there, and the device in words.
Ready = tuple[Callable[[], object], Callable[[], object], str]


def seconds(call: Callable[[], object]) -> float:
    """The median of the seconds that a call takes, after a first one."""
    call()
    taken = []
    while (len(taken) < STEPS or (sum(taken) < ENOUGH and len(taken) < 50)) and sum(taken) < MOST:
        began = time.perf_counter()
        call()
        taken.append(time.perf_counter() - began)
    return statistics.median(taken)


def timed(case: Case) -> dict[str, float | str]:
    """What the program answers. Raises InputError where the framework is not there, or a GPU is shown and not found."""
    step, validate, device = READY[case.framework](case)
    return {"step": seconds(step), "validation": seconds(validate), "device": device}


def in_tensorflow(case: Case) -> Ready:
    from koniq.engines.in_keras import prepare

    device = prepare(1, case.precision, case.device, training=True)
    from koniq.data.datasets import DataSet
    from koniq.training import in_keras
    from ku import tensor_ops as ops
    from ku.optimizers import FusedAdam

    how = {"start_at_mean": False, "micro_batch": case.micro_batch, "statistics": case.statistics}
    model = in_keras.start(case.at_size(), "none", DataSet("made up", None), **how)
    model.compile(FusedAdam(1e-4), in_keras.LOSSES["mse"], metrics=["MAE", ops.plcc_tf], jit_compile=False)
    return (*_of_batches(model, case, lambda pixels: pixels), device)


def in_kuti(case: Case) -> Ready:
    from koniq.training import in_kuti

    kuti = in_kuti.load(1, case.device, training=True)
    from tensorflow import keras

    model = in_kuti.build(kuti, case.at_size())
    model.compile(keras.optimizers.legacy.Adam(1e-4), "MSE", metrics=["MAE", kuti.tensor_ops.plcc_tf])
    preprocess = in_kuti.preprocessing(kuti)

    def prepared(pixels: np.ndarray) -> np.ndarray:
        return np.stack([preprocess(picture.astype(np.float32)) for picture in pixels])

    return (*_of_batches(model, case, prepared), in_kuti.device())


def _of_batches(model, case: Case, prepared: Callable[[np.ndarray], np.ndarray]) -> tuple[Callable, Callable]:
    """A step and a validation of a Keras model, of either version; both end when their numbers are there."""
    (pixels, mos), (others, their) = case.pictures(case.batch_size), case.pictures(case.validation_batch)
    return (
        lambda: model.train_on_batch(prepared(pixels), mos),
        lambda: model.test_on_batch(prepared(others), their),
    )


def in_pytorch(case: Case) -> Ready:
    import torch

    from koniq.engines.in_torch import choose, precise, prepare, settle
    from koniq.training import in_torch_batch

    device = choose(case.device, training=True)
    precision, compiled, name = settle(device, case.precision, case.compile)
    precisely, loss = partial(precise, device, precision), torch.nn.functional.mse_loss
    module = prepare(case.at_size().build_torch(MOS), device)
    if compiled:
        (module.base if case.micro_batch else module).compile()
    adam = torch.optim.Adam([each for each in module.parameters() if each.requires_grad], 1e-4, fused=True)
    (pixels, mos), (others, _) = (
        [torch.from_numpy(array) for array in case.pictures(count)]
        for count in (case.batch_size, case.validation_batch)
    )
    held = case.statistics in ("kept", "frozen", "trailing")

    def step() -> float:
        module.train()
        if held:
            in_torch_batch.hold(module if case.statistics == "kept" else module.base)
        trail = in_torch_batch.Trail(module) if case.statistics == "trailing" else in_torch_batch.NOTHING
        inputs, targets = pixels.to(device), mos.to(device)[:, 0]
        if case.micro_batch:
            own = in_torch_batch.backward(
                module, inputs, case.micro_batch, lambda scores: loss(scores, targets), precisely, trail
            )
        else:
            with precisely(), trail:
                own = module(inputs)[:, 0]
            loss(own.float(), targets).backward()
        if case.statistics == "trailing":
            trail.update()
        adam.step()
        adam.zero_grad(set_to_none=True)
        return own.sum().item()

    @torch.no_grad()
    def validate() -> float:
        module.eval()
        with precisely():
            return module(others.to(device)).sum().item()

    return step, validate, name


READY: dict[str, Callable[[Case], Ready]] = {"tensorflow": in_tensorflow, "kuti": in_kuti, "pytorch": in_pytorch}


def main(case: str) -> None:
    try:
        answer = timed(Case(**json.loads(case)))
    except InputError as error:
        answer = {"error": str(error)}
    print(json.dumps(answer))


if __name__ == "__main__":
    main(sys.argv[1])
