"""How pictures get to a network in Keras: the same to train on from a set on the device, by threads, by the host."""

from types import SimpleNamespace

import keras
import numpy as np
import pandas as pd
import pytest
from tiny import TINY

from koniq.pictures.order import EpochPlan
from koniq.training import in_keras_feed
from ku import on_device
from ku.model_helper import ModelHelper
from ku.whole_batches import WholeBatches

pytestmark = pytest.mark.skipif(keras.backend.backend() != "tensorflow", reason="TensorFlow only")

IDS = pd.DataFrame({"image_name": [f"{n}.png" for n in range(6)], "MOS": np.arange(6.0), "set": "training"})
PIXELS = np.random.default_rng(0).integers(0, 256, (6, *TINY.input_size, 3), np.uint8)
PICTURES = dict(zip(IDS.image_name, PIXELS, strict=True))
SIZE = PIXELS.nbytes


def fed(model, held=None):
    params = {"batch_size": 2, "inputs": ["image_name"], "outputs": ["MOS"], "shuffle": False}
    helper = ModelHelper(model, "tiny", IDS, params)
    in_keras_feed.feed(helper, PICTURES, TINY, held)
    return helper


def on_the_device():
    built = TINY.build()
    return on_device.OnDevice(built.input, built.output, name="tiny")


def seen(helper):
    """The pictures of an epoch as they come to the network, and their MOS."""
    plan = EpochPlan(IDS, 1, 0, 0)
    gen = helper.make_generator(plan.rows(), ids_fn=plan, **in_keras_feed.flips(helper.model))
    pictures, scores = [], []
    for number in range(len(gen)):
        inputs, outputs = gen[number]
        x = tuple(inputs) if len(inputs) > 1 else inputs[0]
        if isinstance(helper.model, on_device.OnDevice):
            x = helper.model.seen((x, outputs[0]))[0]
        pictures.append(np.asarray(x))
        scores.append(outputs[0])
    return np.concatenate(pictures), np.concatenate(scores)


def test_every_way_gives_the_same_pictures_in_the_same_order():
    by_host = seen(fed(TINY.build()))
    plan = EpochPlan(IDS, 1, 0, 0).rows()
    expected = [
        PICTURES[name][:, ::-1] if flip else PICTURES[name]
        for name, flip in zip(plan.image_name, plan.flip, strict=True)
    ]
    np.testing.assert_array_equal(by_host[0], expected)
    for held in (False, True):
        ours = seen(fed(on_the_device(), held))
        for got, wanted in zip(ours, by_host, strict=True):
            np.testing.assert_array_equal(got, wanted)


@pytest.mark.parametrize(("free", "there"), [(0, False), (2 * SIZE - 1, False), (2 * SIZE, True)])
def test_a_set_lies_on_a_gpu_where_it_takes_half_of_what_is_free_at_most(monkeypatch, free, there):
    monkeypatch.setattr(on_device, "free_on_gpu", lambda: free)
    helper = fed(on_the_device())
    assert (helper.model.held is not None) == there
    gen = helper.make_generator(IDS)
    assert isinstance(gen, WholeBatches)
    assert gen[0][0][0].dtype == (np.int32 if there else np.uint8)


def test_a_set_that_does_not_fit_after_all_is_read_by_threads(monkeypatch):
    class ResourceExhaustedError(Exception):
        pass

    def full(*of):
        raise ResourceExhaustedError(said)

    monkeypatch.setattr(on_device, "Held", full)
    said = "OOM when allocating tensor with shape[10073,73728]"
    assert fed(on_the_device(), held=True).model.held is None
    said = "logs/train/events.out; No space left on device"
    with pytest.raises(ResourceExhaustedError, match="No space left"):
        fed(on_the_device(), held=True)


def test_what_a_validation_sees_is_not_mirrored():
    helper = fed(on_the_device())
    gen = helper.make_generator(IDS, batch_size=4)
    assert [len(inputs) for inputs, _ in (gen[0], gen[1])] == [1, 1]
    np.testing.assert_array_equal(np.concatenate([gen[0][0][0], gen[1][0][0]]), PIXELS)


def test_other_backends_mirror_on_the_host():
    assert in_keras_feed.flips(SimpleNamespace())["process_args"] == "flip"
