import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace

import h5py
import numpy as np
import pandas as pd
import pytest
from commands import ended
from PIL import Image
from tiny import TINY

from koniq.data import datasets
from koniq.ground import InputError
from koniq.network import KONCEPT512
from koniq.pictures import decoding, memory
from koniq.pictures import prepared as pictures_prepared
from koniq.pictures import whole as whole_pictures
from koniq.pictures.memory import Pictures
from koniq.pictures.prepared import Prepared, prepared_path

ROOT = Path(__file__).resolve().parents[2]
SIZE = ("--input-size", "24", "32")


@pytest.fixture
def mine(tmp_path):
    """A table of seven small pictures of several sizes, one in a folder of its own."""
    rng = np.random.default_rng(0)
    names = [*(f"{n}.png" for n in range(6)), "within/6.png"]
    for number, name in enumerate(names):
        path = tmp_path / "images" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(rng.integers(0, 255, (30 + number, 40, 3), np.uint8)).save(path)
    sets = ["training"] * 4 + ["validation", "test", "test"]
    pd.DataFrame({"image_name": names, "MOS": range(7), "set": sets}).to_csv(tmp_path / "mine.csv", index=False)
    return tmp_path / "mine.csv"


@pytest.fixture
def prepared(mine):
    data = datasets.load(str(mine))
    path = prepared_path(data.folder, TINY)
    pictures_prepared.prepare(data, TINY, path)
    return data, path


def test_the_file_holds_what_the_network_takes_and_what_it_was_made_from(prepared):
    data, path = prepared
    assert path == data.folder.parent / "images-24x32-lanczos.h5"
    made = Prepared(path)
    assert sorted(made.places) == sorted(data.ids.image_name)
    for row in data.ids.itertuples():
        np.testing.assert_array_equal(made[row.image_name], decoding.decode(row.image_path, TINY).pixels)
    with h5py.File(path) as file:
        assert dict(file.attrs) | {"input_size": [24, 32]} == {
            "version": 1,
            **{"rules": "2", "fit": "squash"},
            "input_size": [24, 32],
            "resize": "lanczos",
            "name": "mine",
            "source": str(data.folder),
            "sources": pictures_prepared._fingerprint(data.ids),
        }
        assert (file["0.png"].dtype, file["0.png"].chunks, file["0.png"].compression) == (np.uint8, (24, 32, 3), None)
    assert sorted(found.name for found in path.parent.iterdir() if "lock" not in found.name) == [
        "images",
        "images-24x32-lanczos.h5",
        "mine.csv",
    ]


@pytest.mark.parametrize("memory_mapped", [False, True])
def test_the_generators_of_ku_read_it(prepared, memory_mapped):
    from ku.generators import DataGeneratorHDF5

    data, path = prepared
    generator = DataGeneratorHDF5(
        data.ids, path, memory_mapped=memory_mapped, inputs="image_name", outputs="MOS", batch_size=4, shuffle=False
    )
    (batch,), (mos,) = generator[1]
    made = Prepared(path)
    assert batch.dtype == np.uint8
    np.testing.assert_array_equal(batch, np.stack([made[name] for name in data.ids.image_name[4:]]))
    assert mos.ravel().tolist() == [4, 5, 6]
    generator.close()


def test_pytorch_reads_it_and_another_process_may(prepared):
    torch = pytest.importorskip("torch")
    data, path = prepared
    made = Prepared(path)
    made["0.png"]
    assert len(pickle.dumps(made)) < 2000  # places, not pictures
    from koniq.training.in_torch_feed import Batches, fed, feed
    from koniq.training.in_torch_processes import Group

    rows = data.ids.assign(flip=data.ids.image_name == "within/6.png")
    group = Group(0, 1, torch.device("cpu"))
    source = feed(pickle.loads(pickle.dumps(made)), rows.image_name, group.device, 2)
    batches = list(fed(Batches(rows, 4, group), source))
    assert [tuple(batch.shape) for batch, _ in batches] == [(4, 24, 32, 3), (3, 24, 32, 3)]
    assert batches[0][0].dtype == torch.uint8
    np.testing.assert_array_equal(batches[1][0][2].numpy(), made["within/6.png"][:, ::-1])
    assert batches[1][1].tolist() == [4, 5, 6]


def test_training_takes_it_without_decoding_and_mapped_so_that_processes_share_it(prepared, tmp_path, monkeypatch):
    data, path = prepared
    decoded = Pictures(data.ids, TINY, tmp_path / "run")
    monkeypatch.setattr(whole_pictures, "decode", None)
    kept = Pictures(data.ids, TINY, tmp_path / "run", prepared=path)
    assert not kept.pixels.size
    for name in data.ids.image_name:
        np.testing.assert_array_equal(kept[name], decoded[name])
    assert not (tmp_path / "run").exists()


def test_a_training_run_finds_it_by_itself(prepared, tmp_path, capsys):
    from koniq.training import in_keras
    from koniq.training.run import Run

    data, path = prepared
    chosen = SimpleNamespace(loss="mse", batch_size=2, patience=1, workers=1, statistics="moving")
    helper, trained_on = in_keras.helper(Run(str(tmp_path / "run"), {}), TINY.build(), TINY, data, chosen)
    assert trained_on is data
    assert f"Pictures: from {path}" in capsys.readouterr().out
    (batch,), _ = helper.make_generator(data.part("validation"), shuffle=False)[0]
    np.testing.assert_array_equal(batch[0], Prepared(path)["4.png"])


def test_a_file_of_other_rules_or_another_fit_is_stale_and_one_of_before_is_of_the_first(prepared):
    data, path = prepared
    made = Prepared(path)
    assert made.facts["rules"] == "2"
    assert made.unfit(data.ids, TINY.at(rules="1")) == "its rules is 2, not 1"
    assert made.unfit(data.ids, TINY.at(fit="pad")) == "its fit is squash, not pad"
    assert prepared_path(Path("photos"), TINY.at(fit="pad")) == Path("photos-24x32-lanczos-pad.h5")
    del made.facts["rules"], made.facts["fit"]
    assert made.unfit(data.ids, TINY) == "its rules is 1, not 2"
    assert made.unfit(data.ids, TINY.at(rules="1")) == ""
    assert made.unfit(data.ids, TINY.at(dct_scaling=True, rules="1")) == ""


def test_a_stale_file_is_noticed_and_not_used(prepared, tmp_path, capsys):
    data, path = prepared
    made = Prepared(path)
    assert made.unfit(data.ids, TINY) == ""
    assert made.unfit(data.ids.head(3), TINY) == ""  # a part of the table
    assert made.unfit(data.ids, TINY.at(resize="box")) == "its resize is lanczos, not box"
    assert made.unfit(data.ids, TINY.at((12, 16))) == "its input_size is [24, 32], not [12, 16]"
    more = pd.concat([data.ids, data.ids.tail(1).assign(image_name="new.png")])
    assert made.unfit(more, TINY) == "it lacks new.png"
    changed = data.ids.image_path[2]
    Image.new("RGB", (40, 30)).save(changed)
    assert made.unfit(data.ids, TINY) == f"{changed} is another file than the one it was made from"
    kept = Pictures(data.ids, TINY, tmp_path / "run", prepared=path)
    assert f"{path} is stale ({changed} is another file" in capsys.readouterr().out
    assert kept["2.png"].max() == 0


def replaced(path, value):
    """Another picture in place of that at `path`, of as many bytes, a second later."""
    was = path.stat()
    size = Image.open(path).size
    Image.new("RGB", size, (value,) * 3).save(path, "BMP")
    os.utime(path, ns=(was.st_atime_ns, was.st_mtime_ns + 10**9))
    assert path.stat().st_size == was.st_size


@pytest.fixture
def bitmaps(mine):
    """The same table, its pictures uncompressed, so that another one has as many bytes."""
    for path in (mine.parent / "images").rglob("*.png"):
        Image.open(path).save(path, "BMP")
    return datasets.load(str(mine)), mine.parent / "bitmaps.h5"


def test_a_picture_replaced_by_one_of_equal_size_is_noticed(bitmaps, tmp_path, capsys):
    data, path = bitmaps
    pictures_prepared.prepare(data, TINY, path)
    changed = data.ids.image_path[2]
    os.utime(changed, ns=(0, 5 * 10**18))  # another time, the same content: as after a copy
    os.utime(data.ids.image_path[3], ns=(0, 0))
    assert Prepared(path).unfit(data.ids, TINY) == ""
    replaced(changed, 0)
    assert Prepared(path).unfit(data.ids, TINY) == f"{changed} is another file than the one it was made from"
    assert Pictures(data.ids, TINY, tmp_path / "run", prepared=path)["2.png"].max() == 0
    assert "is stale" in capsys.readouterr().out
    pictures_prepared.prepare(data, TINY, path)
    assert Prepared(path).unfit(data.ids, TINY) == ""
    assert Prepared(path)["2.png"].max() == 0


def test_a_file_that_can_no_longer_be_read_is_another_one(bitmaps, monkeypatch):
    data, path = bitmaps
    pictures_prepared.prepare(data, TINY, path)
    os.utime(data.ids.image_path[2], ns=(0, 0))

    def refused(path):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(pictures_prepared, "content_hash", refused)
    assert "2.png is another file" in Prepared(path).unfit(data.ids, TINY)


def test_one_replaced_while_preparation_was_stopped_is_read_again(bitmaps):
    data, path = bitmaps
    pictures_prepared.prepare(data, TINY, path)
    part = path.with_name(f".{path.name}.part")
    path.replace(part)  # as if it had been stopped just before its end
    np.array([pictures_prepared._sum(Prepared(part)[name]) for name in data.ids.image_name], np.uint32).tofile(
        part.with_suffix(".sums")
    )
    replaced(data.ids.image_path[1], 9)
    pictures_prepared.prepare(data, TINY, path)
    assert np.unique(Prepared(path)["1.png"]).tolist() == [9]
    assert Prepared(path).unfit(data.ids, TINY) == ""


def test_a_file_from_before_hashes_is_checked_as_it_was(bitmaps):
    data, path = bitmaps
    pictures_prepared.prepare(data, TINY, path)
    with h5py.File(path, "r+") as file:
        del file[pictures_prepared.HASHES]
        for name in data.ids.image_name:
            del file[name].attrs["source_time"], file[name].attrs["source_row"]
    made = Prepared(path)
    replaced(data.ids.image_path[1], 9)
    assert made.unfit(data.ids, TINY) == ""
    data.ids.image_path[1].write_bytes(b"shorter")
    assert "is another file" in made.unfit(data.ids, TINY)
    part = path.with_name(f".{path.name}.part")
    path.replace(part)  # and what was stopped then is gone on with
    np.zeros(len(data.ids), np.uint32).tofile(part.with_suffix(".sums"))
    Image.new("RGB", (40, 31)).save(data.ids.image_path[1], "BMP")
    pictures_prepared.prepare(data, TINY, path)
    assert Prepared(path).hash_places == {}
    np.testing.assert_array_equal(Prepared(path)["0.png"], decoding.decode(data.ids.image_path[0], TINY).pixels)


@pytest.fixture
def broken(mine):
    """The same table, two of whose pictures do not open: one to train and one to validate with."""
    whole = (mine.parent / "images/1.png").read_bytes()
    (mine.parent / "images/1.png").write_bytes(whole[: len(whole) // 2])
    (mine.parent / "images/3.png").write_text("no picture")
    return mine


def test_all_that_do_not_open_are_named_at_once_or_left_out_and_counted(broken, tmp_path, capsys):
    assert ended("prepare", broken, *SIZE) == 2
    said = capsys.readouterr().err
    assert "Received: 2 of 7 that are not, 1.png (truncated: " in said
    assert "3.png (unreadable: not a picture in a format of photographs). Replace them" in said
    assert "python -m koniq check" in said
    assert ended("prepare", broken, "--skip-missing", *SIZE) == 0
    said = capsys.readouterr().out
    assert "2 of 7 pictures do not open, and are left out: 1.png (truncated: " in said
    path = broken.parent / "images-24x32-lanczos.h5"
    assert f"{path}: 5 pictures" in said
    with h5py.File(path) as file:
        assert "1.png" not in file
        assert "3.png" not in file
    assert ended("prepare", broken, "--skip-missing", *SIZE) == 0
    assert "is there, and up to date" in capsys.readouterr().out
    assert ended("prepare", broken, *SIZE) == 2  # of what may not be left out, all are named again
    said = capsys.readouterr()
    assert "is stale (it lacks 1.png, 3.png)" in said.out
    assert "Received: 2 of 7 that are not" in said.err
    assert len(Prepared(path)) == 5


@pytest.mark.parametrize("free", [1 << 40, 0])
@pytest.mark.parametrize("is_prepared", [False, True])
def test_training_names_all_or_leaves_them_out(broken, tmp_path, monkeypatch, capsys, free, is_prepared):
    data = datasets.load(str(broken), skip_missing=True)
    path = prepared_path(data.folder, TINY)
    if is_prepared:
        pictures_prepared.prepare(data, TINY, path)
    monkeypatch.setattr(memory, "free_memory", lambda: free)
    with pytest.raises(
        InputError, match=r"Received: 2 of 5 that are not, 1\.png \(trunc.*3\.png \(unr.*--skip-missing"
    ):
        memory.of_training(datasets.load(str(broken)), TINY, tmp_path / "run", 2)
    found, opened = memory.of_training(data, TINY, tmp_path / "run", 2)
    said = capsys.readouterr().out
    assert "2 of 5 pictures do not open, and are left out: 1.png" in said
    assert "is stale" not in said
    assert (f"Pictures: from {path}" in said) == is_prepared
    assert found.broken == ("1.png", "3.png")
    counts = "2 training, 1 validation, 2 test (MOS from 0 to 10)"
    assert found.summary() == f"mine: {counts}; 2 of the table's 7 do not open"
    for name in ("0.png", "2.png", "4.png"):
        np.testing.assert_array_equal(opened[name], decoding.decode(data.folder / name, TINY).pixels)
    Image.new("RGB", (40, 30)).save(data.folder / "3.png")  # mended: it is no longer left out
    assert "3.png" not in memory.of_training(data, TINY, tmp_path / "run", 2)[0].broken
    assert (f"{path} is stale (it lacks 3.png)" in capsys.readouterr().out) == is_prepared


def test_a_run_in_keras_leaves_them_out(broken, tmp_path):
    from koniq.training import in_keras
    from koniq.training.run import Run

    chosen = SimpleNamespace(loss="mse", batch_size=2, patience=1, workers=1, statistics="moving")
    run, model = Run(str(tmp_path / "run"), {}), TINY.build()
    with pytest.raises(InputError, match="Received: 2 of 5 that are not"):
        in_keras.helper(run, model, TINY, datasets.load(str(broken)), chosen)
    helper, data = in_keras.helper(run, model, TINY, datasets.load(str(broken), skip_missing=True), chosen)
    assert data.broken == ("1.png", "3.png")
    assert helper.ids.image_name.tolist() == ["0.png", "2.png", "4.png"]


def test_the_command(mine, capsys):
    path = mine.parent / "images-24x32-lanczos.h5"
    assert ended("prepare", mine, *SIZE) == 0
    assert f"{path}: 7 pictures" in capsys.readouterr().out
    before = path.stat().st_mtime_ns
    assert ended("prepare", mine, *SIZE) == 0
    assert "is there, and up to date" in capsys.readouterr().out
    (mine.parent / "images/3.png").write_text("no picture")
    assert ended("prepare", mine, *SIZE) == 2
    said = capsys.readouterr()
    assert "is stale" in said.out
    assert "Received: 1 of 7 that are not, 3.png (unreadable: not a picture" in said.err
    (mine.parent / "images/3.png").unlink()
    assert ended("prepare", mine, *SIZE) == 2
    assert "Give --skip-missing" in capsys.readouterr().err
    assert ended("prepare", mine, "--skip-missing", *SIZE) == 0
    assert path.stat().st_mtime_ns == before  # what is right is not made again, and was not lost
    path.write_text("no HDF5")
    assert ended("prepare", mine, "--skip-missing", *SIZE) == 2
    assert "should be a file of koniq.pictures.prepared" in capsys.readouterr().err


SLOW = """
import sys, time
sys.path[:0] = [{root!r}, {tests!r}]
from pathlib import Path
from koniq.data import datasets
from koniq.pictures import prepared, whole
from tiny import TINY
decode, count = whole.decode, [0]

def slow(path, network):
    count[0] += 1
    if count[0] > {stop}:
        print("waiting", flush=True)
        time.sleep(20)
    return decode(path, network)

whole.decode = slow
prepared.prepare(datasets.load({table!r}), TINY, Path({out!r}), workers=1)
"""


def test_killed_at_work_it_goes_on_and_ends_with_the_same_bytes(prepared, mine):
    data, whole = prepared
    out = mine.parent / "killed.h5"
    code = SLOW.format(root=str(ROOT), tests=str(ROOT / "tests/helpers"), stop=4, table=str(mine), out=str(out))
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "waiting\n"
    with pytest.raises(InputError, match=r"Another process is preparing .*killed.h5; wait for it"):
        pictures_prepared.prepare(data, TINY, out)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert not out.exists()
    decoded = []

    def decode(path, network):
        decoded.append(path.name)
        return decoding.decode(path, network)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(whole_pictures, "decode", decode)
        pictures_prepared.prepare(data, TINY, out)
    assert sorted(decoded) == ["4.png", "5.png", "6.png"]
    made, before = Prepared(out), Prepared(whole)
    for name in data.ids.image_name:
        np.testing.assert_array_equal(made[name], before[name])
    assert not list(mine.parent.glob(".*.part")) + list(mine.parent.glob(".*.sums"))


def test_what_a_stopped_process_left_is_used_only_where_it_is_right(prepared, mine):
    data, _ = prepared
    out, part, sums = (mine.parent / name for name in ("x.h5", ".x.h5.part", ".x.h5.sums"))
    for resize in ("box", "lanczos"):
        network = TINY.at(resize=resize)
        pictures_prepared.prepare(data, network, out)
        out.replace(part)  # as if it had been stopped just before its end
        done = [pictures_prepared._sum(Prepared(part)[name]) for name in data.ids.image_name]
        np.array(done, np.uint32).tofile(sums)
        if resize == "lanczos":
            with part.open("r+b") as file:  # what a power failure leaves of a picture
                file.seek(Prepared(part).places["1.png"])
                file.write(bytes(100))
        pictures_prepared.prepare(data, TINY, out)
        np.testing.assert_array_equal(Prepared(out)["1.png"], decoding.decode(data.ids.image_path[1], TINY).pixels)


def psnr(a, b):
    return 10 * np.log10(255**2 / np.mean((a.astype(float) - b) ** 2))


def test_from_the_full_size_it_is_nearly_the_official_512x384(test_data, tmp_path):
    folder, name = test_data / "koniq10k", "10004473376.jpg"
    made = {}
    for source in ("512x384", "1024x768"):
        data = datasets.load("koniq10k", str(folder / "koniq10k_distributions_sets.csv"), str(folder / source), True)
        pictures_prepared.prepare(data, KONCEPT512, tmp_path / f"{source}.h5")
        made[source] = Prepared(tmp_path / f"{source}.h5")[name]
    np.testing.assert_array_equal(made["512x384"], np.asarray(Image.open(folder / "512x384" / name)))
    assert psnr(made["1024x768"], made["512x384"]) >= 36
    box = decoding.decode(folder / "1024x768" / name, KONCEPT512.at(resize="box")).pixels
    assert psnr(box, made["512x384"]) < 33  # the policy matters
