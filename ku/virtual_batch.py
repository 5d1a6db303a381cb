"""A batch of many pictures in the memory of a few: gradient caching (GradCache, Gao et al., arXiv 2101.06983)."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import keras

from ku.batch_norm import Trail, hold, norms, replaced
from ku.on_device import OnDevice

if TYPE_CHECKING:
    import tensorflow as tf


@dataclass(frozen=True)
class Split:
    """A network in two parts that share its layers: the body, up to and with one layer, and the head, from there."""

    body: keras.Model
    head: keras.Model


def split(model: keras.Model, cut: str) -> Split:
    """`model` in two parts, of which the body ends with the layer `cut`, the only way from it to the head.

    Raises a ValueError where there is no such layer, or where there is another way.
    """
    if cut not in [layer.name for layer in model.layers]:
        raise ValueError(f"cut should be the name of a layer of {model.name!r}. Received: cut={cut!r}")
    features = model.get_layer(cut).output
    try:
        return Split(keras.Model(model.input, features), keras.Model(features, model.output))
    except ValueError as error:
        raise ValueError(f"cut should be all that the outputs depend on. Received: cut={cut!r} ({error})") from error


class VirtualBatch(OnDevice):
    """A functional model that trains by whole batches in the memory of `micro_batch` rows of them.

    The body is computed in micro-batches, of which only the features are kept; head and loss see all of them
    together; the gradients of the features then go back through each micro-batch, computed once more. Batches, layers,
    names and files are those of `ku.on_device.OnDevice`.

    Batch normalisation in the body normalises each micro-batch by itself and updates its moving statistics once a row:
    its momentum is meant for a batch, of which a micro-batch has its share, momentum ** (rows / rows of the batch). In
    the head it sees the batch. What a body draws at random is the same in both passes. The last micro-batch of a batch
    may be smaller.

    Trailing, the body is normalised in training as it is at test time, by its moving statistics, through which no
    gradient goes; after each batch they move, by the momentum, towards those of the batch. So rows do not see one
    another in the body, and the gradient is that of the whole batch, whatever the micro-batch. It needs a start at
    statistics that are about right, and a momentum small enough to keep up with the training. Akin: Liao et al.,
    arXiv 1610.06160, Yan et al., 2001.06838.

    Args:
        cut: the layer that ends the body, see `split`.
        micro_batch: rows at a time through the body; None: the batch, in a single pass.
        trailing: whether the moving statistics of the body trail; it is then held, see `ku.batch_norm.hold`.

    TensorFlow only, on one device, without XLA, and without losses that layers of the body add (those of their weights
    count). A ValueError is raised for another backend, a `micro_batch` below 1, and by `split`.
    """

    def __init__(
        self, inputs: Any, outputs: Any, *, cut: str, micro_batch: int | None, trailing: bool = False, **kw: Any
    ):
        if micro_batch is not None and micro_batch < 1:
            raise ValueError(f"micro_batch should be positive. Received: micro_batch={micro_batch}")
        super().__init__(inputs, outputs, **kw)
        self.micro_batch = micro_batch
        self.supports_jit = False
        self._split = split(self, cut)  # in a plain object, lest Keras save the parts beside the layers
        self.trailing = trailing
        if trailing:
            hold(self._split.body)

    def train_step(self, data: tuple) -> dict[str, Any]:
        """Keras's own, but for how the gradients are come by."""
        trail = Trail(norms(self._split.body) if self.trailing else [])
        if self.micro_batch is None:
            with trail:
                logs = super().train_step(data)
        else:
            x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(self.seen(data))
            features = self._look(x, trail)
            y_pred, of_features, of_weights = self._judge(x, y, sample_weight, features)
            through_body = self._send_back(x, of_features)
            gradients = [_sum(*both) for both in zip(of_weights, through_body, strict=True)]
            self.optimizer.apply_gradients(zip(gradients, self.trainable_weights, strict=True))
            logs = self.compute_metrics(x, y, y_pred, sample_weight)
        trail.update()
        return logs

    def _look(self, x: Any, trail: Trail) -> "tf.Tensor":
        """The features of all rows, of which nothing is kept for the gradient. `trail` notes what the body sees."""
        import tensorflow as tf

        body, step = self._split.body, self.micro_batch

        def keep(start: tf.Tensor, kept: tuple[tf.TensorArray, list[tf.Tensor]]) -> tuple:
            features, trail.seen = kept
            with trail:
                features = features.write(start // step, self._features(x, start))
            return features, trail.seen

        output = body.outputs[0]
        features = tf.TensorArray(output.dtype, -(-_rows(x) // step), infer_shape=False, element_shape=output.shape)
        before = [tf.identity(variable.value) for variable in body.non_trainable_variables]
        features, trail.seen = self._over_micro_batches(x, keep, (features, trail.seen))
        features = features.concat()
        for variable, value in zip(body.non_trainable_variables, before, strict=True):
            variable.assign(value)  # statistics and draws: the second pass repeats the first one
        return features

    def _judge(self, x: Any, y: Any, sample_weight: Any, features: "tf.Tensor") -> tuple:
        """What the head makes of the features, and the gradients of the loss: of the features, of each weight."""
        import tensorflow as tf

        with tf.GradientTape() as tape:
            tape.watch(features)
            y_pred = self._split.head(features, training=True)
            loss = self.compute_loss(x, y, y_pred, sample_weight, training=True)
            self._loss_tracker.update_state(loss, sample_weight=_rows(x))
            loss = self.optimizer.scale_loss(loss)
        return y_pred, *tape.gradient(loss, (features, self.trainable_weights))

    def _send_back(self, x: Any, of_features: "tf.Tensor") -> list["tf.Tensor | None"]:
        """The gradient of each weight by way of the features, computed once more; None for those of the head."""
        import tensorflow as tf

        weights, step = self._split.body.trainable_weights, self.micro_batch

        def add(start: tf.Tensor, sums: list[tf.Tensor]) -> list[tf.Tensor]:
            with tf.GradientTape() as tape:
                features = self._features(x, start)
            gradients = tape.gradient(
                features,
                weights,
                output_gradients=of_features[start : start + step],
                unconnected_gradients=tf.UnconnectedGradients.ZERO,
            )
            return [total + gradient for total, gradient in zip(sums, gradients, strict=True)]

        sums = self._over_micro_batches(x, add, [tf.zeros_like(weight.value) for weight in weights])
        sums = {id(weight): total for weight, total in zip(weights, sums, strict=True)}
        return [sums.get(id(weight)) for weight in self.trainable_weights]

    def _features(self, x: Any, start: "tf.Tensor") -> "tf.Tensor":
        """Of the micro-batch that begins with row `start`. It moves the statistics by its share of the batch."""
        import tensorflow as tf

        step, rows = self.micro_batch, _rows(x)
        share = tf.cast(tf.minimum(step, rows - start) / rows, tf.float32)
        with replaced(norms(self._split.body), "momentum", lambda momentum: momentum**share):
            return self._split.body(keras.tree.map_structure(lambda each: each[start : start + step], x), training=True)

    def _over_micro_batches(self, x: Any, function: Callable[["tf.Tensor", Any], Any], result: Any) -> Any:
        """The last of `result = function(start, result)`, with `start` the first row of each micro-batch."""
        import tensorflow as tf

        rows, step = _rows(x), self.micro_batch
        return tf.while_loop(
            lambda start, _: start < rows,
            lambda start, result: (start + step, function(start, result)),
            (0, result),
            parallel_iterations=1,
        )[1]


def _rows(x: Any) -> "tf.Tensor":
    """How many rows a batch has."""
    import tensorflow as tf

    return tf.shape(keras.tree.flatten(x)[0])[0]


def _sum(gradient: Any, other: Any) -> Any:
    """The sum of two gradients, None where there is neither."""
    return other if gradient is None else gradient if other is None else gradient + other
