"""A batch of many pictures in the memory of a few: gradient caching (GradCache, Gao et al., arXiv 2101.06983)."""

from dataclasses import dataclass
from typing import Any

import keras

from ku.batch_norm import follow, freeze_statistics, needs_tensorflow, norms, noted, replaced


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


class VirtualBatch(keras.Model):
    """A functional model that trains by whole batches in the memory of `micro_batch` rows of them.

    The body is computed in micro-batches, of which only the features are kept; head and loss see all of them
    together; the gradients of the features then go back through each micro-batch, computed once more. Layers, names
    and files are those of `keras.Model(inputs, outputs)`.

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
        trailing: whether the moving statistics of the body trail; it then stays frozen, see `freeze_statistics`.

    TensorFlow only, on one device, without XLA, and without losses that layers of the body add (those of their weights
    count). A ValueError is raised for another backend, a `micro_batch` below 1, and by `split`.
    """

    def __init__(
        self, inputs: Any, outputs: Any, *, cut: str, micro_batch: int | None, trailing: bool = False, **kw: Any
    ):
        needs_tensorflow("VirtualBatch")
        if micro_batch is not None and micro_batch < 1:
            raise ValueError(f"micro_batch should be positive. Received: micro_batch={micro_batch}")
        super().__init__(inputs, outputs, **kw)
        self.micro_batch = micro_batch
        self.supports_jit = False
        self._split = split(self, cut)  # in a plain object, lest Keras save the parts beside the layers
        self.trailing = trailing
        if trailing:
            freeze_statistics(self._split.body)

    def train_step(self, data: tuple) -> dict[str, Any]:
        """Keras's own, but for how the gradients are come by."""
        import tensorflow as tf

        trailing = norms(self._split.body) if self.trailing else []
        if self.micro_batch is None:
            with noted(trailing) as seen:
                logs = super().train_step(data)
            follow(trailing, seen)
            return logs
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        body, head, step = self._split.body, self._split.head, self.micro_batch
        rows = tf.shape(keras.tree.flatten(x)[0])[0]

        def forward(start: tf.Tensor) -> tf.Tensor:
            share = tf.cast(tf.minimum(step, rows - start) / rows, tf.float32)
            with replaced(norms(body), "momentum", lambda momentum: momentum**share):
                return body(keras.tree.map_structure(lambda tensor: tensor[start : start + step], x), training=True)

        def keep(start: tf.Tensor, kept: tuple[tf.TensorArray, list[tf.Tensor]]) -> tuple:
            features, seen = kept
            with noted(trailing) as now:
                features = features.write(start // step, forward(start))
            return start + step, (features, [total + sums for total, sums in zip(seen, now, strict=True)])

        def send_back(start: tf.Tensor, sums: list[tf.Tensor]) -> tuple:
            with tf.GradientTape() as tape:
                features = forward(start)
            gradients = tape.gradient(
                features,
                body_weights,
                output_gradients=feature_gradients[start : start + step],
                unconnected_gradients=tf.UnconnectedGradients.ZERO,
            )
            return start + step, [total + gradient for total, gradient in zip(sums, gradients, strict=True)]

        def over_micro_batches(function: Any, result: Any) -> Any:
            return tf.while_loop(lambda start, _: start < rows, function, (0, result), parallel_iterations=1)[1]

        output = body.outputs[0]
        features = tf.TensorArray(output.dtype, -(-rows // step), infer_shape=False, element_shape=output.shape)
        before = [tf.identity(variable.value) for variable in body.non_trainable_variables]
        seen = [tf.zeros((3, *layer.moving_mean.shape)) for layer in trailing]
        features, seen = over_micro_batches(keep, (features, seen))
        features = features.concat()
        for variable, value in zip(body.non_trainable_variables, before, strict=True):
            variable.assign(value)  # statistics and draws: the second pass repeats the first one
        weights = self.trainable_weights
        with tf.GradientTape() as tape:
            tape.watch(features)
            y_pred = head(features, training=True)
            loss = self.compute_loss(x, y, y_pred, sample_weight, training=True)
            self._loss_tracker.update_state(loss, sample_weight=rows)
            loss = self.optimizer.scale_loss(loss)
        feature_gradients, gradients = tape.gradient(loss, (features, weights))
        body_weights = body.trainable_weights
        sums = over_micro_batches(send_back, [tf.zeros_like(weight.value) for weight in body_weights])
        sums = {id(weight): total for weight, total in zip(body_weights, sums, strict=True)}
        gradients = [_sum(gradient, sums.get(id(weight))) for gradient, weight in zip(gradients, weights, strict=True)]
        self.optimizer.apply_gradients(zip(gradients, weights, strict=True))
        follow(trailing, seen)
        return self.compute_metrics(x, y, y_pred, sample_weight)

    def save(self, *args: Any, **kw: Any) -> None:
        """Saves `keras.Model(inputs, outputs)`: how it was trained is no part of it."""
        keras.Model(self.input, self.output, name=self.name).save(*args, **kw)


def _sum(gradient: Any, other: Any) -> Any:
    """The sum of two gradients, None where there is neither."""
    return other if gradient is None else gradient if other is None else gradient + other
