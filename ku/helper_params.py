"""The parameters of a `ku.model_helper.ModelHelper`, with their defaults."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import keras


@dataclass(slots=True)
class HelperParams:
    """The parameters of a `ModelHelper`, as attributes or as items."""

    lr: float = 1e-4  # learning rate of compile(); train() takes its own
    loss: Any = "MSE"  # name, function or Loss, or a list with one for each output
    loss_weights: Any = None  # one number for each output
    metrics: Any = field(default_factory=list)  # names, functions or Metrics
    class_weights: Mapping[int, float] | Sequence[float] | None = None  # by class index; one output only
    multiproc: bool = True  # load batches ahead, in threads
    workers: int = 2  # how many threads
    max_queue_size: int = 10  # batches loaded ahead
    monitor_metric: str = "val_loss"  # what the best weights and early stopping go by
    monitor_mode: str = "min"  # "min" or "max"
    early_stop_patience: int = 20  # epochs without improvement
    checkpoint_period: int = 1  # epochs from one look at monitor_metric to the next
    save_best_only: bool = True  # False: the file holds the latest weights, better or not
    save_final: bool = True  # write the weights at the end of train() too
    optimizer: Any = keras.optimizers.Adam  # class, name, or an instance to be copied
    jit_compile: bool | str = "auto"  # as in keras.Model.compile
    write_graph: bool = False  # TensorBoard: the network
    write_images: bool = False  # TensorBoard: a few pictures of the validation set
    logs_root: str | Path | None = None  # None: no TensorBoard
    models_root: str | Path = "models/"
    features_root: str | Path = "features/"
    gen_class: type | None = None  # None: DataGeneratorHDF5 for a data_path in .h5, else DataGeneratorDisk
    callbacks: Sequence[keras.callbacks.Callback] | None = None

    def __getitem__(self, name: str) -> Any:
        return getattr(self, name)

    def __setitem__(self, name: str, value: Any) -> None:
        setattr(self, name, value)
