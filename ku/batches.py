"""The batches of a generator in another way: read once, weighted by class, planned otherwise for a while."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

import keras
import numpy as np

from ku.generators import for_keras


@contextmanager
def replanned(gen: keras.utils.PyDataset, attributes: Mapping[str, Any]) -> Iterator[None]:
    """Gives `gen` other `attributes`, those that it has, for the time of a with block."""
    before = {name: getattr(gen, name) for name in attributes if hasattr(gen, name)}
    for name in before:
        setattr(gen, name, attributes[name])
    gen.on_epoch_end()
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(gen, name, value)
        gen.on_epoch_end()


class InMemory(keras.utils.PyDataset):
    """The batches of `gen`, read once."""

    def __init__(self, gen: keras.utils.PyDataset):
        super().__init__()
        self.batches = [tuple(map(for_keras, gen[i])) for i in range(len(gen))]

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> tuple:
        return self.batches[index]


class ClassWeighted(keras.utils.PyDataset):
    """The batches of `gen`, with the weight of each row's class (Keras does this for a bare array only)."""

    def __init__(self, gen: keras.utils.PyDataset, weights: Mapping[int, float] | Sequence[float]):
        super().__init__(gen.workers, gen.use_multiprocessing, gen.max_queue_size)
        self.gen = gen
        self.weights = dict(weights if isinstance(weights, Mapping) else enumerate(weights))

    def __len__(self) -> int:
        return len(self.gen)

    def __getitem__(self, index: int) -> tuple:
        x, y = map(for_keras, self.gen[index])
        if isinstance(y, tuple):
            raise ValueError(f"class_weights need a single output. Received: {len(y)} outputs")
        classes = y.argmax(axis=1) if y.ndim > 1 and y.shape[1] > 1 else np.rint(y.ravel()).astype(int)
        return x, y, np.array([self.weights.get(c, 1) for c in classes.tolist()], np.float32)

    def on_epoch_end(self) -> None:
        self.gen.on_epoch_end()
