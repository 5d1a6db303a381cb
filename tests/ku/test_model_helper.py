"""ModelHelper on a net of a few weights over ten pictures of 8 x 8."""

import h5py
import keras
import munch
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from ku.generators import DataGeneratorHDF5
from ku.generic import H5Helper
from ku.model_helper import ModelHelper, get_activations, get_layer_index

any_backend = pytest.mark.any_backend
SETS = ["training"] * 5 + ["validation"] * 3 + ["test"] * 2


def net(outputs: int = 1) -> keras.Model:
    x = inputs = keras.Input((8, 8, 3))
    x = keras.layers.Rescaling(1 / 255)(x)
    x = keras.layers.Conv2D(4, 3, kernel_initializer=keras.initializers.GlorotUniform(1), name="conv")(x)
    x = keras.layers.GlobalAveragePooling2D(name="gap")(x)
    dense = keras.layers.Dense(1, kernel_initializer=keras.initializers.GlorotUniform(2), name="out")
    y = dense(x)
    return keras.Model(inputs, y if outputs == 1 else [y, keras.layers.Dense(1, name="more")(x)])


@pytest.fixture(autouse=True)
def eager(monkeypatch):
    """Tracing would take most of the time of these tests; the one about tracing undoes this."""
    monkeypatch.setattr(keras.Model, "run_eagerly", property(lambda model: True, lambda model, value: None))


@pytest.fixture
def make_helper(tmp_path):
    rng = np.random.default_rng(0)
    ids = pd.DataFrame({"image_name": [f"{i}.png" for i in range(10)], "set": SETS, "MOS": np.arange(10.0)})
    for name in ids.image_name:
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(tmp_path / name)

    def make(gen_params=(), model=None, **params):
        own = {"data_path": tmp_path, "inputs": "image_name", "outputs": "MOS", "batch_size": 2}
        own |= {"deterministic": True, **dict(gen_params)}
        roots = {"models_root": tmp_path / "models", "features_root": tmp_path / "features"}
        return ModelHelper(model or net(), "net", ids, own, **{**roots, "multiproc": False, **params})

    return make


def iterations(helper: ModelHelper) -> int:
    return int(keras.ops.convert_to_numpy(helper.model.optimizer.iterations))


def same(a: list[np.ndarray], b: list[np.ndarray]) -> bool:
    return all(np.array_equal(x, y) for x, y in zip(a, b, strict=True))


class OnEpochEnd(keras.callbacks.Callback):
    def __init__(self, act, begin=None):
        super().__init__()
        self.act, self.begin = act, begin

    def on_train_begin(self, logs=None):
        if self.begin:
            self.begin()

    def on_epoch_end(self, epoch, logs=None):
        self.act(epoch)


# Parameters, names and generators


@any_backend
def test_params_are_known_and_read_both_ways(make_helper):
    helper = make_helper(lr=0.5)
    helper.params["loss"] = "MAE"
    assert (helper.params.lr, helper.params["lr"], helper.params.loss) == (0.5, 0.5, "MAE")
    with pytest.raises(ValueError, match=r"monitor_metric.*Received: monitr"):
        make_helper(monitr="val_loss")
    with pytest.raises(ValueError, match="Received: monitor_mode='up'"):
        make_helper(monitor_mode="up")


@any_backend
def test_model_name_says_what_the_model_is(make_helper):
    def my_loss(y, p):
        return keras.ops.mean(keras.ops.abs(y - p))

    helper = make_helper(loss=my_loss)
    assert helper.model_name() == "net_bsz2_i8x8x3_lmy_loss_o1"
    assert helper.update_name(run="a/b:c") == helper.model_name() == "net_bsz2_i8x8x3_lmy_loss_o1_runa-b-c"
    helper.params.loss = ["MAE", keras.losses.Huber()]
    assert helper.set_model_name()() == "net_bsz2_i8x8x3_lMAE,huber_loss_o1_runa-b-c"


@any_backend
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


@any_backend
def test_a_batch_of_a_function_is_shown(make_helper):
    helper = make_helper({"inputs": [], "inputs_df": lambda rows: np.zeros((3, 4, 4))})
    assert len(helper.test_generator().axes) == 4


@any_backend
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


@any_backend
def test_show_a_batch(make_helper, capsys):
    helper = make_helper()
    figure = helper.test_generator()
    assert capsys.readouterr().out.strip() == "([array<2,8,8,3>], [array<2,1>])"
    assert len(figure.axes) == 2


# Training


@any_backend
def test_fresh_optimizer_is_as_good_as_new(make_helper):
    for optimizer in ("adagrad", keras.optimizers.Nadam(beta_1=0.8)):
        used, new = make_helper(optimizer=optimizer), make_helper(optimizer=optimizer)
        weights = new.model.get_weights()
        used.train(lr=1e-2, verbose=False)
        used_optimizer = used.model.optimizer
        assert iterations(used) == 3
        used.compile()
        assert iterations(used) == 0
        used.model.set_weights(weights)
        histories = [h.train(lr=1e-3, verbose=False).history for h in (used, new)]
        assert used.model.optimizer is used_optimizer
        assert not same(weights, new.model.get_weights())
        assert same(used.model.get_weights(), new.model.get_weights())
        assert histories[0] == histories[1]


@any_backend
def test_recompile_false_carries_the_optimizer_on(make_helper):
    helper = make_helper()
    helper.train(lr=1e-2, verbose=False)
    function = helper.model.train_function
    helper.train(lr=1e-3, recompile=False, verbose=False)
    assert iterations(helper) == 6
    assert float(helper.model.optimizer.learning_rate) == pytest.approx(1e-3)
    helper.params.loss = "MAE"
    helper.train(recompile=False, verbose=False)
    assert iterations(helper) == 9
    assert helper.model.train_function is not function


def test_learning_rate_traces_nothing_anew(make_helper, monkeypatch):
    monkeypatch.undo()
    calls = []

    def loss(y, p):
        calls.append(1)
        return keras.ops.mean(keras.ops.square(y - p))

    helper = make_helper(loss=loss)
    weights = helper.model.get_weights()
    first = helper.train(lr=1e-2, verbose=False).history
    traced, function = len(calls), helper.model.train_function
    helper.train(lr=1e-3, recompile=False, verbose=False)
    helper.model.set_weights(weights)
    assert helper.train(lr=1e-2, verbose=False).history == first
    helper.validate(verbose=0)
    assert len(calls) == traced
    assert helper.model.train_function is function


@any_backend
def test_a_change_compiles(make_helper):
    helper = make_helper(metrics=["MAE"])
    helper.train(verbose=False)
    helper.params.metrics.append("MSE")
    assert sorted(helper.validate(verbose=0)) == ["MAE", "MSE", "loss"]
    helper.set_trainable("out")
    before = helper.model.get_layer("conv").get_weights(), helper.model.get_layer("out").get_weights()
    helper.train(lr=0.1, verbose=False)
    assert same(before[0], helper.model.get_layer("conv").get_weights())
    assert not same(before[1], helper.model.get_layer("out").get_weights())


@any_backend
def test_the_callers_own_compile_is_kept(make_helper):
    helper = make_helper()
    helper.model.compile("sgd", "MAE", metrics=["MSE"])
    assert sorted(helper.validate(verbose=0)) == ["MSE", "loss"]
    helper.train(lr=0.25, recompile=False, verbose=False)
    assert isinstance(helper.model.optimizer, keras.optimizers.SGD)
    assert float(helper.model.optimizer.learning_rate) == 0.25


@any_backend
def test_schedule_is_left_alone(make_helper):
    schedule = keras.optimizers.schedules.ExponentialDecay(0.5, 1, 0.5)
    helper = make_helper(optimizer=keras.optimizers.SGD(schedule))
    helper.train(lr=1e-3, verbose=False)
    assert float(helper.model.optimizer.learning_rate) == pytest.approx(0.5**4)


@any_backend
def test_set_trainable(make_helper):
    helper = make_helper()
    for index, frozen in ((3, 3), ("out", 4), (0, 0), (-1, 4), (5, 5)):
        helper.set_trainable(index)
        assert [layer.trainable for layer in helper.model.layers] == [i >= frozen for i in range(5)]
    with pytest.raises(ValueError, match=r"within 5 layers\. Received: index=6"):
        helper.set_trainable(6)


@any_backend
def test_silent_when_not_verbose(make_helper, capfd):
    helper = make_helper()
    helper.train(valid_in_memory=True, verbose=False)
    helper.validate(verbose=False)
    helper.predict()
    assert helper.load_model(verbose=0)
    assert capfd.readouterr().out == ""


@any_backend
def test_how_batches_are_loaded_changes_nothing(make_helper):
    expected = make_helper().train(epochs=2, verbose=False).history
    assert make_helper().train(epochs=2, valid_in_memory=True, verbose=False).history == expected
    assert make_helper(multiproc=True).train(epochs=2, verbose=False).history == expected


@any_backend
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


@any_backend
def test_initial_epoch(make_helper):
    assert make_helper().train(epochs=5, initial_epoch=3, verbose=False).epoch == [3, 4]


@any_backend
def test_class_weights(make_helper):
    helper = make_helper(class_weights=dict.fromkeys(range(4), 0.0))
    before = helper.model.get_weights()
    ids = helper.ids.iloc[:4]
    helper.train(helper.make_generator(ids), None, lr=1.0, verbose=False)
    assert same(before, helper.model.get_weights())
    helper.params.class_weights = [0, 0, 0, 1]
    helper.train(helper.make_generator(ids), None, lr=1.0, verbose=False)
    assert not same(before, helper.model.get_weights())
    zeros = make_helper({"outputs": lambda rows: rows.MOS}, class_weights=dict.fromkeys(range(4), 0.0))
    before = zeros.model.get_weights()
    zeros.train(zeros.make_generator(ids), None, lr=1.0, verbose=False)
    assert same(before, zeros.model.get_weights())
    two = make_helper({"outputs": [["MOS"], ["MOS"]]}, net(2), loss=["MSE", "MSE"], class_weights=[1])
    with pytest.raises(Exception, match="class_weights need a single output"):
        two.train(verbose=False)


@any_backend
def test_training_needs_pictures(make_helper):
    with pytest.raises(ValueError, match=r"True should be given\. Received: None"):
        make_helper().train(None)


# Best weights and callbacks


@any_backend
def test_best_weights_outlive_a_stage(make_helper):
    helper = make_helper()
    helper.train(lr=1e-2, epochs=2, verbose=False)
    best, path = helper.checkpoint.best, helper.checkpoint.path
    assert path.name == f"{helper.model_name()}_best.weights.h5"
    assert helper.validate(verbose=0)["loss"] == pytest.approx(best, rel=1e-4)
    kept = helper.model.get_weights()
    helper.checkpoint.best = -1.0
    helper.train(lr=1e-2, verbose=False)
    assert helper.checkpoint.best == -1.0
    assert not same(kept, helper.model.get_weights())
    assert helper.load_model(verbose=0)
    assert same(kept, helper.model.get_weights())
    assert helper.load_model(best=False, verbose=0)
    assert not same(kept, helper.model.get_weights())
    helper.update_name(stage=2)
    helper.train(verbose=False)
    assert helper.checkpoint.best > 0
    assert helper.checkpoint.path.exists()


@any_backend
def test_best_weights_hold_no_optimizer(make_helper):
    helper = make_helper()
    helper.train(verbose=False)
    names = []
    with h5py.File(helper.checkpoint.path) as file:
        file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
    assert len(names) == len(helper.model.weights)


@any_backend
@pytest.mark.parametrize(("mode", "best"), [("min", 1.0), ("max", 3.0)])
def test_only_a_finite_value_is_best(make_helper, mode, best):
    helper = make_helper(monitor_metric="m", monitor_mode=mode)
    checkpoint = helper.checkpoint
    checkpoint.set_model(helper.model)
    checkpoint.on_epoch_end(0, {"m": np.nan})
    assert checkpoint.best is None
    assert not checkpoint.path.exists()
    for value in (2.0, np.inf, 3.0, -np.inf, 1.0, np.nan):
        checkpoint.on_epoch_end(0, {"m": value})
    assert checkpoint.best == best
    stop = helper.early_stop
    stop.set_model(helper.model)
    for epoch, value in enumerate((np.nan, np.nan, 2.0, np.inf, -np.inf)):
        stop.on_epoch_end(epoch, {"m": value})
    assert (stop.best, stop.wait) == (2.0, 2)
    with pytest.raises(ValueError, match=r"one of \['loss'\]. Received: monitor_metric='m'"):
        checkpoint.on_epoch_end(0, {"loss": 1})


@any_backend
def test_checkpoint_period(make_helper):
    seen = []
    helper = make_helper(checkpoint_period=2, save_best_only=False, save_final=False)
    helper.params.callbacks = [OnEpochEnd(lambda epoch: seen.append(helper.checkpoint.path.exists()))]
    helper.train(epochs=3, verbose=False)
    assert seen == [False, True, True]
    assert [path.name for path in helper.checkpoint.path.parent.iterdir()] == [helper.checkpoint.path.name]


@any_backend
def test_an_error_in_a_callback_comes_through(make_helper):
    helper = make_helper()
    helper.train(verbose=False)
    written = helper.checkpoint.path.read_bytes()

    class Interruption(BaseException):
        pass

    def interrupt(epoch):
        raise Interruption

    helper.params.callbacks = [OnEpochEnd(interrupt)]
    helper.checkpoint.best = -1.0
    with pytest.raises(Interruption):
        helper.train(verbose=False)
    assert helper.checkpoint.path.read_bytes() == written


@any_backend
def test_a_callback_can_restore_early_stopping(make_helper):
    helper = make_helper(early_stop_patience=3)

    def restore():
        assert (helper.early_stop.wait, helper.early_stop.best) == (0, None)
        helper.early_stop.wait, helper.early_stop.best = 1, -1.0

    helper.params.callbacks = [OnEpochEnd(lambda epoch: None, restore)]
    assert len(helper.train(epochs=9, verbose=False).epoch) == 2


@any_backend
def test_without_validation_nothing_is_monitored(make_helper, recwarn):
    helper = make_helper()
    helper.train(valid_gen=False, verbose=False)
    assert helper.checkpoint.best is None
    assert not [w for w in recwarn if "Early stopping" in str(w.message)]
    helper.params.monitor_metric = "loss"
    helper.train(valid_gen=False, verbose=False)
    assert helper.checkpoint.best > 0


@any_backend
def test_tensorboard_shows_pictures(make_helper, tmp_path):
    helper = make_helper(logs_root=tmp_path / "logs", write_images=True, write_graph=True)
    helper.train(verbose=False)
    logs = tmp_path / "logs" / helper.model_name()
    events = b"".join(path.read_bytes() for path in (logs / "validation").iterdir())
    assert b"validation pictures" in events
    assert b"\x89PNG" in events
    assert any((logs / "train").iterdir())
    assert helper.clean_outputs(force=True)
    assert not logs.exists()


# Evaluation and prediction


@any_backend
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


@any_backend
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


@any_backend
def test_repeats_differ_where_chance_enters(make_helper):
    rng = np.random.default_rng(0)
    helper = make_helper({"process_fn": lambda im: im * rng.random()})
    first, second = helper.predict(repeats=2)
    assert first.shape == second.shape == (2, 1)
    assert not np.array_equal(first, second)


@any_backend
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


@any_backend
def test_two_outputs_make_a_list(make_helper):
    helper = make_helper({"outputs": [["MOS"], ["MOS"]]}, net(2), loss=["MSE", "MAE"], loss_weights=[1, 2])
    helper.train(verbose=False)
    assert [y.shape for y in helper.predict()] == [(2, 1), (2, 1)]


@any_backend
def test_columns_as_input():
    ids = pd.DataFrame({"a": np.arange(6.0), "b": 1.0, "y": 2.0, "set": ["training"] * 4 + ["validation"] * 2})
    x = keras.Input((2,))
    model = keras.Model(x, keras.layers.Dense(1, kernel_initializer="ones")(x))
    helper = ModelHelper(model, "sum", ids, {"inputs_df": ["a", "b"], "outputs": ["y"]}, save_final=False)
    assert helper.predict("validation")[:, 0].tolist() == [5, 6]


@any_backend
def test_layers_and_activations(make_helper):
    helper = make_helper()
    assert get_layer_index(helper.model, "gap") == 3
    with pytest.raises(ValueError, match="Received: name='nap'"):
        get_layer_index(helper.model, "nap")
    im = np.full((8, 8, 3), 7, np.uint8)
    single = get_activations(im, helper.model, "gap")
    np.testing.assert_allclose(get_activations(im[None], helper.model, 3), single[None])
    assert single.shape == (4,)


@any_backend
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


@any_backend
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


# Files


@any_backend
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


@any_backend
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


@any_backend
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


@any_backend
def test_multi_gpu_needs_two(make_helper):
    with pytest.raises(ValueError, match=r"Received: (gpus=2|backend='torch')"):
        make_helper().set_multi_gpu(2)
