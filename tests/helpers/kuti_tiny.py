"""The recipe of koniq.training.in_kuti with a network small enough for tests, in kuti's environment.

`.venv-kuti/bin/python tests/helpers/kuti_tiny.py TABLE RUN` trains, and prints as JSON what is seen there alone.
"""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from koniq.data import datasets
from koniq.network import KONCEPT512
from koniq.training import Run, in_kuti


def main(table: str, folder: str) -> None:
    data, network = datasets.load(table), replace(KONCEPT512.at((8, 12)), name="tiny")
    kuti = in_kuti.load(1)

    from tensorflow import keras

    pictures = keras.Input((*network.input_size, 3))
    pooled = keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3)(pictures))
    model = kuti.applications.Model(pictures, keras.layers.Dense(1)(pooled), name="tiny")
    run = Run(folder, {"loss": "mse"})
    helper, data = in_kuti.helper(kuti, run, model, network, data, "mse", 4, 20, 2)
    run.begin(data, network, in_kuti.device(), in_kuti.checkpoint(helper))
    # The second stage ruins the network.
    in_kuti.train(kuti, run, helper, data, (2, 1), (1e-3, 1e3))
    engine = in_kuti.engine(kuti, model, network)

    read, preprocess = helper.gen_params.read_fn, in_kuti.preprocessing(kuti)
    names = data.ids.set_index("MOS").image_name
    as_it_is = mirrored = 0
    for _ in range(8):
        generator = helper.make_generator(data.part("training"))
        for (seen,), (mos,) in (generator[number] for number in range(len(generator))):
            for picture, score in zip(seen, mos[:, 0], strict=True):
                whole = preprocess(read(names[score], None))
                as_it_is += np.array_equal(picture, whole)
                mirrored += np.array_equal(picture, whole[:, ::-1])
    validation = data.part("validation")
    scores = engine.score(np.stack([read(name, None) for name in validation.image_name]))
    found = {"as_it_is": as_it_is, "mirrored": mirrored, "loss": float(np.mean((scores - validation.MOS) ** 2))}
    print(json.dumps(found))


if __name__ == "__main__":
    main(*sys.argv[1:])
