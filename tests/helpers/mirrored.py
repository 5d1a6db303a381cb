"""One step on one device and on two parts of the processor: `python tests/helpers/mirrored.py koncept512 75 100`.

The network has random weights and no dropout, and sees 6 pictures, which the two share. Prints, as JSON, how far loss,
gradients and moving statistics are from those of one device, each by its own size: with statistics of the batch, and
without them. `koncept512 75 100 float64 order`: all but the last layer is computed in float64; and one device sees the
same pictures in another order, which is what rounding alone makes of them. A process of its own, for TensorFlow's
devices are fixed when it starts.
"""

import json
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

import keras
import numpy as np
import tensorflow as tf
from tiny import TINY

from koniq.engines.in_keras import prepare
from koniq.network import NETWORKS
from koniq.training import in_keras_mirrored as mirrored
from koniq.training.in_keras import LOSSES
from ku.batch_norm import norms
from ku.on_device import OnDevice, copies

PICTURES = 6


def without_dropout(model):
    for layer in model.layers:
        if isinstance(layer, keras.layers.Dropout):
            layer.rate = 0
    return model


def flat(arrays):
    return np.concatenate([np.ravel(array) for array in arrays])


def statistics(model, device=0):
    moving = [variable for layer in norms(model) for variable in (layer.moving_mean, layer.moving_variance)]
    return flat(np.asarray(copies(variable)[device]) for variable in moving)


def step(model, strategy, pictures, mos):
    """The loss and the gradients of a step, each the sum over devices, as the optimiser has it."""
    count = strategy.num_replicas_in_sync
    share = len(mos) // count

    def one(context):
        start = context.replica_id_in_sync_group * share
        return pictures[start : start + share], mos[start : start + share]

    def compute(data):
        with tf.GradientTape() as tape:
            loss = model.compute_loss(None, data[1], model(data[0], training=True))
        return loss, tape.gradient(loss, model.trainable_variables)

    found = strategy.run(compute, (strategy.experimental_distribute_values_from_function(one),))
    loss, gradients = tf.nest.map_structure(lambda each: strategy.reduce("SUM", each, axis=None), found)
    return float(loss), flat(gradients)


def apart(found, expected):
    return float(np.linalg.norm(found - expected) / np.linalg.norm(expected))


def main(name, size, floats="float32", order=""):
    keras.config.set_floatx(floats)
    prepare(1, floats, device="cpu", devices=2)
    network = TINY if name == TINY.name else NETWORKS[name].at(size)
    rng = np.random.default_rng(2)
    colours = rng.integers(0, 256, (PICTURES, 1, 1, 3)) + rng.normal(0, 1, (PICTURES, *size, 3)) * 40
    pictures, mos = colours.clip(0, 255).astype(np.uint8), rng.uniform(20, 80, (PICTURES, 1)).astype(np.float32)
    one = without_dropout(network.build(50.0))
    one = OnDevice(one.input, one.output)
    strategy = mirrored.strategy_of(2)
    with strategy.scope():
        two = without_dropout(network.build(50.0))
        two = mirrored.Mirrored(two.input, two.output)
    begins, printed = one.get_weights(), {}

    def begun(model, loss):
        model.set_weights(begins)
        model.compile(loss=LOSSES[loss])
        return model

    def compare(case, found, expected):
        values = [abs(found[0] - expected[0]) / expected[0], *map(apart, found[1:], expected[1:])]
        printed[case] = dict(zip(("loss", "gradients", "statistics", "statistics of the other"), values, strict=False))

    alone, last = tf.distribute.get_strategy(), slice(None, None, -1)
    expected = {loss: (*step(begun(one, loss), alone, pictures, mos), statistics(one)) for loss in ("mse", "plcc")}
    for loss in expected if order else ():
        compare(f"{loss}, last first", step(begun(one, loss), alone, pictures[last], mos[last]), expected[loss])
    compare("plcc, not synchronised", step(begun(two, "plcc"), strategy, pictures, mos), expected["plcc"])
    mirrored.synchronise(two)
    for loss, (*values, moved) in expected.items():
        found = step(begun(two, loss), strategy, pictures, mos)
        compare(loss, (*found, statistics(two), statistics(two, 1)), (*values, moved, moved))
    print(json.dumps(printed, indent=2))


if __name__ == "__main__":
    main(sys.argv[1], (int(sys.argv[2]), int(sys.argv[3])), *sys.argv[4:])
