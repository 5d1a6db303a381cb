"""A ModelHelper on a net of a few weights over ten pictures of 8 x 8; `eager` and `make_helper` are for fixtures."""

import keras
import numpy as np
import pandas as pd
from PIL import Image

from ku.model_helper import ModelHelper

SETS = ["training"] * 5 + ["validation"] * 3 + ["test"] * 2


def net(outputs: int = 1) -> keras.Model:
    x = inputs = keras.Input((8, 8, 3))
    x = keras.layers.Rescaling(1 / 255)(x)
    x = keras.layers.Conv2D(4, 3, kernel_initializer=keras.initializers.GlorotUniform(1), name="conv")(x)
    x = keras.layers.GlobalAveragePooling2D(name="gap")(x)
    dense = keras.layers.Dense(1, kernel_initializer=keras.initializers.GlorotUniform(2), name="out")
    y = dense(x)
    return keras.Model(inputs, y if outputs == 1 else [y, keras.layers.Dense(1, name="more")(x)])


def eager(monkeypatch):
    """Tracing would take most of the time of these tests; the one about tracing undoes this."""
    monkeypatch.setattr(keras.Model, "run_eagerly", property(lambda model: True, lambda model, value: None))


def make_helper(tmp_path):
    """A function that makes a helper: make(gen_params, model, **params)."""
    rng = np.random.default_rng(0)
    ids = pd.DataFrame({"image_name": [f"{i}.png" for i in range(10)], "set": SETS, "MOS": np.arange(10.0)})
    for name in ids.image_name:
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(tmp_path / name)

    def make(gen_params=(), model=None, **params):
        own = {"data_path": tmp_path, "inputs": "image_name", "outputs": "MOS", "batch_size": 2}
        own |= {"deterministic": True, **dict(gen_params)}
        roots = {"models_root": tmp_path / "models", "features_root": tmp_path / "features"}
        return ModelHelper(model or net(), "net", ids, own, **{**roots, "multiproc": False, **params})

    return make


def iterations(helper: ModelHelper) -> int:
    return int(keras.ops.convert_to_numpy(helper.model.optimizer.iterations))


def same(a: list[np.ndarray], b: list[np.ndarray]) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


class OnEpochEnd(keras.callbacks.Callback):
    def __init__(self, act, begin=None):
        super().__init__()
        self.act, self.begin = act, begin

    def on_train_begin(self, logs=None):
        if self.begin:
            self.begin()

    def on_epoch_end(self, epoch, logs=None):
        self.act(epoch)
