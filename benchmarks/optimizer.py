"""What FusedAdam saves: the time to the first training step of KonCept512, and the time of a step, beside Keras's Adam.

python -m benchmarks.optimizer --input-size 76 100 --batch-size 16
"""

import time
from dataclasses import dataclass

import numpy as np

from koniq.commands import cli
from koniq.engines import in_keras
from koniq.ground.text import markdown_table
from koniq.network import KONCEPT512


@dataclass(frozen=True)
class Settings:
    input_size: tuple[int, int] = (76, 100)  # (height, width)
    batch_size: int = 16
    steps: int = 10  # timed, after the first two


def main(s: Settings) -> None:
    device = in_keras.prepare(seed=1)

    import keras

    from ku.optimizers import FusedAdam

    rng = np.random.default_rng(1)
    pictures = rng.integers(0, 256, (s.batch_size, *s.input_size, 3), np.uint8)
    mos = rng.uniform(0, 100, (s.batch_size, 1)).astype(np.float32)
    rows = []
    for optimizer in (keras.optimizers.Adam, FusedAdam):
        model = KONCEPT512.at(s.input_size).build()
        model.compile(optimizer(1e-4), "mse", jit_compile=False)
        seconds = []
        for _ in range(s.steps + 2):
            began = time.perf_counter()
            float(model.train_on_batch(pictures, mos))
            seconds.append(time.perf_counter() - began)
        step = np.median(seconds[2:])
        rows.append((optimizer.__name__, f"{seconds[0]:.1f}", f"{step:.3f}", f"{s.batch_size / step:.1f}"))
        keras.backend.clear_session()
    print(f"{device}; {s.input_size[0]}x{s.input_size[1]}, batch {s.batch_size}, median of {s.steps} steps\n")
    print(markdown_table(("optimiser", "first step, s", "a step, s", "pictures/s"), rows))


if __name__ == "__main__":
    cli.run(main, Settings)
