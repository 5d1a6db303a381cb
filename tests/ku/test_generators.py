"""Generators: what a batch holds, how an epoch is planned, and that Keras models take them."""

import warnings

import keras
import numpy as np
import pandas as pd
import pytest
from PIL import Image

from ku.generators import DataGeneratorDisk, DataGeneratorHDF5, GeneratorStack, H5Helper
from ku.image_utils import write_image

pytestmark = pytest.mark.any_backend


def table(n: int) -> pd.DataFrame:
    """n rows whose columns tell which row they come from."""
    i = np.arange(n)
    return pd.DataFrame({"name": [f"{k}.png" for k in i], "MOS": i * 1.0, "twice": i * 2.0, "half": i / 2})


def columns(n: int = 7, **args) -> DataGeneratorDisk:
    return DataGeneratorDisk(table(n), None, **{"inputs_df": ["MOS"], "outputs": "MOS", **args})


def row_numbers(generator) -> list[int]:
    return [int(mos) for _, (y,) in generator for mos in y[:, 0]]


def number(picture: np.ndarray, *values) -> np.ndarray:
    """The row that a picture of `folder` shows, and what else was handed over."""
    return np.array([picture[0, 0, 0], *values])


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """Pictures k.png of 4 x 6: in `.` of grey k, in `a` of k + 10, in `b` of k + 20."""
    root = tmp_path_factory.mktemp("pictures")
    for group, grey in {".": 0, "a": 10, "b": 20}.items():
        (root / group).mkdir(exist_ok=True)
        for k in range(7):
            Image.new("RGB", (6, 4), (grey + k,) * 3).save(root / group / f"{k}.png")
    return root


@pytest.fixture(scope="module")
def h5_file(tmp_path_factory):
    """Arrays k.png of 2 x 3 uint8 full of 10 + k in the group `a`, of 20 + k in `b`."""
    path = tmp_path_factory.mktemp("h5") / "arrays.h5"
    names = list(table(7).name)
    with H5Helper(path, "w") as h5:
        for group, grey in {"a": 10, "b": 20}.items():
            h5.write_data(
                [np.full((7, 2, 3), 1, "u1") * (grey + np.arange(7, dtype="u1"))[:, None, None]],
                names,
                [group],
            )
    return path


@pytest.mark.parametrize(
    ("rows", "fixed", "sizes"),
    [(3, False, [3]), (4, False, [4]), (5, False, [4, 1]), (4, True, [4]), (5, True, [4]), (9, True, [4, 4])],
)
def test_sizes_of_batches(rows, fixed, sizes):
    generator = columns(rows, batch_size=4, fixed_batches=fixed)
    assert [len(y) for _, (y,) in generator] == sizes
    assert len(generator) == len(sizes)
    assert len(generator.ids_index) == sum(sizes)


def test_batch_is_a_tuple_of_lists_of_float32_columns():
    batch = columns(outputs=["MOS", "half"], batch_size=4, shuffle=False)[0]
    assert isinstance(batch, tuple)
    assert [type(part) for part in batch] == [list, list]
    assert batch[1][0].dtype == np.float32
    np.testing.assert_array_equal(batch[1][0], [[0, 0], [1, 0.5], [2, 1], [3, 1.5]])


def test_an_epoch_holds_every_row_once_and_the_next_another_order():
    generator = columns(deterministic=True, batch_size=3)
    first = row_numbers(generator)
    assert sorted(first) == list(range(7))
    assert row_numbers(generator) == first
    assert list(generator.ids_index.index) == first
    assert list(generator.ids_index.batch_index) == [0, 0, 0, 1, 1, 1, 2]
    generator.on_epoch_end()
    assert sorted(row_numbers(generator)) == list(range(7))
    assert row_numbers(generator) != first


def test_deterministic_names_the_seed():
    orders = [row_numbers(columns(30, deterministic=d)) for d in (True, 42, np.random.default_rng(42), 1, None, None)]
    assert orders[0] == orders[1] == orders[2]
    assert len({tuple(order) for order in orders}) == 4


def test_without_shuffle_rows_keep_their_order():
    assert row_numbers(columns(shuffle=False, batch_size=2)) == list(range(7))


def test_batches_never_mix_groups():
    ids = table(9).assign(size=list("aabbbabba"))
    for shuffle in (False, True):
        generator = DataGeneratorDisk(
            ids, None, inputs_df="MOS", outputs="MOS", group_by="size", batch_size=2, shuffle=shuffle
        )
        assert sorted(row_numbers(generator)) == list(range(9))
        for _, (y,) in generator:
            assert ids["size"].iloc[y[:, 0].astype(int)].nunique() == 1
        plan = generator.ids_index
        assert (plan.group_by == ids["size"].loc[plan.index]).all()
        assert sorted(plan.groupby("batch_index").size()) == [1, 2, 2, 2, 2]
    generator.fixed_batches = True
    generator.on_epoch_end()
    assert sorted(len(y) for _, (y,) in generator) == [1, 2, 2, 2, 2]


def test_reassigned_batch_size_and_new_rows_hold_from_the_next_plan():
    generator = columns(7, batch_size=7, ids_fn=lambda: table(4))
    generator.batch_size = 3
    assert len(generator) == 1
    generator.on_epoch_end()
    assert [len(y) for _, (y,) in generator] == [3, 1]


def test_columns_as_inputs():
    one = columns(4, inputs_df=["MOS", "half"], shuffle=False)[0][0]
    assert [x.shape for x in one] == [(4, 2)]
    two = columns(4, inputs_df=[["MOS", "half"], ["twice"]], outputs=[["MOS"], ["half"]], shuffle=False)[0]
    assert [x.shape for x in two[0]] == [(4, 2), (4, 1)]
    assert [y.shape for y in two[1]] == [(4, 1), (4, 1)]
    function = columns(4, inputs_df=lambda rows: [rows.MOS + 1, np.zeros((len(rows), 2, 2), "u1")], shuffle=False)
    x1, x2 = function[0][0]
    np.testing.assert_array_equal(x1, [1, 2, 3, 4])
    assert (x2.shape, x2.dtype) == ((4, 2, 2), np.uint8)


def test_pictures_from_disk(folder):
    generator = DataGeneratorDisk(table(5), folder, inputs=["name"], batch_size=3, shuffle=False)
    (x,), y = generator[1]
    assert (x.shape, x.dtype, y) == ((2, 4, 6, 3), np.float32, [])
    np.testing.assert_array_equal(x[:, 0, 0, 0], [3, 4])
    generator.input_shape = (8, 12, 3)
    assert generator[0][0][0].shape == (3, 8, 12, 3)
    for unchanged in (("orig",), (None, None, 3)):
        generator.input_shape = unchanged
        assert generator[0][0][0].shape == (3, 4, 6, 3)


def test_read_fn_process_fn_and_its_arguments(folder):
    def read(name, generator):
        return np.full((2, 2), generator.batch_size, np.uint8)

    def process(picture, mos, half):
        return [picture, picture[0] + np.float32(mos + half)]

    args = {"inputs": "name", "batch_size": 2, "shuffle": False, "read_fn": read, "process_fn": process}
    for process_args in (["MOS", "half"], {"name": ["MOS", "half"]}):
        x1, x2 = DataGeneratorDisk(table(3), folder, process_args=process_args, **args)[0][0]
        assert (x1.shape, x1.dtype) == ((2, 2, 2), np.uint8)
        np.testing.assert_array_equal(x2, [[2, 2], [3.5, 3.5]])


def test_groups(folder):
    args = {"inputs": "name", "batch_size": 4, "shuffle": False, "process_fn": number}
    a, b = DataGeneratorDisk(table(4), folder, group_names=["a", "b"], **args)[0][0]
    np.testing.assert_array_equal(np.hstack([a, b]), [[10, 20], [11, 21], [12, 22], [13, 23]])

    generator = DataGeneratorDisk(table(4), folder, group_names=[["a"], ["b"]], deterministic=True, **args)
    drawn = []
    for _ in range(20):
        (x,) = generator[0][0]
        drawn.append(int(x[0, 0]))
        np.testing.assert_array_equal(x[:, 0], drawn[-1] + np.arange(4))
        generator.on_epoch_end()
    assert set(drawn) == {10, 20}


def test_random_group_draws_for_each_picture_but_once_an_epoch(folder):
    generator = DataGeneratorDisk(
        table(7), folder, inputs="name", random_group=True, shuffle=False, process_fn=number, deterministic=3
    )
    (x,) = generator[0][0]
    assert {int(v) for v in x[:, 0] - np.arange(7)} == {10, 20}
    np.testing.assert_array_equal(generator[0][0][0], x)


def test_arrays_from_hdf5(h5_file):
    args = {"inputs": "name", "outputs": "MOS", "batch_size": 3, "shuffle": False}
    generator = DataGeneratorHDF5(table(7), h5_file, group_names=["a", "b"], **args)
    a, b = generator[2][0]
    assert (a.shape, a.dtype) == ((1, 2, 3), np.uint8)
    assert (a[0, 0, 0], b[0, 0, 0]) == (16, 26)
    generator.close()
    assert generator[0][0][0][2, 0, 0] == 12
    by_path = table(7).assign(name=lambda t: "b/" + t.name)
    assert DataGeneratorHDF5(by_path, h5_file, **args)[0][0][0][1, 0, 0] == 21
    drawn = DataGeneratorHDF5(table(7), h5_file, random_group=True, **args | {"batch_size": 7})[0][0][0]
    assert set(drawn[:, 0, 0] - np.arange(7)) <= {10, 20}


@pytest.fixture(params=[DataGeneratorDisk, DataGeneratorHDF5])
def make(request, tmp_path):
    """Generators of a folder or of a file: grey k as k.png, 10 + k of 4 x 6 in `a`, 20 + k of 2 x 3 in `b`, 30 + k in
    `b/x` and 40 + k in `b/y`, which lacks 0.png.
    """
    pictures = {
        f"{group}{k}.png": np.full((*shape, 3), grey + k, np.uint8)
        for group, grey, shape in [
            ("", 0, (4, 6)),
            ("a/", 10, (4, 6)),
            ("b/", 20, (2, 3)),
            ("b/x/", 30, (2, 3)),
            ("b/y/", 40, (2, 3)),
        ]
        for k in range(10)
        if (group, k) != ("b/y/", 0)
    }
    if request.param is DataGeneratorDisk:
        for name, picture in pictures.items():
            write_image(picture, tmp_path / name)
        path = tmp_path
    else:
        path = tmp_path / "arrays.h5"
        with H5Helper(path, "w") as h5:
            for name, picture in pictures.items():
                h5.write_data([picture], [name])

    def make(ids=None, data_path=path, **args):
        return request.param(table(10) if ids is None else ids, data_path, **{"shuffle": False, **args})

    return make


@pytest.mark.parametrize("data_path", [None, ""])
def test_without_pictures_no_data_path_is_needed(make, data_path):
    x, y = make(data_path=data_path, inputs_df=[["MOS"], ["half"]], outputs="twice", batch_size=4)[2]
    assert [part.tolist() for part in (*x, *y)] == [[[8], [9]], [[4], [4.5]], [[16], [18]]]


@pytest.mark.parametrize(("batch_size", "sizes"), [(3, [1, 1, 2, 3, 3]), (4, [2, 4, 4]), (5, [2, 4, 4])])
@pytest.mark.parametrize("shuffle", [False, True])
def test_fixed_batches_keep_the_last_batch_of_each_group(make, batch_size, sizes, shuffle):
    ids = table(10).assign(group=list("aabbabbcca"))
    generator = make(
        ids, inputs="name", outputs="MOS", group_by="group", fixed_batches=True, batch_size=batch_size, shuffle=shuffle
    )
    assert len(generator) == len(sizes)
    assert sorted(len(y) for _, (y,) in generator) == sizes
    assert sorted(row_numbers(generator)) == list(range(10))
    assert generator.ids_index.groupby("batch_index").group_by.nunique().eq(1).all()


def test_each_group_is_an_input_of_its_own_size(make):
    for group_names in (["a/", "b/"], ["a", "b"]):
        (a, b), _ = make(inputs="name", group_names=group_names, batch_size=4)[1]
        assert (a.shape, b.shape) == ((4, 4, 6, 3), (4, 2, 3, 3))
        assert (a[:, 0, 0, 0].tolist(), b[:, 0, 0, 0].tolist()) == ([14, 15, 16, 17], [24, 25, 26, 27])


def test_random_group_reads_from_any_group_inside(make):
    """And of those inside, from one that holds the picture."""
    generator = make(inputs="name", group_names=["b/"], random_group=True, batch_size=10, deterministic=1)
    drawn = set()
    for _ in range(8):
        (x,), _ = generator[0]
        np.testing.assert_array_equal(x, generator[0][0][0])
        tens, rows = np.divmod(x[:, 0, 0, 0].astype(int), 10)
        assert rows.tolist() == list(range(10))
        assert tens[0] == 3
        drawn |= set(tens.tolist())
        assert len(set(tens.tolist())) > 1
        generator.on_epoch_end()
    assert drawn == {3, 4}


def test_random_group_of_several_groups_gives_an_input_each_and_of_none_takes_those_at_the_top(make):
    def read(path, _):
        return np.array([len(path.split("/")), "xy".find(path.split("/")[-2])])

    generator = make(inputs="name", group_names=["b", "b/"], random_group=True, read_fn=read)
    first, second = generator[0][0]
    assert first[:, 0].tolist() == second[:, 0].tolist() == [3] * 10
    assert first[:, 1].tolist() != second[:, 1].tolist()
    (x,), _ = make(inputs="name", random_group=True, read_fn=lambda path, _: np.array("ab".index(path.split("/")[0])))[
        0
    ]
    assert set(x.tolist()) == {0, 1}


def test_random_group_says_where_nothing_can_be_drawn(make):
    with pytest.raises(ValueError, match=r"groups to draw from, inside 'a'\. Received: none there"):
        make(inputs="name", group_names="a", random_group=True)[0]
    with pytest.raises((ValueError, OSError), match=r"groups in .*Received: 'none'|none"):
        make(inputs="name", group_names="none", random_group=True)[0]


@pytest.mark.parametrize("name", ["outputs", "inputs_df", "group_names"])
def test_a_list_of_names_and_lists_fails_at_the_first_batch(make, name):
    args = {"inputs": "name", "outputs": "MOS", name: ["MOS", ["MOS"]]}
    generator = make(**args)
    message = rf"^{name} should be a list of names, or a list of lists .* Received: {name}=\['MOS', \['MOS'\]\]$"
    with pytest.raises(AssertionError, match=message):
        generator[0]


def test_what_a_function_returns_is_handed_on_as_it_is(make):
    seen = []

    def odd(rows):
        seen.append(rows[rows.MOS % 2 == 1][["half"]].to_numpy())
        return seen[-1]

    x, y = make(inputs_df=odd, outputs=odd, batch_size=4)[1]
    assert x is seen[0]
    assert y is seen[1]
    assert y.tolist() == [[2.5], [3.5]]
    assert y.dtype == np.float64
    x, y = make(inputs="name", inputs_df=odd, outputs=lambda rows: [rows.MOS.iloc[:1], 7], batch_size=4)[1]
    assert x[0].shape == (4, 4, 6, 3)
    assert x[1] is seen[2]
    assert y[0].tolist() == [4]
    assert y[1] == 7
    stack = GeneratorStack([make(inputs_df=odd, outputs=odd), make(inputs_df="MOS", outputs="MOS")])
    assert [[part.shape for part in side] for side in stack[0]] == [[(5, 1), (10, 1)]] * 2


def test_cells_that_hold_arrays_are_stacked(make):
    ids = table(10).assign(
        square=[np.full((2, 2), k) for k in range(10)],
        line=[[k, -k, 0] for k in range(10)],
        lines=[(k, 1, 2) for k in range(10)],
    )
    x, y = make(ids, inputs_df="square", outputs=[["line"], ["line", "lines"], ["MOS"]], batch_size=4)[1]
    assert [part.shape for part in (*x, *y)] == [(4, 2, 2), (4, 3), (4, 2, 3), (4, 1)]
    assert {part.dtype for part in (*x, *y)} == {np.dtype(np.float32)}
    np.testing.assert_array_equal(x[0][:, 1, 1], [4, 5, 6, 7])
    np.testing.assert_array_equal(y[1][3], [[7, -7, 0], [7, 1, 2]])


def test_pillow_pictures_go_in_as_a_viewer_shows_them(make):
    palette = Image.fromarray(np.array([[0, 1]], np.uint8)).convert("P")
    palette.putpalette([9, 8, 7, 6, 5, 4])
    deep = Image.fromarray(np.array([[257, 65535]], np.uint16))
    x, _ = make(inputs="name", read_fn=lambda *_: palette, process_fn=lambda picture: [picture, deep])[0]
    assert [part[0].tolist() for part in x] == [[[[9, 8, 7], [6, 5, 4]]], [[[1] * 3, [255] * 3]]]


def test_inputs_may_be_nested(make):
    x, _ = make(table(10).assign(other="1.png"), inputs=[["name"], ["other"]], batch_size=4)[1]
    assert [part[:, 0, 0, 0].tolist() for part in x] == [[4, 5, 6, 7], [1] * 4]


def test_stack_joins_batches():
    stack = GeneratorStack([columns(shuffle=False, batch_size=4), columns(shuffle=False, batch_size=4, outputs="half")])
    x, y = stack[1]
    assert (len(stack), len(x), len(y)) == (2, 2, 2)
    np.testing.assert_array_equal(y[0], 2 * y[1])
    with pytest.raises(ValueError, match=r"Received: lengths=\[2, 7\]"):
        GeneratorStack([columns(batch_size=4), columns(batch_size=1)])


@pytest.mark.parametrize(
    ("args", "message"),
    [
        ({"batch_size": 0}, "batch_size should be positive. Received: batch_size=0"),
        ({"batchsize": 4, "nets": 1}, r"among ids, .*batch_size.* Received: batchsize=4, nets=1"),
        ({"outputs": ["MOS", "SD"]}, r"'name', 'MOS', 'twice', 'half'\]. Received: \['SD'\]"),
        ({"group_by": "size"}, r"Received: \['size'\]"),
        ({"process_args": {"other": "MOS"}}, r"process_args should be by input.* Received: \['other'\]"),
        (
            {"batch_size": 8, "fixed_batches": True},
            "at least one whole batch. Received: batch_size=8, 7 rows",
        ),
        ({"inputs_df": None}, "Received: neither"),
        ({"n": 0}, "ids with 0 rows"),
    ],
)
def test_bad_arguments(args, message):
    with pytest.raises(ValueError, match=message):
        columns(**args)


def test_bad_batches(folder):
    generator = columns(batch_size=4)
    with pytest.raises(IndexError, match="index=2"):
        generator[2]
    with pytest.raises(ValueError, match=r"outputs should be columns of numbers or arrays. Received: \['name'\]"):
        columns(outputs="name")[0]
    mixed = DataGeneratorDisk(table(2), folder, inputs="name", process_fn=lambda x: x[:, : 1 + int(x[0, 0, 0])])
    with pytest.raises(ValueError, match=r"share a shape .*'name' with shapes \[\(4, 1, 3\), \(4, 2, 3\)\]"):
        mixed[0]


@pytest.mark.parametrize(("n_in", "n_out", "workers"), [(1, 1, 2), (1, 2, 1), (2, 1, 1), (2, 2, 2)])
def test_models_take_a_generator(folder, n_in, n_out, workers):
    inputs = [keras.Input((None, None, 3)) for _ in range(n_in)]
    means = [keras.layers.GlobalAveragePooling2D()(x) for x in inputs]
    both = keras.layers.add(means) if n_in > 1 else means[0]
    outputs = [keras.layers.Dense(1, name=f"out{k}")(both) for k in range(n_out)]
    model = keras.Model(inputs if n_in > 1 else inputs[0], outputs if n_out > 1 else outputs[0])
    model.compile("sgd", loss=["mse"] * n_out)
    generator = DataGeneratorDisk(
        table(5),
        folder,
        inputs="name",
        outputs=[["half"], ["half"]][:n_out],
        group_names=["a", "b"][:n_in],
        batch_size=2,
        deterministic=True,
        workers=workers,
        process_fn=lambda picture: picture.astype(np.uint8),
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        history = model.fit(generator, validation_data=generator, epochs=2, shuffle=False, verbose=0)
        loss = model.evaluate(generator, verbose=0)
        predicted = model.predict(generator, verbose=0)
    assert np.isfinite(history.history["val_loss"]).all()
    first = predicted if n_out == 1 else predicted[0]
    assert first.shape == (5, 1)
    alike = [model.predict_on_batch(x if n_in > 1 else x[0]) for x, _ in generator]
    alike = np.concatenate(alike if n_out == 1 else [y[0] for y in alike])
    assert np.isfinite(loss).all()
    assert sorted(alike[:, 0]) == pytest.approx(sorted(first[:, 0]), rel=1e-5)


@pytest.mark.parametrize("target", [lambda odd: odd.to_numpy(), lambda odd: odd, lambda odd: odd.MOS])
def test_models_take_what_functions_return(target):
    """Fewer rows than a batch has, as arrays, tables or columns."""
    model = keras.Sequential([keras.Input((1,)), keras.layers.Dense(1, kernel_initializer="ones")])
    model.compile(keras.optimizers.SGD(0.0), loss="mse")

    def odd(rows):
        return rows.loc[rows.MOS % 2 == 1, ["MOS"]]

    generator = columns(8, inputs_df=odd, outputs=lambda rows: target(odd(rows)), batch_size=4, shuffle=False)
    assert model.evaluate(generator, verbose=0) == pytest.approx(0)
    assert model.predict(generator, verbose=0)[:, 0].tolist() == [1, 3, 5, 7]


def test_threads_do_not_change_what_a_batch_holds(h5_file):
    """Two threads that read one HDF5 file give Keras what one gives, in the same order."""
    model = keras.Sequential([keras.Input((2, 3)), keras.layers.Flatten()])
    args = {"inputs": "name", "random_group": True, "batch_size": 2, "deterministic": 5}
    one, two = (
        model.predict(DataGeneratorHDF5(table(7), h5_file, workers=workers, **args), verbose=0) for workers in (1, 2)
    )
    np.testing.assert_array_equal(one, two)
    assert {round(v) % 10 for v in one[:, 0]} == set(range(7))


def test_models_take_batches_of_several_sizes_and_class_weights(folder):
    """Also where the model names its one input and its one output in lists."""
    ids = table(7).assign(height=[1, 1, 1, 1, 2, 2, 3])
    generator = DataGeneratorDisk(
        ids,
        folder,
        inputs="name",
        outputs="twice",
        group_by="height",
        process_fn=lambda picture, height: picture[:height, : 2 * height],
        process_args="height",
        batch_size=2,
        shuffle=False,
    )
    x = keras.Input((None, None, 3))
    total = keras.layers.Dense(1, use_bias=False, kernel_initializer="ones")
    model = keras.Model([x], [total(keras.layers.GlobalAveragePooling2D()(x))])
    np.testing.assert_array_equal(model.predict(generator, verbose=0)[:, 0], 3 * generator.ids_index.index)
    model.compile(keras.optimizers.SGD(0.0), loss="mse")
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        history = model.fit(generator, class_weight=dict.fromkeys(range(13), 2.0), verbose=0)
    assert history.history["loss"] == pytest.approx([2 * np.mean(np.arange(7) ** 2)])
