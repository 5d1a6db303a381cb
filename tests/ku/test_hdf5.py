"""Named arrays in HDF5 files."""

import numpy as np
import pytest

from ku.hdf5 import H5Helper

pytestmark = pytest.mark.any_backend


@pytest.fixture
def h5_path(tmp_path):
    return tmp_path / "features" / "data.h5"


@pytest.mark.parametrize("memory_mapped", [False, True])
@pytest.mark.parametrize("backing_store", [False, True])
@pytest.mark.parametrize("dtype", ["uint8", "float16", ">f4"])
def test_h5_round_trip(h5_path, memory_mapped, backing_store, dtype):
    data = np.arange(3 * 4 * 5).reshape(3, 4, 5).astype(dtype)
    names = ["b.jpg", "a.jpg", "c.jpg"]
    with H5Helper(h5_path, backing_store=backing_store) as h5:
        h5.write_data(data, names)
        h5.write_data([data + 1, data + 2], names, ["g1", "g2"])
    with H5Helper(h5_path, "r", memory_mapped=memory_mapped, backing_store=backing_store) as h5:
        read = h5.read_data(names)
        assert read.dtype == data.dtype.newbyteorder("=")
        np.testing.assert_array_equal(read, data)
        np.testing.assert_array_equal(h5.read_data(["c.jpg", "g1/b.jpg"]), [data[2], data[0] + 1])
        np.testing.assert_array_equal(h5.read_data(names[:2], ["g2", "g1"]), [data[:2] + 2, data[:2] + 1])
        np.testing.assert_array_equal(h5.read_data("a.jpg"), data[1:2])
        assert h5.group_names == ["g1", "g2"]
        assert sorted(h5.dataset_names) == sorted([*names, *(f"{g}/{n}" for g in ("g1", "g2") for n in names)])


def test_h5_memory_mapping_leaves_chunked_text_and_scalar_datasets_to_h5py(h5_path):
    with H5Helper(h5_path) as h5:
        h5.write_data(np.arange(12.0).reshape(2, 6), ["mapped", "other"])
        h5.hf.create_dataset("packed", data=np.arange(6.0), compression="gzip")
        h5.hf.create_dataset("text", data="five")
        h5.write_data(np.arange(2), ["zero", "one"])
    with H5Helper(h5_path, memory_mapped=True) as h5:
        np.testing.assert_array_equal(h5.read_data(["mapped", "packed"]), [np.arange(6), np.arange(6)])
        assert h5.read_data("text").tolist() == [b"five"]
        assert h5.read_data(["one", "zero"]).tolist() == [1, 0]
        assert isinstance(h5._read("mapped"), np.memmap)
        h5.write_data(np.arange(2), ["two", "three"])
        assert h5.read_data(["three", "zero"]).tolist() == [1, 0]


def test_h5_overwrites_only_when_told(h5_path):
    with H5Helper(h5_path) as h5:
        h5.write_data(np.zeros((2, 3)), ["a", "b"])
    with H5Helper(h5_path) as h5:
        with pytest.raises(ValueError, match=r"overwrite=True.*Received: dataset_names=\['b'\]"):
            h5.write_data(np.ones((2, 3)), ["c", "b"])
        assert h5.dataset_names == ["a", "b"]
        h5.write_data(np.ones((1, 3)), ["c"])
    with H5Helper(h5_path, overwrite=True) as h5:
        h5.write_data(np.full((2, 4), 2), ["c", "b"])
        assert h5.read_data(["b", "c"]).tolist() == [[2] * 4] * 2
        assert h5.read_data("a").tolist() == [[0] * 3]
        with pytest.raises(ValueError, match="distinct"):
            h5.write_data(np.ones((2, 3)), ["d", "d"])
        h5.write_data([np.ones((1, 1))], "x", "group")
        with pytest.raises(ValueError, match="not groups"):
            h5.write_data([[1]], "group")


def test_h5_modes(h5_path):
    with pytest.raises(FileNotFoundError):
        H5Helper(h5_path, "r")
    with H5Helper(h5_path, "w") as h5:
        h5.write_data([[1]], "a")
    with H5Helper(h5_path) as one, H5Helper(h5_path) as two:
        assert one.read_data("a") == two.read_data("a")


def test_h5_errors_name_dataset_and_file(h5_path):
    with H5Helper(h5_path) as h5:
        h5.write_data([np.zeros((2, 3))], ["a", "b"], "g")
        h5.write_data([[1, 2]], ["short"])
        for name in ("g/missing", "g"):
            with pytest.raises(KeyError, match=f"data.h5. Received: name='{name}'"):
                h5.read_data(["g/a", name])
        with pytest.raises(KeyError, match="name='h/a'"):
            h5.read_data("a", group_names=["g", "h"])
        with pytest.raises(ValueError, match=r"shapes \[\(2,\), \(3,\)\]"):
            h5.read_data(["g/a", "short"])
        with pytest.raises(ValueError, match="Received: 3 rows, 2 dataset_names"):
            h5.write_data(np.zeros((3, 1)), ["x", "y"])
        with pytest.raises(ValueError, match=r"one array a group\. Received: 1 arrays"):
            h5.write_data([np.zeros((1, 1))], ["x"], ["g", "h"])


def test_h5_random_group(h5_path):
    with H5Helper(h5_path) as h5:
        h5.write_data([np.full((2, 1), g) for g in range(3)], ["a", "b"], ["g0", "g1", "x/g2"])
        draws = [h5.read_data_random_group(["b", "a"], rng=np.random.default_rng(s)) for s in range(30)]
        assert {tuple(draw.ravel()) for draw in draws} == {(0, 0), (1, 1), (2, 2)}
        again = h5.read_data_random_group(["b", "a"], rng=np.random.default_rng(0))
        np.testing.assert_array_equal(again, draws[0])


def test_h5_summary_stops_at_its_limit(h5_path, capsys):
    with H5Helper(h5_path) as h5:
        h5.write_data(np.zeros((5, 2), np.float32), list("abcde"))
        h5.summary(print_limit=2)
    assert capsys.readouterr().out.splitlines()[1:] == [
        "  a: float32(2,)",
        "  b: float32(2,)",
        "  and 3 more",
    ]
