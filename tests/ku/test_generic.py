"""Files, correlations, containers, names and downloads of ku.generic."""

import io
import subprocess
import sys
import tarfile
import threading
import warnings
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from ku import generic
from ku.generic import H5Helper, ShortNameBuilder

pytestmark = pytest.mark.any_backend


def test_import_is_cheap():
    code = "import sys, ku.generic; sys.exit(bool({'keras', 'tensorflow', 'torch', 'scipy'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0


# Files


def test_atomic_path_appears_whole_or_not_at_all(tmp_path):
    path = tmp_path / "new" / "net_lr0.1_best.weights.h5"
    with generic.atomic_path(path) as temporary:
        assert temporary.parent == path.parent
        assert temporary.name.endswith(".weights.h5")
        temporary.write_text("whole")
        assert not path.exists()

    def write_half():
        with generic.atomic_path(path) as temporary:
            temporary.write_text("half")
            raise InterruptedError

    with pytest.raises(InterruptedError):
        write_half()
    assert path.read_text() == "whole"
    assert list(path.parent.iterdir()) == [path]


def test_make_dirs(tmp_path):
    generic.make_dirs(tmp_path / "a" / "b.txt")
    generic.make_dirs(f"{tmp_path}/c/d/")
    assert (tmp_path / "a").is_dir()
    assert not (tmp_path / "a" / "b.txt").exists()
    assert (tmp_path / "c" / "d").is_dir()


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


# Numbers


@pytest.mark.parametrize("n", [2, 3, 50])
@pytest.mark.parametrize("scale", [1e-200, 1.0, 1e200])
def test_correlations_agree_with_scipy(n, scale):
    rng = np.random.default_rng(n)
    x = rng.integers(0, 9, n) + np.arange(n) / n
    y = x.round() + rng.integers(0, 4, n)  # with ties
    assert generic.plcc(x * scale, y[:, None]) == pytest.approx(stats.pearsonr(x, y)[0], abs=1e-12)
    assert generic.srocc(x * scale, y) == pytest.approx(stats.spearmanr(x, y)[0], abs=1e-12)
    assert generic.srcc is generic.srocc


@pytest.mark.parametrize("metric", [generic.plcc, generic.srocc])
def test_correlations_of_nothing_are_nan_without_a_warning(metric):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for x in ([0.1, 0.1, 0.1], [1, 2, np.nan]):
            assert np.isnan(metric(x, [1, 2, 4]))
            assert np.isnan(metric([1, 2, 4], x))
        assert np.isnan(metric([1], [2]))
        assert np.isnan(metric([], []))
    with pytest.raises(ValueError, match="Received: sizes 3 and 2"):
        metric([1, 2, 3], [1, 2])


def test_ranges():
    assert generic.minmax(np.array([[3, 1], [2, 9]])) == (1, 9)
    mapped = generic.mapmm(np.array([0, 51, 255], np.uint8), (-1, 1))
    np.testing.assert_allclose(mapped, [-1, -0.6, 1], atol=1e-6)
    assert mapped.dtype == np.float32
    assert generic.mapmm([7, 7]).tolist() == [0, 0]


def test_dist2mos():
    assert generic.dist2mos([0, 0, 0, 1, 1]) == 4.5
    np.testing.assert_allclose(generic.dist2mos([[1, 0, 1], [0, 0, 8]], scale=(0, 50, 100)), [50, 100])
    with pytest.raises(ValueError, match=r"5 columns.*Received: x.shape=\(2,\)"):
        generic.dist2mos([1, 0])


def test_array_overlap_gives_places_of_common_values():
    a, b = np.array(["d", "a", "c", "a"]), np.array(["x", "c", "a"])
    in_a, in_b = generic.array_overlap(a, b)
    assert a[in_a].tolist() == b[in_b].tolist() == ["a", "c"]


@pytest.mark.parametrize(("test_size", "expected"), [(0.2, 2), (0.25, 2), (0.0, 0), (1.0, 10), (1, 1), (10, 10)])
def test_partition_rows_sizes(test_size, expected):
    t = pd.DataFrame({"x": range(10)}, index=range(5, 15))
    parts = generic.partition_rows(t, test_size, set_name="part", set_values=["a", "b"], random_state=1)
    assert (parts.part == "b").sum() == expected
    assert (parts.part == "a").sum() == 10 - expected
    assert parts.x.equals(t.x)
    assert "part" not in t


def test_partition_rows_repeats_and_writes_in_place():
    t = pd.DataFrame({"x": range(40)})
    first, same, other = (generic.partition_rows(t, random_state=seed)["set"] for seed in (3, 3, 4))
    assert first.equals(same)
    assert not first.equals(other)
    assert generic.partition_rows(t, copy=False) is t
    assert set(t["set"]) == {"training", "test"}
    for test_size in (41, -0.1):
        with pytest.raises(ValueError, match=f"Received: test_size={test_size}"):
            generic.partition_rows(t, test_size)


# Containers


def test_force_list_and_tuple():
    assert generic.force_list((1, 2)) == [1, 2]
    assert generic.force_list("ab") == ["ab"]
    assert generic.force_tuple([1, 2]) == (1, 2)
    array = np.zeros(3)
    assert generic.force_tuple(array)[0] is array
    given = [1]
    assert generic.force_list(given) is not given


@pytest.mark.parametrize("count", [0, 5, 6, 7])
def test_chunks_cover_everything_once(count):
    parts = list(generic.chunks(list(range(count)), 3))
    assert [item for part in parts for item in part] == list(range(count))
    assert all(len(part) == 3 for part in parts[:-1])
    assert all(parts)
    with pytest.raises(ValueError, match="Received: n=0"):
        next(generic.chunks([1], 0))


def test_keys_and_updates():
    d = {"a": 1, "b": 2}
    assert generic.updated_dict(d, b=3, c=4) == {"a": 1, "b": 3}
    assert generic.updated_dict(d, only_existing=False, c=4) == {"a": 1, "b": 2, "c": 4}
    assert d == {"a": 1, "b": 2}
    generic.check_keys_exist({"a": 5}, d)
    with pytest.raises(ValueError, match=r"among a, b\. Received: c, e$"):
        generic.check_keys_exist({"c": 1, "a": 1, "e": 2}, d)


def test_update_config_sets_all_or_nothing():
    class Config:
        kind = "small"

        def __init__(self):
            self.size = 1

    config, items = Config(), {"size": 1, "kind": "small"}
    for target in (config, items):
        generic.update_config(target, size=2, kind="large")
        with pytest.raises(ValueError, match="Received: colour"):
            generic.update_config(target, size=3, colour="red")
    assert (config.size, config.kind) == (2, "large")
    assert items == {"size": 2, "kind": "large"}


def test_get_sizes(capsys):
    x = ([np.zeros((2, 224, 224, 3))], [np.zeros((2, 1))])
    assert generic.get_sizes(x) == "([array<2,224,224,3>], [array<2,1>])"
    assert generic.get_sizes(["a", 1, {}, np.float32(3), ()], "x") == "[<1>, <1>, <1>, <1>, ()]"
    generic.print_sizes([np.zeros(3)])
    assert capsys.readouterr().out == "[array<3>]\n"


# Names


def test_names_carry_sorted_parts():
    name = ShortNameBuilder("koncept", loss="mse", bsz=8)
    assert name() == "koncept_bsz8_lossmse"
    assert name(lr=1e-4, bsz=4) == "koncept_bsz4_lossmse_lr0.0001"
    assert dict(name) == {"loss": "mse", "bsz": 8}
    name.update(loss=test_names_carry_sorted_parts)
    assert name.subset(["loss"])() == "koncept_losstest_names_carry_sorted_parts"
    assert ShortNameBuilder(sep=("=", ","), a=(1, [2, "x"]), b=None)() == "a=1,2,x,b=None"
    with pytest.raises(ValueError, match="Received: missing"):
        name.subset("missing")


def test_long_values_stay_distinct_and_short():
    name = ShortNameBuilder(max_len=20)
    texts = {name(a="x" * n) for n in (19, 20, 21, 22)}
    assert len(texts) == 4
    assert {len(text) for text in texts} == {20, 21}  # the key and up to 20
    assert len(ShortNameBuilder("p", **{f"key{i}": "é" * 16 for i in range(40)})().encode()) <= 200


@pytest.mark.parametrize("value", ['a/b\\c:d*e?f"g<h>i|j', "line\nbreak\x00", "dot.", "space ", "../..", object(), "ü"])
def test_names_are_legal_everywhere(tmp_path, value):
    name = ShortNameBuilder("", v=value)()
    assert not set(name) & set('/\\:*?"<>|\n\x00')
    assert name[-1] not in ". "
    assert "0x" not in name
    (tmp_path / name).write_text("")
    assert [path.name for path in tmp_path.iterdir()] == [name]


def test_device_names_are_avoided():
    assert ShortNameBuilder("con")() == "_con"
    assert ShortNameBuilder("Nul.x")() == "_Nul.x"
    assert ShortNameBuilder("concept")() == "concept"


# The console


def test_pretty_print(capsys):
    generic.pretty({"a": 1, "b": {"c": "x" * 100}}, key_sep=" =")
    assert capsys.readouterr().out.splitlines() == ["a = 1", "b =", "  c = " + "x" * 77 + "..."]
    generic.pretty_print({"c": "x" * 100}, trim=False)
    assert "x" * 100 in capsys.readouterr().out


@pytest.mark.parametrize(("answer", "expected"), [("y", True), (" Yes ", True), ("", False), ("no", False)])
def test_raw_confirm(monkeypatch, answer, expected):
    monkeypatch.setattr("builtins.input", lambda prompt: answer)
    assert generic.raw_confirm("Delete?") is expected


def test_show_progress(capsys):
    for i in range(3):
        generic.show_progress(i, 2, "read", length=4, fill="#")
    lines = capsys.readouterr().out.split("\r")[1:]
    assert lines == ["read |----| 0.0% ", "read |##--| 50.0% ", "read |####| 100.0% \n"]


def test_timer(capsys):
    with generic.Timer("decode") as timer:
        threading.Event().wait(0.02)
    assert 0.02 <= timer.elapsed < 2
    assert capsys.readouterr().out == f"decode: {timer.elapsed:.3f} s\n"


# Downloads


def make_archive(path, members: dict[str, bytes]):
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as file:
            for name, data in members.items():
                file.writestr(name, data)
    else:
        with tarfile.open(path, f"w:{path.suffix.lstrip('.').replace('tgz', 'gz').replace('tar', '')}") as file:
            for name, data in members.items():
                member = tarfile.TarInfo(name)
                member.size = len(data)
                file.addfile(member, io.BytesIO(data))


class Handler(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def send_header(self, keyword, value):
        short = keyword == "Content-Length" and "short" in self.path
        super().send_header(keyword, str(int(value) + 1) if short else value)


@pytest.fixture
def server(tmp_path):
    """A folder, and the address under which its files are served."""
    folder = tmp_path / "served"
    folder.mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=folder)) as http:
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield folder, f"http://127.0.0.1:{http.server_port}"
        http.shutdown()
        thread.join()


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz", "a.tgz", "a.tar.xz", "a%20b.zip?download=1"])
def test_download_archive(server, tmp_path, name):
    folder, url = server
    make_archive(folder / name.replace("%20", " ").removesuffix("?download=1"), {"in/x.txt": b"x", "y.txt": b"y"})
    data = generic.download_archive(f"{url}/{name}", tmp_path / "data")
    assert sorted(str(p.relative_to(data)) for p in data.rglob("*") if p.is_file()) == ["in/x.txt", "y.txt"]
    assert (data / "in" / "x.txt").read_bytes() == b"x"


def test_download_archive_keeps_and_uses_its_cache(server, tmp_path):
    folder, url = server
    make_archive(folder / "served", {"x": b"1"})
    download = partial(generic.download_archive, f"{url}/served", cache_root=tmp_path / "cache", archive_type="tar")
    download(tmp_path / "one", delete_archive=False)
    (folder / "served").unlink()
    assert (download(tmp_path / "two") / "x").read_bytes() == b"1"
    assert not list((tmp_path / "cache").iterdir())
    with pytest.raises(OSError, match="404"):
        download(tmp_path / "three")


@pytest.mark.parametrize("name", ["a.zip", "a.tar"])
def test_download_archive_refuses_to_leave_its_folder(server, tmp_path, name):
    folder, url = server
    make_archive(folder / name, {"../escaped.txt": b"x"})
    with pytest.raises(ValueError, match=r"Received: member='\.\./escaped\.txt'"):
        generic.download_archive(f"{url}/{name}", tmp_path / "data")
    assert not (tmp_path / "escaped.txt").exists()


def test_download_archive_refuses_what_is_short_or_no_archive(server, tmp_path):
    folder, url = server
    make_archive(folder / "short.zip", {"x": b"1"})
    (folder / "page.zip").write_text("<html>sorry</html>")
    with pytest.raises(OSError, match="should have"):
        generic.download_archive(f"{url}/short.zip", tmp_path / "data")
    with pytest.raises(ValueError, match="should lead to a zip or tar archive"):
        generic.download_archive(f"{url}/page.zip", tmp_path / "data")
    assert not list((tmp_path / "data").iterdir())
    with pytest.raises(ValueError, match="archive_type=None"):
        generic.download_archive(f"{url}/page.html", tmp_path / "data")
