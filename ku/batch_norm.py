"""The moving statistics of batch normalisation: held, trailing the training, or estimated over a data set."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from typing import Any

import keras
import numpy as np


def norms(model: keras.Model) -> list[keras.layers.BatchNormalization]:
    """The batch normalisation of `model`, that of models within it included."""
    return _layers(model, keras.layers.BatchNormalization)


def hold(model: keras.Model) -> None:
    """Lets the batch normalisation of `model` go by its moving statistics in training, too, and never update them.

    Its scale and offset are learned as before. Compile the model after it.
    """
    for layer in norms(model):
        learned = layer.trainable_variables
        layer.trainable = False  # by which Keras means this, and that nothing is learned
        for variable in learned:
            variable.trainable = True


@contextmanager
def replaced(layers: Iterable[keras.Layer], attribute: str, value: Callable[[Any], Any]) -> Iterator[None]:
    """Gives an attribute of each of `layers` the `value` of what it is, for the time of a with block."""
    before = [(layer, getattr(layer, attribute)) for layer in layers]
    try:
        for layer, old in before:
            setattr(layer, attribute, value(old))
        yield
    finally:
        for layer, old in before:
            setattr(layer, attribute, old)


class Trail(AbstractContextManager):
    """In here `layers`, held, note the statistics of what they see; `update` then moves their own towards them.

    `seen` has a tensor (3, channels) for each layer: the sums over the rows of the mean and of the mean square about
    the moving mean, and the rows. About the moving mean, the squares of parts of a batch add up to those of the batch,
    however few rows each has. A loop of TensorFlow's graph hands `seen` on from turn to turn.
    """

    def __init__(self, layers: Sequence[keras.layers.BatchNormalization]):
        self.layers = layers
        self.seen = [keras.ops.zeros((3, *layer.moving_mean.shape), layer.moving_mean.dtype) for layer in layers]

    def __enter__(self) -> "Trail":
        self._notes = replaced(self.layers, "call", self._noting)
        self._notes.__enter__()
        return self

    def __exit__(self, *exception: Any) -> None:
        self._notes.__exit__(*exception)

    def _noting(self, call: Callable[..., Any]) -> Callable[..., Any]:
        layer = call.__self__
        place = self.layers.index(layer)

        def note(inputs: Any, *args: Any, **kw: Any) -> Any:
            x = keras.ops.cast(inputs, layer.moving_mean.dtype)
            axes = [axis for axis in range(x.ndim) if axis != layer.axis % x.ndim]
            mean, variance = keras.ops.moments(x, axes)
            square = variance + keras.ops.square(mean - layer.moving_mean)
            sums = keras.ops.stack([mean, square, keras.ops.ones_like(mean)])
            self.seen[place] += sums * keras.ops.cast(keras.ops.shape(x)[0], sums.dtype)
            return call(inputs, *args, **kw)

        return note

    def update(self) -> None:
        """Move the moving statistics, by the momentum of each layer."""
        for layer, sums in zip(self.layers, self.seen, strict=True):
            mean, square, rows = keras.ops.unstack(sums)
            for moving, total in ((layer.moving_mean, mean), (layer.moving_variance, square)):
                moving.assign(layer.momentum * moving + (1 - layer.momentum) * total / rows)


class Reestimate(keras.callbacks.Callback):
    """Before each validation, sets all moving statistics to their averages over batches as training sees them.

    The body normalises `micro_batch` pictures at a time, the head whole batches, held or not. Dropout is off: it
    shifts the variance of what is normalised after it (Li et al., arXiv 1801.05134).

    Args:
        body, head: the network in two parts, see `ku.virtual_batch.split`.
        batches: `batches[i]` is ([inputs], outputs), as the generators of `ku.generators` give one input.
        micro_batch: pictures at a time through the body.

    TensorFlow only; another backend raises a ValueError.
    """

    def __init__(self, body: keras.Model, head: keras.Model, batches: Sequence[tuple], micro_batch: int):
        super().__init__()
        needs_tensorflow("Reestimate")
        self.batches, self.micro_batch = batches, micro_batch
        self.body, self.head = _averaged(body), _averaged(head)

    def on_test_begin(self, logs: Mapping[str, float] | None = None) -> None:
        self.estimate()

    def estimate(self) -> None:
        """Set them now."""
        done = 0  # micro-batches
        for number in range(len(self.batches)):
            (inputs,), _ = self.batches[number]
            features = []
            for start in range(0, len(inputs), self.micro_batch):
                features.append(self.body(inputs[start : start + self.micro_batch], done))
                done += 1
            self.head(np.concatenate(features), number)


def needs_tensorflow(name: str) -> None:
    """Raise a ValueError unless Keras runs on TensorFlow."""
    if keras.backend.backend() != "tensorflow":
        raise ValueError(f"{name} needs TensorFlow. Received: backend={keras.backend.backend()!r}")


def _averaged(model: keras.Model) -> Callable[[np.ndarray, int], np.ndarray]:
    """`model` in training, dropout apart, as a function of its input and of the number of the call, from 0.

    At each call the moving statistics become their averages over the calls from 0 on.
    """
    import tensorflow as tf

    @tf.function(autograph=False, reduce_retracing=True)
    def forward(inputs: tf.Tensor, kept: tf.Tensor) -> tf.Tensor:
        with ExitStack() as stack:
            stack.enter_context(replaced(norms(model), "momentum", lambda _: kept))
            stack.enter_context(replaced(norms(model), "_trainable", lambda _: True))  # else those held would stay
            stack.enter_context(replaced(_layers(model, keras.layers.Dropout), "rate", lambda _: 0))
            return model(inputs, training=True)

    return lambda inputs, number: forward(tf.constant(inputs), tf.constant(number / (number + 1))).numpy()


def _layers(model: keras.Model, kind: type) -> list[keras.Layer]:
    return [layer for layer in model._flatten_layers(include_self=False) if isinstance(layer, kind)]
