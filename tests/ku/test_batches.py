"""Batches read once, weighted by class, planned otherwise for a while."""

import numpy as np
import pandas as pd
import pytest
import small_helper
from small_helper import net, same

from ku.batches import InMemory, replanned
from ku.generators import DataGeneratorDisk

pytestmark = pytest.mark.any_backend
eager = pytest.fixture(autouse=True)(small_helper.eager)
make_helper = pytest.fixture(small_helper.make_helper)


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


def columns(**args):
    ids = pd.DataFrame({"x": np.arange(5.0), "y": np.arange(5.0) * 2})
    return DataGeneratorDisk(ids, **{"inputs_df": ["x"], "outputs": ["y"], "batch_size": 2, **args})


def test_in_memory_each_batch_is_read_once():
    reads = []
    generator = columns(outputs=lambda rows: reads.append(len(rows)) or rows.y, shuffle=False)
    kept = InMemory(generator)
    for _ in range(2):
        assert [x.ravel().tolist() for x, _ in kept] == [[0, 1], [2, 3], [4]]
        assert [y.tolist() for _, y in kept] == [[0, 2], [4, 6], [8]]
    assert reads == [2, 2, 1]


def test_another_plan_holds_for_a_while_and_through_an_error():
    generator = columns(fixed_batches=True)

    def broken():
        with replanned(generator, {"shuffle": False, "fixed_batches": False, "batch_size": 3, "unknown": 1}):
            assert [x.ravel().tolist() for (x,), _ in generator] == [[0, 1, 2], [3, 4]]
            raise KeyError

    with pytest.raises(KeyError):
        broken()
    assert (generator.shuffle, generator.fixed_batches, generator.batch_size, len(generator)) == (True, True, 2, 2)
    assert not hasattr(generator, "unknown")
