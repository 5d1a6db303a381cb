"""One object that trains, evaluates, saves and reads one Keras model, over the rows of one table."""

import copy
import functools
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from dataclasses import fields
from pathlib import Path
from typing import Any

import keras
import numpy as np
import pandas as pd

from ku.batches import ClassWeighted, InMemory, replanned
from ku.callbacks import BestWeights, Callbacks, EarlyStopping, TensorBoardWrapper
from ku.compilation import Compilation
from ku.containers import check_keys_exist, force_list, get_sizes
from ku.files import atomic_path
from ku.generators import DataGeneratorDisk, DataGeneratorHDF5, for_keras
from ku.hdf5 import H5Helper
from ku.helper_params import HelperParams
from ku.named_model import NamedModel
from ku.names import ShortNameBuilder
from ku.parts import cut_model, find_layer, get_activations, get_layer_index, save_weights

__all__ = ["HelperParams", "ModelHelper", "TensorBoardWrapper", "get_activations", "get_layer_index"]

# What a generator needs in order to give every row once, in the order of the table.
_IN_ORDER = {"shuffle": False, "fixed_batches": False, "ids_fn": None}


class ModelHelper(NamedModel):
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
        super().__init__(model, root_name, copy.copy(gen_params), HelperParams(**params))
        self.ids = ids
        self.verbose = verbose
        self.strategy = None  # of tf.distribute, by set_multi_gpu
        self._compilation = Compilation()
        self._cut: tuple | None = None  # (model, layer, sub-model of the last predict)
        self.set_callbacks()

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
        """Readies the model to train by `params`; traced anew only where something has changed, see `Compilation`.

        Args:
            lr: the learning rate; None means `params.lr` for a fresh optimiser. An optimiser that was given
                a schedule keeps to it.
            fresh: whether the optimiser starts anew (slots and iterations as new). If not, its state and, unless
                given, its learning rate stay.
        """
        with self.strategy.scope() if self.strategy else nullcontext():
            fresh = self._compilation.update(self.model, self.params, fresh)
        if lr is None and fresh:
            lr = self.params.lr
        optimizer = self.model.optimizer
        if lr is not None and isinstance(optimizer.learning_rate, keras.Variable):
            optimizer.learning_rate = lr

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
        self.early_stop = EarlyStopping(
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
            valid_gen = InMemory(valid_gen) if valid_in_memory else valid_gen
        if self.params.class_weights is not None:
            train_gen = ClassWeighted(train_gen, self.params.class_weights)
        self.compile(lr, fresh=recompile)
        self._build_measures(train_gen)
        callbacks = Callbacks(
            self._callbacks(valid_gen, verbose),
            add_history=True,
            add_progbar=verbose not in (False, 0),
            model=self.model,
            verbose=verbose,
            epochs=epochs,
            steps=len(train_gen),
        )
        history = self.model.fit(
            train_gen,
            validation_data=valid_gen,
            epochs=epochs,
            initial_epoch=initial_epoch,
            shuffle=False,  # the generators shuffle for themselves
            callbacks=callbacks,
            verbose=verbose,
        )
        if self.params.save_final:
            save_weights(self.model, self._model_path("final.weights.h5"))
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
        with replanned(gen, _IN_ORDER if batch_size is None else {**_IN_ORDER, "batch_size": batch_size}):
            passes = [model.predict(gen, verbose=int(self.verbose)) for _ in range(repeats)]
        passes = keras.tree.map_structure(_as_numpy_float, passes)
        passes = [y[0] if isinstance(y, list) and len(y) == 1 else y for y in passes]
        return passes[0] if repeats == 1 else passes

    def _sub_model(self, layer: str | int, remodel: bool) -> keras.Model:
        if remodel or self._cut is None or self._cut[:2] != (self.model, layer):
            self._cut = (self.model, layer, cut_model(self.model, layer))
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
        name = "output" if layer is None else find_layer(self.model, layer).name
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


def _as_numpy_float(y: np.ndarray) -> np.ndarray:
    """`y` with bfloat16, which is no type of NumPy's own, as float32."""
    return y.astype(np.float32) if y.dtype.kind == "V" else y
