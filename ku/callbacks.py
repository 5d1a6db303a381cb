"""What watches over the epochs of a training: the best weights, early stopping, TensorBoard."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from ku.arrays import mapmm
from ku.parts import save_weights


class BestWeights(keras.callbacks.Callback):
    """Keeps the weights of the best epoch in one file, without the optimiser, across calls of `fit`.

    `best` is the best finite value of `monitor` so far (None before the first); a callback may set it.
    A `monitor` that is missing from the logs raises a ValueError.
    """

    def __init__(self, path: str | Path, monitor: str, mode: str, save_best_only: bool, period: int):
        super().__init__()
        if mode not in ("min", "max"):
            raise ValueError(f"monitor_mode should be 'min' or 'max'. Received: monitor_mode={mode!r}")
        self.path, self.monitor, self.mode = Path(path), monitor, mode
        self.save_best_only, self.period = save_best_only, period
        self.best: float | None = None
        self._epochs = 0

    def on_epoch_end(self, epoch: int, logs: Mapping[str, float] | None = None) -> None:
        self._epochs += 1
        if self._epochs % self.period:
            return
        if self.monitor not in (logs or {}):
            raise ValueError(
                f"monitor_metric should be one of {sorted(logs or {})}. Received: monitor_metric={self.monitor!r}"
            )
        value = float(logs[self.monitor])
        sign = 1 if self.mode == "min" else -1
        better = np.isfinite(value) and (self.best is None or sign * value < sign * self.best)
        if better or not self.save_best_only:
            save_weights(self.model, self.path)
        if better:
            self.best = value


class EarlyStopping(keras.callbacks.EarlyStopping):
    """Takes a value that is not finite for the worst there is, lest it stay the best."""

    def get_monitor_value(self, logs: Mapping[str, float] | None) -> float | None:
        value = super().get_monitor_value(logs)
        worst = np.inf if self.mode == "min" else -np.inf
        return value if value is None or np.isfinite(value) else worst


class TensorBoardWrapper(keras.callbacks.TensorBoard):
    """TensorBoard, which with `write_images` also shows the first pictures of `valid_gen`."""

    def __init__(self, valid_gen: keras.utils.PyDataset | None = None, **kw: Any):
        super().__init__(**kw)
        self.valid_gen = valid_gen

    def on_train_begin(self, logs: Mapping[str, float] | None = None) -> None:
        super().on_train_begin(logs)
        if not self.write_images or self.valid_gen is None:
            return
        pictures = np.asarray(keras.tree.flatten(self.valid_gen[0])[0][:8])
        if pictures.ndim != 4:
            return
        if pictures.dtype != np.uint8:
            pictures = mapmm(pictures.astype(np.float32), (0, 1))
        writer = self.summary.create_file_writer(str(Path(self.log_dir) / "validation"))
        with writer.as_default(step=0):
            self.summary.image("validation pictures", pictures, max_outputs=len(pictures))
        writer.close()
