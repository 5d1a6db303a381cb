import os
import pickle
import signal
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
from commands import ended
from PIL import Image
from tiny import TINY

from koniq import datasets, pictures, prediction, prepare
from koniq.errors import InputError
from koniq.network import KONCEPT512
from koniq.pictures import Pictures, Prepared, prepared_path

ROOT = Path(__file__).resolve().parent.parent
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
    prepare.prepare(data, TINY, path)
    return data, path


def test_the_file_holds_what_the_network_takes_and_what_it_was_made_from(prepared):
    data, path = prepared
    assert path == data.folder.parent / "images-24x32-lanczos.h5"
    made = Prepared(path)
    assert sorted(made.places) == sorted(data.ids.image_name)
    for row in data.ids.itertuples():
        np.testing.assert_array_equal(made[row.image_name], prediction.decode(row.image_path, TINY)[1])
    with h5py.File(path) as file:
        assert dict(file.attrs) | {"input_size": [24, 32]} == {
            "version": 1,
            "input_size": [24, 32],
            "resize": "lanczos",
            "name": "mine",
            "source": str(data.folder),
            "sources": prepare._fingerprint(data.ids),
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
    from koniq.torch_training import Batches, Group

    rows = data.ids.assign(flip=data.ids.image_name == "within/6.png")
    batches = Batches(rows, pickle.loads(pickle.dumps(made)), 4, Group(0, 1, torch.device("cpu")))
    batches = list(torch.utils.data.DataLoader(batches, batch_size=None))
    assert [tuple(batch.shape) for batch, _ in batches] == [(4, 24, 32, 3), (3, 24, 32, 3)]
    assert batches[0][0].dtype == torch.uint8
    np.testing.assert_array_equal(batches[1][0][2].numpy(), made["within/6.png"][:, ::-1])
    assert batches[1][1].tolist() == [4, 5, 6]


@pytest.mark.parametrize("free", [1 << 40, 0])
def test_training_takes_it_without_decoding_and_mapped_where_memory_is_short(prepared, tmp_path, monkeypatch, free):
    data, path = prepared
    decoded = Pictures(data.ids, TINY, tmp_path / "run")
    monkeypatch.setattr(pictures, "free_memory", lambda: free)
    monkeypatch.setattr(pictures, "decode", None)
    kept = Pictures(data.ids, TINY, tmp_path / "run", prepared=path)
    assert kept.in_memory == bool(free)
    for name in data.ids.image_name:
        np.testing.assert_array_equal(kept[name], decoded[name])
    assert not (tmp_path / "run").exists()


def test_a_training_run_finds_it_by_itself(prepared, tmp_path, capsys):
    from koniq import training
    from koniq.run import Run

    data, path = prepared
    helper = training.helper(Run(str(tmp_path / "run"), {}), TINY.build(), TINY, data, "mse", 2, 1, 1)
    assert f"Pictures: from {path}" in capsys.readouterr().out
    (batch,), _ = helper.make_generator(data.part("validation"), shuffle=False)[0]
    np.testing.assert_array_equal(batch[0], Prepared(path)["4.png"])


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


def test_the_command(mine, capsys):
    path = mine.parent / "images-24x32-lanczos.h5"
    assert ended(prepare, mine, *SIZE) == 0
    assert f"{path}: 7 pictures" in capsys.readouterr().out
    before = path.stat().st_mtime_ns
    assert ended(prepare, mine, *SIZE) == 0
    assert "is there, and up to date" in capsys.readouterr().out
    (mine.parent / "images/3.png").write_text("no picture")
    assert ended(prepare, mine, *SIZE) == 2
    said = capsys.readouterr()
    assert "is stale" in said.out
    assert "3.png should be a whole picture. Received: unreadable" in said.err
    (mine.parent / "images/3.png").unlink()
    assert ended(prepare, mine, *SIZE) == 2
    assert "Give --skip-missing" in capsys.readouterr().err
    assert ended(prepare, mine, "--skip-missing", *SIZE) == 0
    assert path.stat().st_mtime_ns == before  # what is right is not made again, and was not lost
    path.write_text("no HDF5")
    assert ended(prepare, mine, "--skip-missing", *SIZE) == 2
    assert "should be a file of koniq.prepare" in capsys.readouterr().err


SLOW = """
import sys, time
sys.path[:0] = [{root!r}, {tests!r}]
from pathlib import Path
from koniq import datasets, pictures, prepare
from tiny import TINY
decode, count = pictures.decode, [0]

def slow(path, network):
    count[0] += 1
    if count[0] > {stop}:
        print("waiting", flush=True)
        time.sleep(20)
    return decode(path, network)

pictures.decode = slow
prepare.prepare(datasets.load({table!r}), TINY, Path({out!r}), workers=1)
"""


def test_killed_at_work_it_goes_on_and_ends_with_the_same_bytes(prepared, mine):
    data, whole = prepared
    out = mine.parent / "killed.h5"
    code = SLOW.format(root=str(ROOT), tests=str(ROOT / "tests"), stop=4, table=str(mine), out=str(out))
    process = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "waiting\n"
    with pytest.raises(InputError, match=r"Another process is preparing .*killed.h5; wait for it"):
        prepare.prepare(data, TINY, out)
    os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    assert not out.exists()
    decoded = []

    def decode(path, network):
        decoded.append(path.name)
        return prediction.decode(path, network)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pictures, "decode", decode)
        prepare.prepare(data, TINY, out)
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
        prepare.prepare(data, network, out)
        out.replace(part)  # as if it had been stopped just before its end
        done = [prepare._sum(Prepared(part)[name]) for name in data.ids.image_name]
        np.array(done, np.uint32).tofile(sums)
        if resize == "lanczos":
            with part.open("r+b") as file:  # what a power failure leaves of a picture
                file.seek(Prepared(part).places["1.png"])
                file.write(bytes(100))
        prepare.prepare(data, TINY, out)
        np.testing.assert_array_equal(Prepared(out)["1.png"], prediction.decode(data.ids.image_path[1], TINY)[1])


def psnr(a, b):
    return 10 * np.log10(255**2 / np.mean((a.astype(float) - b) ** 2))


def test_from_the_full_size_it_is_nearly_the_official_512x384(test_data, tmp_path):
    folder, name = test_data / "koniq10k", "10004473376.jpg"
    made = {}
    for source in ("512x384", "1024x768"):
        data = datasets.load("koniq10k", str(folder / "koniq10k_distributions_sets.csv"), str(folder / source), True)
        prepare.prepare(data, KONCEPT512, tmp_path / f"{source}.h5")
        made[source] = Prepared(tmp_path / f"{source}.h5")[name]
    np.testing.assert_array_equal(made["512x384"], np.asarray(Image.open(folder / "512x384" / name)))
    assert psnr(made["1024x768"], made["512x384"]) >= 36
    box = prediction.decode(folder / "1024x768" / name, KONCEPT512.at(resize="box"))[1]
    assert psnr(box, made["512x384"]) < 33  # the policy matters
