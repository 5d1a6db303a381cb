"""Pictures a second that come to a training out of a prepared file, beside those that reading the file gives, in turn.

python -m benchmarks.feeding                                      # 384x512, batches of 8, every way
python -m benchmarks.feeding --batch-size 32 --workers 4

Raw is each picture of an epoch, in the epoch's order, copied out of the mapped file to its place in the array of its
batch, a new one each, by one thread; the file lies in the cache of the system. The others are what trainings do: every
second picture is mirrored, on the device by the step. A way ends where the network would begin.
"""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import numpy as np
import pandas as pd
from PIL import Image
from tqdm import tqdm

from koniq.commands import cli
from koniq.data.datasets import DataSet
from koniq.engines.plan import has_keras
from koniq.ground import InputError, machine
from koniq.ground.text import markdown_table
from koniq.network import KONCEPT512, weight_files
from koniq.pictures.order import EpochPlan
from koniq.pictures.prepared import Prepared, prepare

Epoch = Callable[[], object]


@dataclass(frozen=True)
class Settings:
    cases: tuple[str, ...] = ()  # some of those in the table, by name; all that can run here if empty
    pictures: int = 400  # made up, in the file
    size: tuple[int, int] = KONCEPT512.input_size  # (height, width)
    batch_size: int = 8
    workers: int = 2  # threads
    passes: int = 4  # over the file in an epoch, which thus is as long as one of 1,600 pictures
    rounds: int = 5  # an epoch of each case in turn


def main(s: Settings) -> None:
    if min(*s.size, s.batch_size, s.workers, s.passes, s.rounds) < 1 or s.pictures < s.batch_size:
        raise InputError(f"Numbers should be positive, and pictures a batch at least. Received: {s}")
    if set(s.cases) - CASES.keys():
        raise InputError(f"cases should be among {', '.join(CASES)}. Received: {', '.join(s.cases)}")
    with TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        prepared, ids = made_up(Path(folder), s)
        names = [name for name in CASES if name == "raw" or (name in s.cases if s.cases else can_run(name))]
        epochs = {name: CASES[name](prepared, ids, s) for name in names}
        found = pd.DataFrame([times(epochs, len(ids) // s.batch_size * s.batch_size) for _ in rounds(s)][1:])
    print(f"\n{machine.machine()}; {machine.in_words(machine.versions())}; {machine.commit()}")
    print(
        f"{s.size[0]}x{s.size[1]}, batches of {s.batch_size}, {s.workers} threads; {s.rounds} rounds of {len(ids):,}\n"
    )
    print(table(found))


def can_run(name: str) -> bool:
    """Whether the framework of a case is installed."""
    return weight_files.has_torch() if name.startswith("torch") else has_keras() if name.startswith("keras") else True


def rounds(s: Settings) -> tqdm:
    """One more than are counted: the first prepares much."""
    return tqdm(range(s.rounds + 1), desc="rounds", disable=None)


def made_up(folder: Path, s: Settings) -> tuple[Prepared, pd.DataFrame]:
    """A prepared file of noise, and the rows of an epoch, which names each picture `passes` times."""
    rng, images = np.random.default_rng(1), folder / "images"
    images.mkdir()
    names = [f"{number:04}.bmp" for number in range(s.pictures)]
    for name in names:
        Image.fromarray(rng.integers(0, 256, (*s.size, 3), np.uint8)).save(images / name)
    ids = pd.DataFrame({"image_name": names, "MOS": rng.uniform(0, 100, s.pictures), "set": "training"})
    ids["image_path"] = [images / name for name in names]
    network = KONCEPT512.at(s.size)
    prepare(DataSet("noise", ids, folder=images), network, folder / "noise.h5", s.workers)
    for path in ids.image_path:
        path.unlink()
    return Prepared(folder / "noise.h5"), pd.concat([ids] * s.passes, ignore_index=True)


def times(epochs: dict[str, Epoch], pictures: int) -> dict[str, float]:
    """Pictures a second of an epoch of each case."""
    found = {}
    for name, epoch in epochs.items():
        began = perf_counter()
        epoch()
        found[name] = pictures / (perf_counter() - began)
    return found


def raw(prepared: Prepared, ids: pd.DataFrame, s: Settings) -> Epoch:
    plan = EpochPlan(ids, 1, 0, 0)

    def epoch() -> None:
        names = plan().image_name.tolist()
        for start in range(0, len(names) - s.batch_size + 1, s.batch_size):
            batch = np.empty((s.batch_size, *s.size, 3), np.uint8)
            for place, name in enumerate(names[start : start + s.batch_size]):
                batch[place] = prepared[name]

    return epoch


def in_keras(prepared: Prepared, ids: pd.DataFrame, s: Settings, step: bool, held: bool) -> Epoch:
    """step: whether the batches are taken and mirrored, as the training's step begins. held: the set on the device."""
    from koniq.engines.in_keras import prepare as ready

    ready(1)
    import keras
    import tensorflow as tf

    from koniq.training import in_keras_feed
    from ku.model_helper import ModelHelper
    from ku.on_device import OnDevice

    pictures = keras.Input((*s.size, 3), dtype="uint8")
    model = OnDevice(pictures, keras.layers.Dense(1)(keras.layers.Flatten()(pictures)[:, :1]), name="none")
    how = {"batch_size": s.batch_size, "inputs": ["image_name"], "outputs": ["MOS"], "shuffle": False}
    helper = ModelHelper(model, "none", ids.drop_duplicates("image_name"), how, workers=s.workers)
    in_keras_feed.feed(helper, prepared, KONCEPT512.at(s.size), held)
    plan = EpochPlan(ids, 1, 0, 0)
    batches = helper.make_generator(plan.rows(), ids_fn=plan, fixed_batches=True, **in_keras_feed.flips(model))
    dataset = batches.tf_dataset()
    seen = tf.function(lambda iterator: model.seen(iterator.get_next())[0], jit_compile=False)

    def epoch() -> None:
        if step:  # a call each, as Keras's training takes them
            iterator = iter(dataset)
            for _ in range(len(batches)):
                last = seen(iterator)
            last.numpy()  # until it is there
        else:
            dataset.reduce(np.int64(0), lambda number, *_: number + 1)
        batches.on_epoch_end()

    return epoch


def in_torch(prepared: Prepared, ids: pd.DataFrame, s: Settings, step: bool, held: bool) -> Epoch:
    """step: whether they are mirrored. held: the set on the device, which without a GPU is the processor's memory."""
    import torch

    from koniq.training.in_torch_feed import Batches, Host, OnDevice, fed
    from koniq.training.in_torch_processes import Group

    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    names = ids.image_name.drop_duplicates().tolist()
    way = OnDevice(prepared, names, device) if held else Host(prepared, device, s.workers)
    plan, how = EpochPlan(ids, 1, 0, 0), {} if step else {"flip": False}

    def epoch() -> None:
        batches = Batches(plan().assign(**how), s.batch_size, Group(0, 1, device), whole_only=True)
        for pixels, _ in fed(batches, way):
            last = pixels
        last[0].cpu()  # until it is there

    return epoch


CASES: dict[str, Callable[[Prepared, pd.DataFrame, Settings], Epoch]] = {
    "raw": raw,
    "keras": lambda *of: in_keras(*of, step=False, held=False),  # batches by threads, as they come to the step
    "keras, mirrored": lambda *of: in_keras(*of, step=True, held=False),  # and mirrored by it
    "keras, on the device": lambda *of: in_keras(*of, step=True, held=True),  # taken from there, and mirrored
    "torch": lambda *of: in_torch(*of, step=False, held=False),
    "torch, mirrored": lambda *of: in_torch(*of, step=True, held=False),  # on a processor by the threads
    "torch, on the device": lambda *of: in_torch(*of, step=True, held=True),
}


def table(found: pd.DataFrame) -> str:
    """Markdown: the median and range of each case's pictures a second, and of its ratio to raw of the same round."""
    rows = []
    for name in found:
        rate, ratio = found[name], found[name] / found["raw"]
        ends = f"{rate.min():,.0f} to {rate.max():,.0f}"
        rows.append(
            [name, f"{rate.median():,.0f}", ends, f"{ratio.median():.2f}", f"{ratio.min():.2f} to {ratio.max():.2f}"]
        )
    return markdown_table(["case", "pictures/s", "range", "ratio to raw", "range of it"], rows)


if __name__ == "__main__":
    cli.run(main, Settings)
