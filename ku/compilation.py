"""Compiling a model only where something has changed."""

from typing import Any

import keras
import numpy as np

from ku.helper_params import HelperParams


class Compilation:
    """What a model was last compiled with, for to trace a large network anew takes minutes."""

    def __init__(self) -> None:
        self._program: tuple | None = None  # what model.compile was last given, the optimiser apart
        self._learner: tuple | None = None  # what the optimiser was made from and for
        self._optimizer: keras.Optimizer | None = None
        self._initial_slots: list[np.ndarray] = []

    def update(self, model: keras.Model, params: HelperParams, fresh: bool) -> bool:
        """Compiles `model` by `params` if it is not yet; returns whether its optimiser starts anew.

        fresh: whether it should. It is then the one in use, reset, where that would do. Without, it stays with its
        state, unless it was made for other weights or from another one; a model that the caller compiled stays, too.
        """
        p = params
        # Copies of the lists, lest a change inside one go unseen.
        program = keras.tree.map_structure(lambda leaf: leaf, (model, p.loss, p.loss_weights, p.metrics, p.jit_compile))
        flags = [layer.trainable for layer in model.layers]
        learner = (model, p.optimizer, flags, [id(variable) for variable in model.trainable_variables])
        ours = model.compiled and model.optimizer is self._optimizer
        same_learner = ours and learner == self._learner
        if same_learner and program == self._program:
            if fresh:
                self._reset()
            return fresh
        if model.compiled and not ours and not fresh:
            return False
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
        return fresh

    def _reset(self) -> None:
        for variable, value in zip(self._optimizer.variables, self._initial_slots, strict=True):
            value = keras.ops.convert_to_tensor(value, variable.dtype)
            variable.assign(keras.ops.broadcast_to(value, variable.shape))


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
