"""What watches over the epochs of a training: the best weights, early stopping, TensorBoard; and who calls it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import keras
import numpy as np

from ku.arrays import mapmm
from ku.parts import save_weights


class Callbacks(keras.callbacks.CallbackList):
    """The callbacks of a `fit`, as Keras has them, but that a batch's logs are read only where one of them needs it.

    Keras takes every number of every batch from the device. Here a callback that is `async_safe` gets them after a
    batch as they are, tensors, which to read is to wait for the device; so do those that do nothing then. Others get
    numbers, as all do after an epoch.
    """

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        if not self._given_tensors("train", batch, logs):
            super().on_train_batch_end(batch, logs)

    def on_test_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        if not self._given_tensors("test", batch, logs):
            super().on_test_batch_end(batch, logs)

    def _given_tensors(self, phase: str, batch: int, logs: Mapping[str, Any] | None) -> bool:
        """Whether all take tensors, and were given them."""
        all_do = all(_takes_tensors(callback, phase) for callback in self.callbacks)
        for callback in self.callbacks if all_do else ():
            getattr(callback, f"on_{phase}_batch_end")(batch, logs)
        return all_do


def _takes_tensors(callback: keras.callbacks.Callback, phase: str) -> bool:
    """Whether a callback is `async_safe`, or does nothing after a batch."""
    hooks = [f"on_{phase}_batch_end"] + (["on_batch_end"] if phase == "train" else [])
    idle = all(getattr(getattr(callback, hook), "_is_default", False) for hook in hooks)  # Keras marks its own
    return idle or getattr(callback, "async_safe", False)


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

    @property
    def async_safe(self) -> bool:
        """See `Callbacks`: what it writes, it writes at the end of an epoch, unless `update_freq` says batches."""
        return self.update_freq == "epoch"

    def __init__(self, valid_gen: keras.utils.PyDataset | None = None, **kw: Any):
        super().__init__(**kw)
        self.valid_gen = valid_gen

    def on_train_batch_end(self, batch: int, logs: Mapping[str, Any] | None = None) -> None:
        super().on_train_batch_end(batch, None if self.async_safe else logs)

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
