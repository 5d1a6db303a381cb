"""Batches of pictures of one shape: what is in them, in which memory, and how they come to TensorFlow."""

import gc

import keras
import numpy as np
import pandas as pd
import pytest

from ku.whole_batches import ALIGNED, Buffers, WholeBatches

PICTURES = np.random.default_rng(0).integers(0, 256, (10, 4, 6, 3), np.uint8)
IDS = pd.DataFrame({"name": [str(n) for n in range(10)], "MOS": np.arange(10.0), "flip": [True, False] * 5})


def batches(ids=IDS, **more):
    how = {"batch_size": 4, "shuffle": False, "inputs": "name", "outputs": ["MOS"], "shape": (4, 6, 3)}
    return WholeBatches(ids, read_fn=lambda name, _: PICTURES[int(name)], **(how | more))


@pytest.mark.parametrize("count", [7, 8, 9])
def test_batches_have_the_rows_in_the_order_of_their_plan(count):
    gen = batches(IDS[:count], flips="flip")
    found = [gen[number] for number in range(len(gen))]
    assert [len(outputs[0]) for _, outputs in found] == [4] * (count // 4) + [count % 4] * (count % 4 > 0)
    np.testing.assert_array_equal(np.concatenate([inputs[0] for inputs, _ in found]), PICTURES[:count])
    np.testing.assert_array_equal(np.concatenate([inputs[1] for inputs, _ in found]), IDS.flip[:count])
    np.testing.assert_array_equal(np.concatenate([outputs[0] for _, outputs in found])[:, 0], IDS.MOS[:count])
    with pytest.raises(IndexError, match=f"below {len(gen)} batches"):
        gen[len(gen)]


def test_nothing_is_mirrored_where_rows_do_not_say_so():
    gen = batches(IDS.drop(columns="flip"), flips="flip", fixed_batches=True)
    inputs, _ = gen[0]
    assert (len(inputs), len(gen)) == (1, 2)


def test_each_epoch_has_the_rows_that_are_planned_for_it():
    turned = iter([IDS[::-1], IDS[5:]])
    gen = batches(ids_fn=lambda: next(turned))
    gen.on_epoch_end()
    np.testing.assert_array_equal(gen[0][1][0][:, 0], [9, 8, 7, 6])
    gen.on_epoch_end()
    assert len(gen) == 2


def test_memory_is_used_again_once_nobody_holds_a_part_of_it():
    buffers = Buffers()
    array = buffers.empty((4, 3), np.uint8)
    assert array.ctypes.data % ALIGNED == 0
    array[:] = 7
    part = array[1:][:, :2]
    del array
    gc.collect()
    other = buffers.empty((4, 3), np.uint8)
    other[:] = 9
    assert (buffers.made, part.tolist()) == (2, [[7, 7]] * 3)
    del part, other
    gc.collect()
    for _ in range(5):
        buffers.empty((4, 3), np.uint8)
    assert buffers.made == 2
    assert buffers.empty((2, 2), np.float32).shape == (2, 2)


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="TensorFlow only")
@pytest.mark.parametrize("workers", [1, 3])
def test_tensorflow_gets_every_batch_in_order_and_few_buffers_are_made(workers):
    gen = batches(flips="flip", batch_size=2, workers=workers, max_queue_size=2)
    gen.ids = pd.concat([IDS] * 30, ignore_index=True)
    gen.on_epoch_end()
    seen = []
    for (pictures, flips), mos in gen.tf_dataset():
        assert pictures.shape == (2, 4, 6, 3)
        np.testing.assert_array_equal(pictures, PICTURES[mos.numpy()[:, 0].astype(int)])
        np.testing.assert_array_equal(flips, mos[:, 0] % 2 == 0)
        seen.append(mos.numpy())
    np.testing.assert_array_equal(np.concatenate(seen)[:, 0], gen.ids.MOS)
    assert gen.buffers.made < 20


@pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="TensorFlow only")
def test_the_last_batch_may_be_smaller_and_fit_takes_them_all():
    gen = batches()
    assert gen.tf_dataset().element_spec[0].shape.as_list() == [None, 4, 6, 3]
    inputs = keras.Input((4, 6, 3), dtype="uint8")
    model = keras.Model(inputs, keras.layers.Dense(1)(keras.layers.Flatten()(keras.layers.Rescaling(0.01)(inputs))))
    model.compile("sgd", "mse", jit_compile=False)
    seen = []
    history = model.fit(gen, epochs=2, shuffle=False, verbose=0, callbacks=[Batches(seen)])
    assert (len(seen), len(history.epoch)) == (6, 2)


class Batches(keras.callbacks.Callback):
    def __init__(self, seen):
        super().__init__()
        self.seen = seen

    def on_train_batch_end(self, batch, logs=None):
        self.seen.append(batch)
