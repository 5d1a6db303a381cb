"""Training in Keras on several devices of one machine, each with its share of every batch: TensorFlow's mirrored way.

Every device has the whole network, and the same numbers in it. What depends on the pictures of a whole batch is
computed over all devices: batch normalisation (`synchronise`), the loss and the metrics (`Mirrored`). So a step is that
of one device, up to rounding. Keras 3 has no such way over several machines; PyTorch does (`in_torch_processes`).
"""

from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

from ku.batch_norm import norms
from ku.on_device import OnDevice, copies


def strategy_of(devices: int) -> tf.distribute.MirroredStrategy:
    """What shares batches among the first GPUs, or the logical devices of a processor where no GPU is in use."""
    kind = "GPU" if tf.config.list_logical_devices("GPU") else "CPU"
    return tf.distribute.MirroredStrategy([f"{kind}:{number}" for number in range(devices)])


class Mirrored(OnDevice):
    """An `OnDevice` built in the scope of a MirroredStrategy, whose loss and metrics are those of the whole batch.

    Scores and labels of all devices are gathered, and each device has its share of the loss over them: a sum over
    devices, of the loss or of its gradients, is that of the batch. The gradient goes back through the gathering.
    """

    @property
    def strategy(self) -> tf.distribute.Strategy:
        """That in whose scope it was built."""
        return self.distribute_strategy

    def compile(self, *args: Any, loss: Any = None, **kw: Any) -> None:
        """As Keras's; `loss` may be a function that gives one number for the batch."""
        super().compile(*args, loss=_a_row(loss), **kw)
        with self.strategy.scope():  # Keras would make them in a device's own thread
            nought = np.zeros((2, 1), np.float32)
            self.compute_loss(None, nought, nought)
            for metric in self.metrics:
                if hasattr(metric, "build"):
                    metric.build(nought, nought)

    def compute_loss(
        self, x: Any = None, y: Any = None, y_pred: Any = None, sample_weight: Any = None, training: bool = True
    ) -> tf.Tensor:
        """This device's share, an equal one, of the loss of the whole batch."""
        return super().compute_loss(x, *_gathered(y, y_pred), sample_weight, training=training)

    def compute_metrics(self, x: Any, y: Any, y_pred: Any, sample_weight: Any = None) -> dict[str, Any]:
        """Of the whole batch: each device notes the same, and Keras takes means of what they noted."""
        return super().compute_metrics(x, *_gathered(y, y_pred), sample_weight)

    def predict_on_batch(self, x: np.ndarray) -> np.ndarray:
        """Scores of each picture once, by the first device."""
        return keras.Model(self.input, self.output).predict_on_batch(x)

    def _maybe_symbolic_build(self, iterator: Any = None, data_batch: Any = None) -> None:
        """Nothing, for all is built: Keras would take a first batch for it, and the mean over devices of its bytes."""


def _a_row(loss: Any) -> Any:
    """A loss whose number for the batch stands in each row, as Keras shares out losses of rows and nothing else."""
    if not callable(loss) or isinstance(loss, keras.losses.Loss):
        return loss

    def shared(y_true: tf.Tensor, y_pred: tf.Tensor) -> tf.Tensor:
        return keras.ops.broadcast_to(loss(y_true, y_pred), keras.ops.shape(y_pred)[:1])

    return shared


def _gathered(*own: Any) -> list[tf.Tensor]:
    """The rows of all devices, in the order of the devices; outside of a step on several of them, `own`."""
    context = tf.distribute.get_replica_context()
    if context is None or context.num_replicas_in_sync == 1:
        return list(own)
    return [context.all_gather(tf.convert_to_tensor(each), axis=0) for each in own]


def synchronise(model: keras.Model) -> None:
    """Let the batch normalisation of `model` go by the pictures of all devices.

    Keras has this (`synchronized=True`), by three exchanges a layer and an array of ones as large as its input, and by
    squares about 0, whose difference loses digits where a mean is large beside its deviation. Here it is one exchange,
    and the squares are about the moving mean, which all devices have.
    """
    for layer in norms(model):
        layer._moments = _moments(layer)


def _moments(layer: keras.layers.BatchNormalization) -> Callable[[tf.Tensor, Any], tuple[tf.Tensor, tf.Tensor]]:
    def moments(inputs: tf.Tensor, mask: Any = None) -> tuple[tf.Tensor, tf.Tensor]:
        axes = [axis for axis in range(inputs.shape.rank) if axis != layer.axis % inputs.shape.rank]
        mean, variance = tf.nn.moments(inputs, axes)
        context = tf.distribute.get_replica_context()
        if context is not None and context.num_replicas_in_sync > 1:
            about = tf.cast(tf.convert_to_tensor(layer.moving_mean), mean.dtype)
            rows = tf.cast(tf.shape(inputs)[0], mean.dtype)
            sums = tf.stack([rows * (mean - about), rows * (variance + tf.square(mean - about)), 0 * mean + rows])
            # A device without a row has no mean.
            sums = context.all_reduce(tf.distribute.ReduceOp.SUM, tf.where(rows > 0, sums, 0))
            away, square = sums[0] / sums[2], sums[1] / sums[2]
            mean, variance = about + away, tf.maximum(square - tf.square(away), 0)
        return mean, variance

    return moments


class AverageStatistics(keras.callbacks.Callback):
    """Before each validation, one set of moving statistics for all devices, where each has normalised by its own."""

    def on_test_begin(self, logs: Mapping[str, float] | None = None) -> None:
        for layer in norms(self.model):
            for moving in (layer.moving_mean, layer.moving_variance):
                moving.assign(np.mean([np.asarray(copy) for copy in copies(moving)], 0))
