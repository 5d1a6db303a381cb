"""ModelHelper on a net of a few weights over ten pictures of 8 x 8: generators, training, prediction."""

import keras
import munch
import numpy as np
import pandas as pd
import pytest
import small_helper
from PIL import Image
from small_helper import net

from ku.generators import DataGeneratorHDF5
from ku.hdf5 import H5Helper
from ku.model_helper import ModelHelper

pytestmark = pytest.mark.any_backend
eager = pytest.fixture(autouse=True)(small_helper.eager)
make_helper = pytest.fixture(small_helper.make_helper)


def test_params_are_known_and_read_both_ways(make_helper):
    helper = make_helper(lr=0.5)
    helper.params["loss"] = "MAE"
    assert (helper.params.lr, helper.params["lr"], helper.params.loss) == (0.5, 0.5, "MAE")
    with pytest.raises(ValueError, match=r"monitor_metric.*Received: monitr"):
        make_helper(monitr="val_loss")
    with pytest.raises(ValueError, match="Received: monitor_mode='up'"):
        make_helper(monitor_mode="up")


def test_a_batch_of_a_function_is_shown(make_helper):
    helper = make_helper({"inputs": [], "inputs_df": lambda rows: np.zeros((3, 4, 4))})
    assert len(helper.test_generator().axes) == 4


def test_generators_take_the_parameters(make_helper, tmp_path):
    helper = make_helper(munch.Munch(batch_size=3), multiproc=True, workers=4, max_queue_size=7)
    gen = helper.make_generator(helper.ids, "training", batch_size=2)
    assert (gen.workers, gen.max_queue_size, gen.use_multiprocessing, gen.batch_size) == (4, 7, False, 2)
    assert len(gen.ids) == 5
    assert make_helper().make_generator(helper.ids).workers == 1
    assert isinstance(helper.make_generator(helper.ids, data_path=tmp_path / "a.h5"), DataGeneratorHDF5)
    with pytest.raises(ValueError, match=r"one of \['training'.*Received: subset='dev'"):
        helper.make_generator(helper.ids, "dev")
    with pytest.raises(KeyError, match="column 'set'"):
        helper.make_generator(helper.ids[["MOS"]], "test")


def test_show_a_batch(make_helper, capsys):
    helper = make_helper()
    figure = helper.test_generator()
    assert capsys.readouterr().out.strip() == "([array<2,8,8,3>], [array<2,1>])"
    assert len(figure.axes) == 2


def test_set_trainable(make_helper):
    helper = make_helper()
    for index, frozen in ((3, 3), ("out", 4), (0, 0), (-1, 4), (5, 5)):
        helper.set_trainable(index)
        assert [layer.trainable for layer in helper.model.layers] == [i >= frozen for i in range(5)]
    with pytest.raises(ValueError, match=r"within 5 layers\. Received: index=6"):
        helper.set_trainable(6)


def test_silent_when_not_verbose(make_helper, capfd):
    helper = make_helper()
    helper.train(valid_in_memory=True, verbose=False)
    helper.validate(verbose=False)
    helper.predict()
    assert helper.load_model(verbose=0)
    assert capfd.readouterr().out == ""


def test_how_batches_are_loaded_changes_nothing(make_helper):
    expected = make_helper().train(epochs=2, verbose=False).history
    assert make_helper().train(epochs=2, valid_in_memory=True, verbose=False).history == expected
    assert make_helper(multiproc=True).train(epochs=2, verbose=False).history == expected


def test_an_epoch_by_threads_gives_every_row_once(make_helper):
    seen = [[]]  # before the first epoch, then of each

    class Seen(keras.callbacks.Callback):
        def on_epoch_begin(self, epoch, logs=None):
            seen.append([])

    def rows(y, p):
        seen[-1] += keras.ops.convert_to_numpy(y)[:, 0].tolist()
        return keras.ops.mean(y - p)

    helper = make_helper(loss=rows, multiproc=True, workers=3, callbacks=[Seen()])
    helper.train(valid_gen=None, epochs=3, verbose=False)
    assert [sorted(epoch) for epoch in seen[1:]] == [[0, 1, 2, 3, 4]] * 3


def test_initial_epoch(make_helper):
    assert make_helper().train(epochs=5, initial_epoch=3, verbose=False).epoch == [3, 4]


def test_training_needs_pictures(make_helper):
    with pytest.raises(ValueError, match=r"True should be given\. Received: None"):
        make_helper().train(None)


def test_validate_names_what_it_measures(make_helper):
    def plcc_tf(y, p):
        return keras.ops.mean(y)

    helper = make_helper(metrics=["MAE", plcc_tf])
    values = helper.validate(verbose=0, batch_size=3)
    y = np.array([5.0, 6, 7])
    difference = helper.predict("validation")[:, 0] - y
    expected = {"loss": np.mean(difference**2), "MAE": np.mean(abs(difference)), "plcc_tf": 6.0}
    assert values == pytest.approx(expected, rel=1e-4)
    assert helper.validate("test", verbose=0)["plcc_tf"] == 8.5


@pytest.mark.numerical
def test_predictions_follow_the_rows(make_helper, tmp_path):
    helper = make_helper({"fixed_batches": True})
    pictures = np.stack([np.asarray(Image.open(tmp_path / f"{i}.png")) for i in range(10)]).astype(np.float32)
    expected = keras.ops.convert_to_numpy(helper.model(pictures))
    gen = helper.make_generator(helper.ids, batch_size=3)
    np.testing.assert_allclose(helper.predict(gen), expected, rtol=1e-4, atol=1e-4)
    np.testing.assert_allclose(helper.predict(gen, batch_size=4), expected, rtol=1e-4, atol=1e-4)
    assert (gen.batch_size, gen.shuffle, gen.fixed_batches, len(gen)) == (3, True, True, 3)
    np.testing.assert_allclose(helper.predict(), expected[8:], rtol=1e-4, atol=1e-4)
    with pytest.raises(ValueError, match="Received: repeats=0"):
        helper.predict(repeats=0)


def test_repeats_differ_where_chance_enters(make_helper):
    rng = np.random.default_rng(0)
    helper = make_helper({"process_fn": lambda im: im * rng.random()})
    first, second = helper.predict(repeats=2)
    assert first.shape == second.shape == (2, 1)
    assert not np.array_equal(first, second)


def test_output_layer_by_name_and_position(make_helper):
    helper = make_helper()
    by_name = helper.predict(output_layer="gap")
    assert by_name.shape == (2, 4)
    np.testing.assert_array_equal(helper.predict(output_layer=-2), by_name)
    cut = helper._cut[2]
    helper.predict(output_layer=-2, remodel=False)
    assert helper._cut[2] is cut
    helper.predict(output_layer="conv", remodel=False)
    assert helper._cut[2] is not cut


def test_two_outputs_make_a_list(make_helper):
    helper = make_helper({"outputs": [["MOS"], ["MOS"]]}, net(2), loss=["MSE", "MAE"], loss_weights=[1, 2])
    helper.train(verbose=False)
    assert [y.shape for y in helper.predict()] == [(2, 1), (2, 1)]


def test_columns_as_input():
    ids = pd.DataFrame({"a": np.arange(6.0), "b": 1.0, "y": 2.0, "set": ["training"] * 4 + ["validation"] * 2})
    x = keras.Input((2,))
    model = keras.Model(x, keras.layers.Dense(1, kernel_initializer="ones")(x))
    helper = ModelHelper(model, "sum", ids, {"inputs_df": ["a", "b"], "outputs": ["y"]}, save_final=False)
    assert helper.predict("validation")[:, 0].tolist() == [5, 6]


@pytest.mark.numerical
def test_activations_are_read_back(make_helper):
    helper = make_helper({"fixed_batches": True})
    path = helper.save_activations("gap", batch_size=3)
    assert path.name == f"{helper.model_name()}_activations_gap.h5"
    gen = DataGeneratorHDF5(helper.ids, path, inputs="image_name", shuffle=False, batch_size=10)
    every = helper.predict(helper.make_generator(helper.ids), "gap")
    assert len(every) == 10
    np.testing.assert_allclose(gen[0][0][0], every, rtol=1e-4, atol=1e-4)
    with pytest.raises(FileExistsError, match="overwrite=True"):
        helper.save_activations("gap")
    assert helper.save_activations("gap", overwrite=True) == path


@pytest.mark.numerical
def test_features_of_each_process(make_helper):
    def scale(im, by):
        return im * by

    helper = make_helper()
    path = helper.save_features(lambda: [(scale, {"by": by}) for by in (0, 1)], ids=helper.ids[:3], batch_size=2)
    with H5Helper(path, "r") as h5:
        assert h5.group_names == ["scale_by0", "scale_by1"]
        zero, one = h5.read_data(["0.png", "1.png", "2.png"], h5.group_names)
    assert np.ptp(zero) == 0
    np.testing.assert_allclose(one, helper.predict(helper.make_generator(helper.ids[:3])), rtol=1e-4, atol=1e-4)


def test_multi_gpu_needs_two(make_helper):
    with pytest.raises(ValueError, match=r"Received: (gpus=2|backend='torch')"):
        make_helper().set_multi_gpu(2)
