"""Pictures where the model computes: mirrored by the step itself, and taken out of a set that lies there."""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np

from ku.batch_norm import needs_tensorflow

if TYPE_CHECKING:
    import tensorflow as tf


class Held:
    """Pictures that lie on the device that TensorFlow computes on: `held(rows)` gives some of them.

    They lie as whole numbers of 8 bytes: TensorFlow gathers no bytes on a GPU, and such a set of some GB has fewer
    numbers than 31 bits count.

    Args:
        pictures: uint8 arrays of `shape`, `count` of them, each taken once and in order.

    Raises tensorflow's ResourceExhaustedError where they do not fit.
    """

    AT_ONCE = 64  # pictures that go to the device in one piece

    def __init__(self, pictures: Iterable[np.ndarray], count: int, shape: Sequence[int]):
        needs_tensorflow("Held")
        import tensorflow as tf

        self.shape, self.size = tuple(shape), int(np.prod(shape))
        width = -(-self.size // 8)
        with tf.device(_device()):
            self.numbers = tf.Variable(tf.zeros((count, width), tf.int64), trainable=False)
        piece, start = np.zeros((self.AT_ONCE, 8 * width), np.uint8), 0
        for number, picture in enumerate(pictures, 1):
            piece[number - 1 - start, : self.size] = picture.ravel()
            if number - start == self.AT_ONCE or number == count:
                self.numbers[start:number].assign(piece[: number - start].view(np.int64))
                start = number

    def __call__(self, rows: "tf.Tensor") -> "tf.Tensor":
        """The pictures (rows, *shape), uint8, in the order of `rows` (rows,), whole numbers from 0."""
        import tensorflow as tf

        found = tf.bitcast(tf.gather(self.numbers, rows), tf.uint8)
        return tf.reshape(tf.reshape(found, (tf.shape(rows)[0], -1))[:, : self.size], (-1, *self.shape))


def free_on_gpu() -> int:
    """Bytes that TensorFlow may still take on its first GPU; 0 without a GPU, and on other backends of Keras."""
    if keras.backend.backend() != "tensorflow":
        return 0
    import tensorflow as tf

    if not tf.config.list_logical_devices("GPU"):
        return 0
    from tensorflow.python.client import device_lib  # nothing public says the limit

    limit = next(device.memory_limit for device in device_lib.list_local_devices() if device.device_type == "GPU")
    return limit - tf.config.experimental.get_memory_info("GPU:0")["current"]


def mirrored(pictures: "tf.Tensor", flips: "tf.Tensor") -> "tf.Tensor":
    """Pictures (rows, height, width, channels), mirrored left to right where `flips` (rows,) is true."""
    import tensorflow as tf

    shape = tf.shape(pictures)
    # In these shapes a processor reverses and chooses ten times faster than in the pictures' own.
    turned = tf.reverse(tf.reshape(pictures, (-1, shape[2], shape[3])), [1])
    whole = [tf.reshape(each, (shape[0], -1)) for each in (turned, pictures)]
    found = tf.where(tf.reshape(flips, (-1, 1)), *whole)
    return tf.ensure_shape(tf.reshape(found, shape), pictures.shape)


def copies(variable: keras.Variable) -> tuple[Any, ...]:
    """What each device has of a variable that a strategy of TensorFlow mirrors; of any other, itself."""
    found = getattr(variable.value, "values", None)
    return found if isinstance(found, tuple) else (variable,)


class OnDevice(keras.Model):
    """A functional model of one input whose training and validation mirror pictures where it computes.

    A batch is pictures, as the model takes them, or (pictures, flips), see `mirrored`. With `held`, a `Held`, it is
    rows of that in the place of pictures. Prediction takes pictures as they are. Layers, names and files are those of
    `keras.Model(inputs, outputs)`. TensorFlow only; another backend raises a ValueError.
    """

    def __init__(self, inputs: Any, outputs: Any, **kw: Any):
        needs_tensorflow(type(self).__name__)
        super().__init__(inputs, outputs, **kw)
        self.held: Held | None = None

    def train_step(self, data: tuple) -> dict[str, Any]:
        """Keras's own, of the pictures that `data` mean."""
        return super().train_step(self.seen(data))

    def test_step(self, data: tuple) -> dict[str, Any]:
        """Keras's own, of the pictures that `data` mean."""
        return super().test_step(self.seen(data))

    def seen(self, data: tuple) -> tuple:
        """A batch as Keras has it, with its pictures as the model takes them."""
        x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(data)
        pictures, flips = x if isinstance(x, tuple) and len(x) > len(self.inputs) else (x, None)
        if self.held is not None:
            pictures = self.held(pictures)
        if flips is not None:
            pictures = mirrored(pictures, flips)
        return keras.utils.pack_x_y_sample_weight(pictures, y, sample_weight)

    def save(self, *args: Any, **kw: Any) -> None:
        """Saves `keras.Model(inputs, outputs)`: how it was trained is no part of it."""
        keras.Model(self.input, self.output, name=self.name).save(*args, **kw)


def _device() -> str:
    """The device that TensorFlow computes on."""
    import tensorflow as tf

    return "GPU:0" if tf.config.list_logical_devices("GPU") else "CPU:0"
