"""The scripts with a small network: `python tests/helpers/tiny.py koncept512_train --batch-size 4 ...`.

Everything but the network is the scripts' own: command line, data, ModelHelper, run folder, reports. In the
environment, TINY_SLOW is a number of seconds that each score takes longer, TINY_DROPOUT the rate of dropout,
TINY_LIMITS how many files may be open and how many bytes of memory be had beyond the engine's, once that runs.
"""

import importlib
import os
import sys
import time
from dataclasses import replace
from functools import partial
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from koniq import engines
from koniq.commands import cli
from koniq.network import NETWORKS, Network
from koniq.network.layers import Layer
from koniq.scoring import loop


def build(input_size, output_bias):
    """Two convolutions with batch normalisation in place of InceptionResNetV2, under KonCept512's kind of head."""
    import keras

    from ku import applications as apps

    pictures = keras.Input((*input_size, 3), dtype="uint8")
    x = keras.layers.Rescaling(1 / 127.5, offset=-1)(pictures)
    for filters in (8, 16):
        x = keras.layers.Conv2D(filters, 3, strides=2, activation="relu")(x)
        x = keras.layers.BatchNormalization(momentum=0.9)(x)
    x = keras.layers.GlobalAveragePooling2D(name="gap")(x)
    rates = [float(os.environ.get("TINY_DROPOUT", 0.25))] * 2
    score = apps.fc_layers(x, name="fc", fc_sizes=[32, 16, 1], dropout_rates=[*rates, 0], batch_norm=2)
    model = keras.Model(pictures, score, name="tiny")
    model.layers[-1].bias.assign([output_bias])
    return model


def build_torch(output_bias, filters=(8, 16)):
    """The same in PyTorch. filters: of the two convolutions, where a narrower network is wanted."""
    from torch import nn

    from koniq.network import in_torch

    layers = []
    for channels, more in ((3, filters[0]), filters):
        layers += [nn.Conv2d(channels, more, 3, 2), nn.ReLU(), nn.BatchNorm2d(more, in_torch.EPSILON)]
    dropout = float(os.environ.get("TINY_DROPOUT", 0.25))
    head = in_torch.head((filters[-1], 32, 16), (dropout, dropout))
    return in_torch.Rating(in_torch.Body(*layers, nn.AdaptiveAvgPool2d(1)), head, output_bias)


def build_openvino(state, input_size, bfloat16):
    """The same in OpenVINO."""
    import numpy as np
    from openvino import Model
    from openvino import opset13 as ops

    from koniq.network import in_openvino as parts
    from koniq.network.koncept512 import EPSILON

    pictures, x = parts.entry(input_size, 127.5)
    x = ops.multiply(x, np.float32(1 / 127.5))
    for layer, norm in (("base.0", "base.2"), ("base.3", "base.5")):
        kernel = state[f"{layer}.weight"], state[f"{layer}.bias"]
        x = ops.relu(parts.convolution(x, kernel, layer, 2, padded=False))
        scale, offset = (array[None, :, None, None] for array in parts.norm(state, norm, EPSILON))
        x = ops.add(ops.multiply(x, scale), offset)
    x, normalised = ops.reduce_mean(x, [2, 3], False, name="features"), ()
    for layer, norm in (("fc.0", "fc.2"), ("fc.4", "fc.6")):
        x = ops.relu(parts.linear(x, state, layer, *normalised))
        normalised = parts.norm(state, norm, EPSILON)
    return Model([parts.linear(x, state, "fc.8", *normalised)], [pictures], "tiny")


def build_deep(input_size, output_bias):
    """Seven small convolutions: int8 leaves the first five and the last four layers as they are."""
    import keras

    pictures = x = keras.Input((*input_size, 3), dtype="uint8")
    x = keras.layers.Rescaling(1 / 127.5, offset=-1)(x)
    for number in range(7):
        x = keras.layers.Conv2D(16, 3, strides=2 if number in (0, 5) else 1, padding="same", activation="relu")(x)
    x = keras.layers.GlobalAveragePooling2D()(x)
    for size in (16, 16, 16):
        x = keras.layers.Dense(size, activation="relu")(x)
    return keras.Model(pictures, keras.layers.Dense(1, bias_initializer=keras.initializers.Constant(output_bias))(x))


def build_deep_openvino(state, input_size, bfloat16):
    """The same in OpenVINO."""
    import numpy as np
    from openvino import Model
    from openvino import opset13 as ops

    from koniq.network import in_openvino as parts

    pictures, x = parts.entry(input_size, 127.5)
    x = ops.multiply(x, np.float32(1 / 127.5))
    for number in range(7):
        kernel = state[f"base.{number}.weight"], state[f"base.{number}.bias"]
        x = ops.relu(parts.convolution(x, kernel, f"base.{number}", 2 if number in (0, 5) else 1))
    x = ops.reduce_mean(x, [2, 3], False)
    for number in range(3):
        x = ops.relu(parts.linear(x, state, f"fc.{number}"))
    return Model([parts.linear(x, state, "fc.3")], [pictures], "deep")


def layers(first, second):
    """The layers of TINY with that many filters."""
    return (
        *(
            Layer("Conv2D", "base.0", ((3, 3, 3, first), (first,))),
            Layer("BatchNormalization", "base.2", ((first,),) * 4),
        ),
        Layer("Conv2D", "base.3", ((3, 3, first, second), (second,))),
        Layer("BatchNormalization", "base.5", ((second,),) * 4),
        *(Layer("Dense", "fc.0", ((second, 32), (32,))), Layer("BatchNormalization", "fc.2", ((32,),) * 4)),
        *(Layer("Dense", "fc.4", ((32, 16), (16,))), Layer("BatchNormalization", "fc.6", ((16,),) * 4)),
        Layer("Dense", "fc.8", ((16, 1), (1,))),
    )


TINY = Network(
    "tiny",
    build,
    input_size=(24, 32),
    torch_builder=build_torch,
    features="gap",
    layers=layers(8, 16),
    openvino_builder=build_openvino,
)
NARROW = replace(  # PyTorch's alone
    TINY, name="narrow", torch_builder=partial(build_torch, filters=(4, 8)), layers=layers(4, 8)
)
DEEP = Network(
    "deep",
    build_deep,
    input_size=(24, 32),
    layers=(
        *(Layer("Conv2D", f"base.{n}", ((3, 3, 16 if n else 3, 16), (16,))) for n in range(7)),
        *(Layer("Dense", f"fc.{n}", ((16, 16 if n < 3 else 1), (16 if n < 3 else 1,))) for n in range(4)),
    ),
    openvino_builder=build_deep_openvino,
)
NETWORKS |= {"tiny": TINY, "narrow": NARROW, "deep": DEEP}


def limited(start):
    """An engine's start, after which the process has no more than TINY_LIMITS."""
    import resource

    import numpy as np

    files, more = map(int, os.environ["TINY_LIMITS"].split())

    def started(plan):
        engine = start(plan)
        engine.score(np.zeros((engine.batch_size, *engine.network.input_size, 3), np.uint8))
        pages = int(Path("/proc/self/statm").read_text().split()[0])
        resource.setrlimit(resource.RLIMIT_AS, (pages * resource.getpagesize() + more,) * 2)
        resource.setrlimit(resource.RLIMIT_NOFILE, (files, files))
        return engine

    return started


def slow_down(pause):
    """From now on, each score takes `pause` seconds longer."""
    score = loop.Reading.score
    loop.Reading.score = lambda *found: (time.sleep(pause), score(*found))[1]


def small(commands):
    """The commands of koniq.study.matrix (TRAIN, TEST) with the small network, without kuti's, which has none."""
    others = {name: Path(script).stem for name, (_, script) in commands.items() if name != "kuti"}
    return {name: (sys.executable, __file__, script) for name, script in others.items()}


if __name__ == "__main__":
    if "TINY_LIMITS" in os.environ:
        engines.Plan.start = limited(engines.Plan.start)
    if pause := float(os.environ.get("TINY_SLOW", 0)):
        slow_down(pause)
    if sys.argv[1] == "replicate":  # what it starts, too
        from koniq.study import matrix

        for commands in (matrix.TRAIN, matrix.TEST):
            commands |= small(commands)
    script = importlib.import_module(sys.argv[1])
    NETWORKS["koncept512"] = TINY
    cli.run(script.main, script.Settings, sys.argv[2:])
