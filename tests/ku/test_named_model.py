"""What a model is called, and the files that bear its name."""

import keras
import munch
import pandas as pd
import pytest
import small_helper
from small_helper import same

from ku.model_helper import ModelHelper

pytestmark = pytest.mark.any_backend
eager = pytest.fixture(autouse=True)(small_helper.eager)
make_helper = pytest.fixture(small_helper.make_helper)


def test_model_name_says_what_the_model_is(make_helper):
    def my_loss(y, p):
        return keras.ops.mean(keras.ops.abs(y - p))

    helper = make_helper(loss=my_loss)
    assert helper.model_name() == "net_bsz2_i8x8x3_lmy_loss_o1"
    assert helper.update_name(run="a/b:c") == helper.model_name() == "net_bsz2_i8x8x3_lmy_loss_o1_runa-b-c"
    helper.params.loss = ["MAE", keras.losses.Huber()]
    assert helper.set_model_name()() == "net_bsz2_i8x8x3_lMAE,huber_loss_o1_runa-b-c"


@pytest.mark.parametrize(
    ("input_shape", "name"),
    [
        ((384, 512, 3), "384x512x3"),
        ([384, 512], "384x512x3"),
        (("orig",), "NxNx3"),
        ((None, None, 3), "NxNx3"),
        (None, "NxNx3"),
    ],
)
def test_model_name_of_an_open_input_size_takes_that_of_the_generators(input_shape, name):
    """A body of any size, a head, `gen_params` in a mapping: as scripts of the ancestor make their helper."""
    pictures, numbers = keras.Input((None, None, 3)), keras.Input((4,))
    body = keras.Model(pictures, keras.layers.GlobalAveragePooling2D()(keras.layers.Conv2D(4, 3)(pictures)))
    head = keras.layers.Dense(1, name="MOS")(body.output)
    ids = pd.DataFrame({"image_name": ["a.jpg"], "MOS": [1.0], "set": ["training"]})
    gen_params = munch.Munch(
        batch_size=8,
        data_path="images",
        input_shape=input_shape,
        inputs=["image_name"],
        outputs=["MOS"],
        process_fn=lambda picture: picture[:, ::-1],
        fixed_batches=True,
    )
    helper = ModelHelper(
        keras.Model(body.input, head),
        "KonCept512",
        ids,
        gen_params,
        loss="MSE",
        metrics=["MAE"],
        monitor_metric="val_loss",
    )
    assert helper.model_name() == f"KonCept512_bsz8_i{name}_lMSE_o1"
    two = keras.Model([pictures, numbers], keras.layers.concatenate([body.output, numbers]))
    assert ModelHelper(two, "two", ids, gen_params).model_name() == f"two_bsz8_i{name}-4_lMSE_o8"
    half = keras.Input((None, 96, 3))
    known = ModelHelper(keras.Model(half, half), "half", ids, gen_params).model_name()
    assert known == f"half_bsz8_i{name.split('x')[0]}x96x3_lMSE_oNx96x3"


def test_weights_and_models_round_trip(make_helper, tmp_path, capsys):
    helper, other = make_helper(), make_helper()
    assert not helper.load_model()
    assert "No file" in capsys.readouterr().out
    other.model.set_weights([w + 1 for w in other.model.get_weights()])
    helper.save_model(weights_only=True, best=True)
    assert other.load_model()
    assert same(other.model.get_weights(), helper.model.get_weights())
    other.model.set_weights([w + 1 for w in other.model.get_weights()])
    path = other.save_model(name_extras="_x")
    assert path.name == f"{helper.model_name()}_x_final.keras"
    assert helper.load_model(str(path), from_weights=False)
    assert same(other.model.get_weights(), helper.model.get_weights())
    helper.train(verbose=False)


@pytest.mark.filterwarnings("ignore:.*legacy")
def test_old_h5_weights_load(make_helper, tmp_path):
    helper, other = make_helper(), make_helper()
    other.model.set_weights([w + 1 for w in other.model.get_weights()])
    (tmp_path / "models").mkdir()
    other.model.save(tmp_path / "models" / "old_best.h5")
    for by_name in (False, True):
        helper.model.set_weights([w * 0 for w in helper.model.get_weights()])
        assert helper.load_model("old", by_name=by_name, verbose=0)
        assert same(other.model.get_weights(), helper.model.get_weights())


def test_clean_outputs_takes_only_its_own(make_helper, monkeypatch):
    helper, longer = make_helper(), make_helper()
    longer.update_name(x=1)
    for each in (helper, longer):
        each.train(verbose=False)
    helper.save_activations()
    monkeypatch.setattr("builtins.input", lambda message: "n")
    assert helper.clean_outputs() == []
    assert len(helper.clean_outputs(force=True)) == 3
    assert longer.load_model(verbose=0)
    assert not helper.load_model(verbose=0)
