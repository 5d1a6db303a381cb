"""When a model is compiled anew, and what becomes of its optimiser."""

import keras
import pytest
import small_helper
from small_helper import iterations, same

eager = pytest.fixture(autouse=True)(small_helper.eager)
make_helper = pytest.fixture(small_helper.make_helper)
any_backend = pytest.mark.any_backend


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
