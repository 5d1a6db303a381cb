"""Columns named one by one, in lists or by a function, and the arrays that they make."""

import numpy as np
import pandas as pd
import pytest

from ku.columns import column_sets, names_in, stack, tables

pytestmark = pytest.mark.any_backend

ROWS = pd.DataFrame({"x": [1, 2], "y": [3, 4], "name": ["a", "b"]})
CELLS = pd.DataFrame({"cell": [np.zeros(2), np.ones(2)], "other": [np.ones(2), np.zeros(2)]})
RAGGED = pd.DataFrame({"cell": [np.zeros(2), np.zeros(3)], "other": [np.zeros(1), np.zeros(1)]})


@pytest.mark.parametrize(
    ("spec", "sets", "names"),
    [
        (None, [], []),
        (len, [], []),
        ((), [], []),
        ("x", [["x"]], ["x"]),
        (["x", "y"], [["x", "y"]], ["x", "y"]),
        ([["x", "y"], ("x",)], [["x", "y"], ["x"]], ["x", "y", "x"]),
    ],
)
def test_lists_of_names(spec, sets, names):
    assert column_sets(spec, "outputs") == sets
    assert names_in(spec) == names


def test_names_and_lists_do_not_mix():
    with pytest.raises(AssertionError, match=r"outputs should be .* Received: outputs=\['x', \['y'\]\]"):
        column_sets(["x", ["y"]], "outputs")


def test_a_table_for_each_list_or_what_a_function_makes():
    both, one = tables(ROWS, [["x", "y"], ["y"]], "outputs")
    assert both.dtype == np.float32
    assert both.tolist() == [[1, 3], [2, 4]]
    assert one.tolist() == [[3], [4]]
    assert tables(ROWS, len, "outputs") == 2
    with pytest.raises(ValueError, match=r"outputs should be columns of numbers or arrays. Received: \['name'\]"):
        tables(ROWS, "name", "outputs")


def test_cells_that_hold_arrays_are_stacked():
    assert tables(CELLS, "cell", "outputs")[0].tolist() == [[0, 0], [1, 1]]
    (both,) = tables(CELLS, ["cell", "other"], "outputs")
    assert both.tolist() == [[[0, 0], [1, 1]], [[1, 1], [0, 0]]]


def test_shapes_that_differ_are_named():
    with pytest.raises(ValueError, match=r"share a shape .*'cell' with shapes \[\(2,\), \(3,\)\]"):
        tables(RAGGED, "cell", "outputs")
    with pytest.raises(ValueError, match=r"share a shape .*\['cell', 'other'\] with shapes \[\(1, 1\), \(1, 2\)\]"):
        tables(RAGGED[:1], ["cell", "other"], "outputs")
    with pytest.raises(ValueError, match=r"'name' with shapes \[\(1,\), \(2,\)\]"):
        stack([np.zeros(1), np.zeros(2)], "name")
