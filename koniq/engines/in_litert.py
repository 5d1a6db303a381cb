"""LiteRT, TensorFlow Lite's name since 2024: a network exported once for phones and small boards, and checked."""

import warnings
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from koniq.engines.engine import Engine
from koniq.ground import InputError, machine
from koniq.ground.built import install
from koniq.network import Network, weights

if TYPE_CHECKING:
    import tensorflow as tf


def needs_litert() -> None:
    """Raise InputError where what exports and runs LiteRT is not installed."""
    if not all(map(find_spec, ("tensorflow", "keras"))):
        raise InputError(f"TensorFlow should be installed for this: {install('tensorflow')}")


def export(path: Path, network: Network, target: Path) -> None:
    """Write the network with the weights at `path` as LiteRT, in float32, by TensorFlow's own converter.

    Its input `pictures` is uint8 (batch, height, width, 3), RGB, of any batch and of the network's size, its output
    `mos` is float32 (batch, 1). Raises InputError where Keras computes by something else than TensorFlow.
    """
    with machine.quiet():
        import keras
        import tensorflow as tf

    if (backend := keras.backend.backend()) != "tensorflow":
        raise InputError(f"KERAS_BACKEND should be tensorflow for this. Received: KERAS_BACKEND={backend}")
    with machine.quiet():
        model = network.build()
        weights.load(model, path, network)
        held = tf.Module()
        held.variables_of_keras = [variable.value for variable in model.variables]  # else they are not found

        def score(pictures: "tf.Tensor") -> dict[str, "tf.Tensor"]:
            return {"mos": model(pictures, training=False)}

        takes = tf.TensorSpec((None, *network.input_size, 3), tf.uint8, "pictures")
        held.score = tf.function(score, [takes], autograph=False)
        converter = tf.lite.TFLiteConverter.from_concrete_functions([held.score.get_concrete_function()], held)
        target.write_bytes(converter.convert())


def start(path: Path, network: Network, batch_size: int = 8) -> Engine:
    """The engine that a LiteRT file is, on the processor."""
    import tensorflow as tf

    with machine.quiet(), warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # that its place will be a package of its own
        interpreter = tf.lite.Interpreter(str(path))
        interpreter.allocate_tensors()
    run = interpreter.get_signature_runner()

    def score(pictures: np.ndarray) -> np.ndarray:
        return run(pictures=pictures)["mos"][:, 0]

    return Engine(f"LiteRT of TensorFlow {tf.__version__}, float32", network, batch_size, score, any_batch=True)
