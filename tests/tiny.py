"""The scripts with a network small enough for tests: `python tests/tiny.py koncept512_train --batch-size 4 ...`.

Everything but the network is the scripts' own: command line, data, ModelHelper, run folder, reports.
"""

import importlib
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))

from koniq import cli, network
from koniq.network import Network


def build(input_size, initial, output_bias):
    """Two convolutions with batch normalisation in place of InceptionResNetV2, under KonCept512's kind of head."""
    import keras

    from ku import applications as apps

    pictures = keras.Input((*input_size, 3), dtype="uint8")
    x = keras.layers.Rescaling(1 / 127.5, offset=-1)(pictures)
    for filters in (8, 16):
        x = keras.layers.Conv2D(filters, 3, strides=2, activation="relu")(x)
        x = keras.layers.BatchNormalization(momentum=0.9)(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    score = apps.fc_layers(x, name="fc", fc_sizes=[32, 16, 1], dropout_rates=[0.25, 0.25, 0], batch_norm=2)
    model = keras.Model(pictures, score, name="tiny")
    model.layers[-1].bias.assign([output_bias])
    return model


TINY = Network("tiny", build, input_size=(24, 32))
network.NETWORKS["tiny"] = TINY

if __name__ == "__main__":
    script = importlib.import_module(sys.argv[1])
    script.KONCEPT512 = TINY
    cli.run(script.main, script.Settings, sys.argv[2:])
