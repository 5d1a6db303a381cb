"""A built model in part: its layers, what ends in one of them, all but the optimiser."""

from pathlib import Path

import keras
import numpy as np

from ku.files import atomic_path


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
    activations = cut_model(model, layer)(im[None] if single else im, training=False)
    return keras.ops.convert_to_numpy(activations)[0 if single else slice(None)]


def find_layer(model: keras.Model, layer: str | int) -> keras.Layer:
    """The layer of that name or position."""
    return model.layers[get_layer_index(model, layer) if isinstance(layer, str) else layer]


def cut_model(model: keras.Model, layer: str | int) -> keras.Model:
    """The part of `model` that ends in `layer`."""
    inputs = model.inputs[0] if len(model.inputs) == 1 else model.inputs
    return keras.Model(inputs, find_layer(model, layer).output)


def bare(model: keras.Model) -> keras.Model:
    """`model` without its optimiser, whose slots are twice the size of the weights."""
    return keras.Model(model.inputs, model.outputs)


def save_weights(model: keras.Model, path: Path) -> None:
    """Writes the weights of `model`, whole or not at all, and nothing of its optimiser."""
    with atomic_path(path) as temporary:
        bare(model).save_weights(temporary)
