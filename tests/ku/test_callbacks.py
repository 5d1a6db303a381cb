"""The best weights, early stopping and TensorBoard, as a ModelHelper uses them."""

import h5py
import numpy as np
import pytest
import small_helper
from small_helper import OnEpochEnd, same

pytestmark = pytest.mark.any_backend
eager = pytest.fixture(autouse=True)(small_helper.eager)
make_helper = pytest.fixture(small_helper.make_helper)


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


def test_best_weights_hold_no_optimizer(make_helper):
    helper = make_helper()
    helper.train(verbose=False)
    names = []
    with h5py.File(helper.checkpoint.path) as file:
        file.visititems(lambda name, item: names.append(name) if isinstance(item, h5py.Dataset) else None)
    assert len(names) == len(helper.model.weights)


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


def test_checkpoint_period(make_helper):
    seen = []
    helper = make_helper(checkpoint_period=2, save_best_only=False, save_final=False)
    helper.params.callbacks = [OnEpochEnd(lambda epoch: seen.append(helper.checkpoint.path.exists()))]
    helper.train(epochs=3, verbose=False)
    assert seen == [False, True, True]
    assert [path.name for path in helper.checkpoint.path.parent.iterdir()] == [helper.checkpoint.path.name]


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


def test_a_callback_can_restore_early_stopping(make_helper):
    helper = make_helper(early_stop_patience=3)

    def restore():
        assert (helper.early_stop.wait, helper.early_stop.best) == (0, None)
        helper.early_stop.wait, helper.early_stop.best = 1, -1.0

    helper.params.callbacks = [OnEpochEnd(lambda epoch: None, restore)]
    assert len(helper.train(epochs=9, verbose=False).epoch) == 2


def test_without_validation_nothing_is_monitored(make_helper, recwarn):
    helper = make_helper()
    helper.train(valid_gen=False, verbose=False)
    assert helper.checkpoint.best is None
    assert not [w for w in recwarn if "Early stopping" in str(w.message)]
    helper.params.monitor_metric = "loss"
    helper.train(valid_gen=False, verbose=False)
    assert helper.checkpoint.best > 0


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
