"""One object that trains, evaluates, saves and reads one Keras model, over the rows of one table."""

import copy
import functools
import glob
import shutil
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd

from ku.generators import DataGeneratorDisk, DataGeneratorHDF5, fixed_size, for_keras
from ku.generic import (
    H5Helper,
    ShortNameBuilder,
    atomic_path,
    check_keys_exist,
    force_list,
    get_sizes,
    mapmm,
    raw_confirm,
)

# Endings of a weights file: ours, then those of older files.
_WEIGHTS = (".weights.h5", ".keras", "_weights.h5", ".h5")
_MODELS = (".keras", "_model.h5", ".h5")

# What a generator needs in order to give every row once, in the order of the table.
_IN_ORDER = {"shuffle": False, "fixed_batches": False, "ids_fn": None}


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
            _save_weights(self.model, self.path)
        if better:
            self.best = value


class _EarlyStopping(keras.callbacks.EarlyStopping):
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


class ModelHelper:
    """Trains, evaluates, saves and reads `model` over the rows of `ids`.

    Args:
        model: a built Keras model with `inputs` and `outputs`.
        root_name: what the names of its files start with.
        ids: one row for each item; the column `set` says "training", "validation" or "test".
        gen_params: arguments of the generators, `data_path` among them (see `ku.generators`). Their batches
            are loaded by `workers` threads if `multiproc`, else between the training steps; never by
            processes, because a fork of a running TensorFlow can hang.
        verbose: print what is read and written, and the progress of `predict`.
        params: see `HelperParams`. Unknown ones raise a ValueError.

    `checkpoint` (a `BestWeights`) and `early_stop` are the callbacks of the helper. They run in this order:
    checkpoint, early_stop, TensorBoard, then `params.callbacks` as given. `checkpoint.best` outlives a call
    of `train`; `early_stop` starts afresh at each, after which a callback of the caller may, in its
    `on_train_begin`, restore `early_stop.wait` and `early_stop.best`.
    """

    def __init__(
        self,
        model: keras.Model,
        root_name: str,
        ids: pd.DataFrame,
        gen_params: Mapping[str, Any] = {},
        verbose: bool = False,
        **params: Any,
    ):
        check_keys_exist(params, [parameter.name for parameter in fields(HelperParams)])
        self.model = model
        self.root_name = root_name
        self.ids = ids
        self.gen_params = copy.copy(gen_params)
        self.verbose = verbose
        self.params = HelperParams(**params)
        self.strategy = None  # of tf.distribute, by set_multi_gpu
        self._name_parts: dict[str, Any] = {}
        self._program: tuple | None = None  # what model.compile was last given, the optimiser apart
        self._learner: tuple | None = None  # what the optimiser was made from and for
        self._optimizer: keras.Optimizer | None = None
        self._initial_slots: list[np.ndarray] = []
        self._cut: tuple | None = None  # (model, layer, sub-model of the last predict)
        self.set_model_name()
        self.set_callbacks()

    # Names and places

    def set_model_name(self) -> ShortNameBuilder:
        """Builds `model_name` from the model, the loss and the batch size, and the parts of `update_name`.

        Inputs for pictures of any size are named by the `input_shape` of `gen_params`, where it has a height and width.
        """
        self.model_name = ShortNameBuilder(
            prefix=self.root_name,
            bsz=self.gen_params.get("batch_size", 32),
            i=_shapes(self.model.inputs, fixed_size(self.gen_params.get("input_shape"))),
            l=[_name(loss) for loss in keras.tree.flatten(self.params.loss)],
            o=_shapes(self.model.outputs),
        )
        self.model_name.update(self._name_parts)
        return self.model_name

    def update_name(self, **parts: Any) -> str:
        """Adds `key=value` parts to `model_name`, and returns the name."""
        self._name_parts.update(parts)
        self.model_name.update(parts)
        return self.model_name()

    def _model_path(self, ending: str, name: str = "") -> Path:
        return Path(self.params.models_root) / f"{name or self.model_name()}_{ending}"

    # Generators

    def make_generator(
        self, ids: pd.DataFrame, subset: str | None = None, **kw: Any
    ) -> DataGeneratorDisk | DataGeneratorHDF5:
        """A generator over `ids`, or over its rows whose `set` is `subset`; `kw` go before `gen_params`."""
        if subset is not None:
            if "set" not in ids.columns:
                raise KeyError(f"ids should have a column 'set'. Received: columns={list(ids.columns)}")
            if subset not in (sets := list(ids["set"].unique())):
                raise ValueError(f"subset should be one of {sets}. Received: subset={subset!r}")
            ids = ids[ids["set"] == subset]
        p = self.params
        args = {"workers": p.workers if p.multiproc else 1, "max_queue_size": p.max_queue_size}
        args |= {**self.gen_params, **kw}
        data_path = args.pop("data_path", None)
        in_hdf5 = str(data_path).lower().endswith((".h5", ".hdf5"))
        gen_class = p.gen_class or (DataGeneratorHDF5 if in_hdf5 else DataGeneratorDisk)
        return gen_class(ids, data_path, **args)

    def _generator(self, gen: Any, subset: str, **kw: Any) -> keras.utils.PyDataset:
        """The generator meant by True (on `subset`), by the name of a set, or by a generator."""
        if gen is None or gen is False:
            raise ValueError(f"A generator, the name of a set, or True should be given. Received: {gen}")
        if gen is True or isinstance(gen, str):
            return self.make_generator(self.ids, subset if gen is True else gen, **kw)
        return gen

    def test_generator(self, input_idx: int = 0) -> Any:
        """Prints the sizes of a batch of `ids`, and shows its pictures of input `input_idx`: a figure."""
        from ku.image_utils import view_stack

        batch = self.make_generator(self.ids)[0]
        print(get_sizes(batch))
        return view_stack(force_list(batch[0])[input_idx])

    # Training

    def compile(self, lr: float | None = None, *, fresh: bool = True) -> None:
        """Readies the model to train by `params`, and compiles it only where something has changed.

        Tracing a large network takes minutes, so a `fresh` optimiser (slots and iterations as new) is had by
        resetting the one in use. Without `fresh` its state and, unless given, its learning rate stay.

        Args:
            lr: the learning rate; None means `params.lr` for a fresh optimiser. An optimiser that was given
                a schedule keeps to it.
            fresh: whether the optimiser starts anew.
        """
        p, model = self.params, self.model
        # Copies of the lists, lest a change inside one go unseen.
        program = keras.tree.map_structure(lambda leaf: leaf, (model, p.loss, p.loss_weights, p.metrics, p.jit_compile))
        flags = [layer.trainable for layer in model.layers]
        learner = (model, p.optimizer, flags, [id(variable) for variable in model.trainable_variables])
        ours = model.compiled and model.optimizer is self._optimizer
        same_learner = ours and learner == self._learner
        with self.strategy.scope() if self.strategy else nullcontext():
            if same_learner and program == self._program:
                if fresh:
                    self._reset_optimizer()
            elif ours or fresh or not model.compiled:  # else the caller compiled it, and has asked to keep that
                fresh = fresh or not same_learner
                model.compile(
                    optimizer=_new_optimizer(p.optimizer) if fresh else self._optimizer,
                    loss=p.loss,
                    loss_weights=p.loss_weights,
                    metrics=p.metrics,
                    jit_compile=p.jit_compile,
                )
                self._program, self._learner, self._optimizer = program, learner, model.optimizer
                if fresh:
                    self._optimizer.build(model.trainable_variables)
                    self._initial_slots = [_compact(v) for v in self._optimizer.variables]
        if lr is None and fresh:
            lr = p.lr
        if lr is not None and isinstance(model.optimizer.learning_rate, keras.Variable):
            model.optimizer.learning_rate = lr

    def _reset_optimizer(self) -> None:
        for variable, value in zip(self._optimizer.variables, self._initial_slots, strict=True):
            value = keras.ops.convert_to_tensor(value, variable.dtype)
            variable.assign(keras.ops.broadcast_to(value, variable.shape))

    def set_callbacks(self) -> list[keras.callbacks.Callback]:
        """New `checkpoint` and `early_stop` callbacks by `params`; the best so far is forgotten."""
        p = self.params
        self.checkpoint = BestWeights(
            self._model_path("best.weights.h5"),
            p.monitor_metric,
            p.monitor_mode,
            p.save_best_only,
            p.checkpoint_period,
        )
        self.early_stop = _EarlyStopping(
            p.monitor_metric,
            mode=p.monitor_mode,
            patience=p.early_stop_patience,
            restore_best_weights=False,
        )
        return [self.checkpoint, self.early_stop]

    def _callbacks(self, valid_gen: Any, verbose: Any) -> list[keras.callbacks.Callback]:
        p, kept = self.params, self.checkpoint
        place = self._model_path("best.weights.h5"), p.monitor_metric, p.monitor_mode
        if (kept.path, kept.monitor, kept.mode) != place:
            self.set_callbacks()
        self.checkpoint.save_best_only, self.checkpoint.period = p.save_best_only, p.checkpoint_period
        self.early_stop.patience, self.early_stop.verbose = p.early_stop_patience, int(bool(verbose))
        can_monitor = valid_gen is not None or not p.monitor_metric.startswith("val_")
        callbacks = [self.checkpoint, self.early_stop] if can_monitor else []
        if p.logs_root is not None:
            callbacks.append(
                TensorBoardWrapper(
                    valid_gen,
                    log_dir=Path(p.logs_root) / self.model_name(),
                    write_graph=p.write_graph,
                    write_images=p.write_images,
                )
            )
        return [*callbacks, *(p.callbacks or ())]

    def train(
        self,
        train_gen: Any = True,
        valid_gen: Any = True,
        lr: float = 1e-4,
        epochs: int = 1,
        valid_in_memory: bool = False,
        recompile: bool = True,
        verbose: bool | int | str = True,
        *,
        initial_epoch: int = 0,
    ) -> keras.callbacks.History:
        """Trains the model; the best weights so far lie in `<models_root>/<model_name()>_best.weights.h5`.

        Args:
            train_gen: a generator, the name of a set, or True for the set "training".
            valid_gen: the same for validation; True means "validation", None or False none. Without
                validation nothing named `val_...` can be monitored, so no best is kept.
            lr: learning rate of these epochs.
            epochs: the epoch to end at, counted from 0, as in Keras.
            valid_in_memory: read the validation set once, rather than at each epoch.
            recompile: start with a fresh optimiser; False carries its state on.
            verbose: as in Keras; False prints nothing.
            initial_epoch: the epoch to start at.
        """
        train_gen = self._generator(train_gen, "training")
        if valid_gen is None or valid_gen is False:
            valid_gen = None
        else:
            valid_gen = self._generator(valid_gen, "validation", **_IN_ORDER)
            valid_gen = _InMemory(valid_gen) if valid_in_memory else valid_gen
        if self.params.class_weights is not None:
            train_gen = _ClassWeighted(train_gen, self.params.class_weights)
        self.compile(lr, fresh=recompile)
        self._build_measures(train_gen)
        history = self.model.fit(
            train_gen,
            validation_data=valid_gen,
            epochs=epochs,
            initial_epoch=initial_epoch,
            shuffle=False,  # the generators shuffle for themselves
            callbacks=self._callbacks(valid_gen, verbose),
            verbose=verbose,
        )
        if self.params.save_final:
            _save_weights(self.model, self._model_path("final.weights.h5"))
        return history

    def validate(
        self, valid_gen: Any = True, verbose: bool | int = 2, batch_size: int = 32, recompile: bool = True
    ) -> dict[str, float]:
        """The loss and each metric, by its name.

        Args:
            valid_gen: a generator, used as it is, the name of a set, or True for the set "validation".
            verbose: as in Keras.
            batch_size: of a generator made here.
            recompile: compile anew if the loss or the metrics have changed; the optimiser's state stays.
        """
        gen = self._generator(valid_gen, "validation", batch_size=batch_size, **_IN_ORDER)
        if recompile or not self.model.compiled:
            self.compile(fresh=False)
        self._build_measures(gen)
        return self.model.evaluate(gen, verbose=verbose, return_dict=True)

    def _build_measures(self, gen: keras.utils.PyDataset) -> None:
        """Builds the loss and the metrics on a batch of `gen`, lest Keras does, on torch, by its worker threads.

        Keras 3.15 leaves the rest of the plan it has peeked into in their queue, ahead of the first epoch:
        each epoch then ends one batch late, and gives some rows twice and others not at all.
        """
        if keras.backend.backend() == "torch" and gen.workers > 1:
            self.model.test_on_batch(*map(for_keras, gen[0]))

    def set_trainable(self, index: int | str) -> None:
        """Makes the layers from `index` on (a position or a name) trainable, and freezes those before."""
        layers = self.model.layers
        if isinstance(index, str):
            index = get_layer_index(self.model, index)
        if not -len(layers) <= index <= len(layers):
            raise ValueError(f"index should lie within {len(layers)} layers. Received: index={index}")
        start = index % len(layers) if index < 0 else index
        for position, layer in enumerate(layers):
            layer.trainable = position >= start

    def set_multi_gpu(self, gpus: int | Sequence[int] | None = None) -> None:
        """Spreads each batch over several GPUs (TensorFlow only); the model is rebuilt, with its weights.

        `gpus` says how many, or which; None means all. A ValueError is raised where there are fewer than two.
        """
        if keras.backend.backend() != "tensorflow":
            raise ValueError(f"set_multi_gpu needs TensorFlow. Received: backend={keras.backend.backend()!r}")
        import tensorflow as tf

        found = range(len(tf.config.list_physical_devices("GPU")))
        numbers = found if gpus is None else range(gpus) if isinstance(gpus, int) else gpus
        if len(numbers) < 2 or not set(numbers) <= set(found):
            raise ValueError(f"gpus should name at least 2 of the {len(found)} found. Received: gpus={gpus}")
        self.strategy = tf.distribute.MirroredStrategy([f"GPU:{n}" for n in numbers])
        weights = self.model.get_weights()
        with self.strategy.scope():
            self.model = keras.models.clone_model(self.model)
        self.model.set_weights(weights)

    # Prediction

    def predict(
        self,
        test_gen: Any = None,
        output_layer: str | int | None = None,
        repeats: int = 1,
        batch_size: int | None = None,
        remodel: bool = True,
    ) -> Any:
        """The model's outputs for each row of a generator, in the order of its rows.

        Args:
            test_gen: a generator (used without shuffling and with its last batch), the name of a set, or None
                or True for the set "test".
            output_layer: name or position of the layer to read in place of the model's outputs.
            repeats: passes over the data, which differ where the generator or the model draws at random.
            batch_size: in place of the generator's own.
            remodel: False uses the sub-model that ends in `output_layer` from the last call, if it fits.

        Returns:
            An array, a list of them for several outputs; with `repeats` > 1 a list with one such for each.
        """
        if repeats < 1:
            raise ValueError(f"repeats should be positive. Received: repeats={repeats}")
        gen = self._generator(True if test_gen is None else test_gen, "test", **_IN_ORDER)
        model = self.model if output_layer is None else self._sub_model(output_layer, remodel)
        if self.params.jit_compile != "auto":
            model.jit_compile = self.params.jit_compile
        with _replanned(gen, _IN_ORDER if batch_size is None else {**_IN_ORDER, "batch_size": batch_size}):
            passes = [model.predict(gen, verbose=int(self.verbose)) for _ in range(repeats)]
        passes = keras.tree.map_structure(_as_numpy_float, passes)
        passes = [y[0] if isinstance(y, list) and len(y) == 1 else y for y in passes]
        return passes[0] if repeats == 1 else passes

    def _sub_model(self, layer: str | int, remodel: bool) -> keras.Model:
        if remodel or self._cut is None or self._cut[:2] != (self.model, layer):
            self._cut = (self.model, layer, _cut_model(self.model, layer))
        return self._cut[2]

    def save_activations(
        self,
        output_layer: str | int | None = None,
        *,
        ids: pd.DataFrame | None = None,
        batch_size: int = 1024,
        overwrite: bool = False,
    ) -> Path:
        """Writes what `output_layer` (None: the model) gives for each row of `ids` (None: all) to HDF5.

        The data sets carry the names in the first column of `inputs`, so that a `DataGeneratorHDF5` reads
        them. `batch_size` rows are held in memory at a time. Returns the file, `<features_root>/
        <model_name()>_activations_<layer>.h5`; one that exists raises FileExistsError unless `overwrite`.
        """
        return self._save_outputs("activations", [(None, {})], output_layer, ids, batch_size, overwrite)

    def save_features(
        self,
        process_gen: Callable[[], Iterable[tuple[Callable, Mapping[str, Any]]]],
        batch_size: int = 1024,
        *,
        output_layer: str | int | None = None,
        ids: pd.DataFrame | None = None,
        overwrite: bool = False,
    ) -> Path:
        """As `save_activations`, once for each way to process the pictures, in an HDF5 group of its own.

        `process_gen()` yields (function, arguments): a group holds the outputs for `function(picture,
        **arguments)`, and its name is made of the function's name and the arguments. The file's name is
        `<model_name()>_features_<layer>.h5`.
        """
        return self._save_outputs("features", process_gen(), output_layer, ids, batch_size, overwrite)

    def _save_outputs(
        self,
        kind: str,
        processes: Iterable[tuple[Callable | None, Mapping[str, Any]]],
        layer: str | int | None,
        ids: pd.DataFrame | None,
        batch_size: int,
        overwrite: bool,
    ) -> Path:
        ids = self.ids if ids is None else ids
        name = "output" if layer is None else _find_layer(self.model, layer).name
        path = Path(self.params.features_root) / f"{self.model_name()}_{kind}_{name.replace('/', '-')}.h5"
        if path.exists() and not overwrite:
            raise FileExistsError(f"{path} exists; overwrite=True replaces it. Received: overwrite=False")
        column = force_list(self.gen_params.get("inputs", []))[:1]
        if not column:
            raise ValueError("gen_params should name the rows by a column in 'inputs'. Received: none")
        with atomic_path(path) as temporary, H5Helper(temporary, "w") as h5:
            for function, args in processes:
                process = {"process_fn": functools.partial(function, **args)} if function else {}
                groups = [ShortNameBuilder(function.__name__)(**args)] if function else None
                for start in range(0, len(ids), batch_size):
                    rows = ids.iloc[start : start + batch_size]
                    gen = self.make_generator(rows, **_IN_ORDER, **process)
                    outputs = self.predict(gen, layer, remodel=False)
                    outputs = [outputs] if groups else outputs
                    h5.write_data(outputs, rows[column[0]].tolist(), groups)
        return path

    # Files

    def save_model(
        self,
        weights_only: bool = False,
        model: keras.Model | None = None,
        name_extras: str = "",
        best: bool = False,
        verbose: int = 1,
    ) -> Path:
        """Writes `<model_name()><name_extras>_best` or `_final`, the whole model (.keras) or its weights."""
        model = model or self.model
        ending = ("best" if best else "final") + (_WEIGHTS if weights_only else _MODELS)[0]
        path = self._model_path(ending, self.model_name() + name_extras)
        if weights_only:
            _save_weights(model, path)
        else:
            with atomic_path(path) as temporary:
                model.save(temporary)
        if verbose:
            print(f"Saved {path}")
        return path

    def load_model(
        self,
        model_name: str = "",
        best: bool = True,
        from_weights: bool = True,
        by_name: bool = False,
        verbose: int = 1,
    ) -> bool:
        """Reads what `save_model` or `train` wrote, or an older `.h5`; False where there is no such file.

        Args:
            model_name: a name under `models_root`, or the path of a file; '' means `model_name()`.
            best: `_best`, rather than `_final`.
            from_weights: read weights into `model`, rather than replace `model` by the one in the file.
            by_name: match layers by name (weights in an older `.h5` only).
            verbose: say what was read.
        """
        stem = self._model_path("best" if best else "final", model_name)
        endings = _WEIGHTS if from_weights else _MODELS
        candidates = [Path(model_name), *(stem.with_name(stem.name + ending) for ending in endings)]
        path = next((path for path in candidates if path.is_file()), None)
        if path is None:
            if verbose:
                print(f"No file {candidates[1]}")
            return False
        if from_weights:
            _bare(self.model).load_weights(path, **({"by_name": True} if by_name else {}))
        else:
            self.model = keras.models.load_model(path, compile=False)
        if verbose:
            print(f"Loaded {path}")
        return True

    def clean_outputs(self, force: bool = False) -> list[Path]:
        """Removes the logs, weights and features under `model_name()`, once confirmed; returns them."""
        p, name = self.params, glob.escape(self.model_name())
        paths = [path for kind in ("best", "final") for path in Path(p.models_root).glob(f"{name}_{kind}.*")]
        for kind in ("activations", "features"):
            paths += Path(p.features_root).glob(f"{name}_{kind}_*.h5")
        if p.logs_root is not None:
            paths += Path(p.logs_root).glob(name)
        if not paths or not (force or raw_confirm(f"Remove {', '.join(map(str, paths))}?")):
            return []
        for path in paths:
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        return paths


def get_layer_index(model: keras.Model, name: str) -> int:
    """The position of the layer `name` in `model.layers`."""
    names = [layer.name for layer in model.layers]
    if name not in names:
        raise ValueError(f"name should be a layer, one of {names}. Received: name={name!r}")
    return names.index(name)


def get_activations(im: np.ndarray, model: keras.Model, layer: str | int) -> np.ndarray:
    """What `layer` (name or position) gives for one input `im`, or for a batch of them."""
    im = np.asarray(im)
    single = im.ndim == len(model.inputs[0].shape) - 1
    activations = _cut_model(model, layer)(im[None] if single else im, training=False)
    return keras.ops.convert_to_numpy(activations)[0 if single else slice(None)]


def _find_layer(model: keras.Model, layer: str | int) -> keras.Layer:
    return model.layers[get_layer_index(model, layer) if isinstance(layer, str) else layer]


def _cut_model(model: keras.Model, layer: str | int) -> keras.Model:
    """The part of `model` that ends in `layer`."""
    inputs = model.inputs[0] if len(model.inputs) == 1 else model.inputs
    return keras.Model(inputs, _find_layer(model, layer).output)


def _bare(model: keras.Model) -> keras.Model:
    """`model` without its optimiser, whose slots are twice the size of the weights."""
    return keras.Model(model.inputs, model.outputs)


def _save_weights(model: keras.Model, path: Path) -> None:
    with atomic_path(path) as temporary:
        _bare(model).save_weights(temporary)


def _new_optimizer(optimizer: Any) -> keras.Optimizer:
    """An optimiser from a class, a name or an instance, which is copied: it serves one model only."""
    if isinstance(optimizer, type):
        return optimizer()
    if isinstance(optimizer, str):
        return keras.optimizers.get(optimizer)
    return type(optimizer).from_config(optimizer.get_config())


def _compact(variable: keras.Variable) -> np.ndarray:
    """The value of `variable`, as one number where it is constant: as slots are when new."""
    value = keras.ops.convert_to_numpy(variable)
    return value.flat[0] if value.size and value.min() == value.max() else value


def _as_numpy_float(y: np.ndarray) -> np.ndarray:
    """`y` with bfloat16, which is no type of NumPy's own, as float32."""
    return y.astype(np.float32) if y.dtype.kind == "V" else y


def _name(function: Any) -> str:
    """Such as 'mse' or 'huber_loss', from a name, a function or a Keras object."""
    return getattr(function, "__name__", None) or getattr(function, "name", str(function))


def _shapes(tensors: Sequence[keras.KerasTensor], size: tuple[int, int] | None = None) -> str:
    """Such as '384x512x3', with N for any size, joined by '-'. size: the (height, width) of pictures of any size."""
    shapes = [tensor.shape[1:] for tensor in tensors]
    if size:
        shapes = [[n or m for n, m in zip(s, (*size, None), strict=True)] if len(s) == 3 else s for s in shapes]
    return "-".join("x".join(str(n or "N") for n in shape) for shape in shapes)


@contextmanager
def _replanned(gen: keras.utils.PyDataset, attributes: Mapping[str, Any]) -> Iterator[None]:
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


class _InMemory(keras.utils.PyDataset):
    """The batches of `gen`, read once."""

    def __init__(self, gen: keras.utils.PyDataset):
        super().__init__()
        self.batches = [tuple(map(for_keras, gen[i])) for i in range(len(gen))]

    def __len__(self) -> int:
        return len(self.batches)

    def __getitem__(self, index: int) -> tuple:
        return self.batches[index]


class _ClassWeighted(keras.utils.PyDataset):
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
        classes = y.argmax(axis=1) if y.shape[1] > 1 else np.rint(y[:, 0]).astype(int)
        return x, y, np.array([self.weights.get(c, 1) for c in classes.tolist()], np.float32)

    def on_epoch_end(self) -> None:
        self.gen.on_epoch_end()
