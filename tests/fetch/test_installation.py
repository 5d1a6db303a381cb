import hashlib
import json
import os
import re
import subprocess
import sys
import time
from dataclasses import replace
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory

import h5py
import pandas as pd
import pytest
from made import LIVE_NAMES, koncept512, live_tables, picture, tarred, zipped
from served import PAGE, served

from koniq import engines
from koniq.commands import cli, fetch
from koniq.commands.fetch import Settings
from koniq.data.releases import RELEASES
from koniq.fetch import archives, installation, sources, transfer
from koniq.fetch.installation import ensure
from koniq.fetch.sources import ITEMS, Source
from koniq.ground import InputError, RunStopped
from koniq.network import KONCEPT512

ROOT = Path(__file__).resolve().parents[2]
KONIQ, LIVE, BIQ, KONCEPT = (ITEMS[name] for name in ("koniq10k", "live_itw", "biq2021", "koncept512"))
TABLE, PICTURES = KONIQ.parts
ORIGINAL = KONCEPT.parts[0]


NAMES = ("1.jpg", "2.jpg", "3.jpg")
SMALL = {name: picture((384, 512), seed) for seed, name in enumerate(NAMES)}
LARGE = {name: picture((768, 1024), seed) for seed, name in enumerate(NAMES)}
ZIP = zipped({f"512x384/{name}": content for name, content in SMALL.items()})
TGZ = tarred(
    {f"koniq10k/1024x768/{name}": content for name, content in LARGE.items()}
    | {f"koniq10k/512x384/{name}": content for name, content in SMALL.items()}
    | {"koniq10k/README.txt": b"read me"}
)


@pytest.fixture
def root(tmp_path, monkeypatch):
    """A root with a table of three pictures, and no way to the network but to the loopback."""
    for name in ("http_proxy", "https_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setattr(transfer, "PAUSE", 0.001)
    for name in transfer.OFFLINE:
        monkeypatch.delenv(name, raising=False)
    (tmp_path / "koniq/metadata").mkdir(parents=True)
    table = pd.DataFrame({"image_name": NAMES, "MOS": [10, 20, 30], "set": ["training", "validation", "test"]})
    table.to_csv(tmp_path / TABLE.target, index=False)
    return tmp_path


def settings(root, **changes):
    return Settings(root=str(root), attempts=2, **changes)


def ensured(item, part, root, *urls, **changes):
    ensure(item, replace(part, sources=tuple(Source(url) for url in urls)), settings(root, **changes))


def installed(root):
    folder = root / PICTURES.target
    return {path.name: path.read_bytes() for path in folder.iterdir()} if folder.exists() else None


def left_over(root):
    """Every file and folder that is not meant to be there after a fetch."""
    meant = ("koniq", "koniq/metadata", TABLE.target, "datasets", "datasets/downloads")
    found = {path.relative_to(root).as_posix() for path in root.rglob("*") if not path.name.endswith(".lock")}
    return sorted(found - set(meant) - {"koniq/images"})


@pytest.mark.parametrize("there", [(), NAMES[:1]])
def test_pictures_go_to_the_disk_that_a_link_leads_to(root, there):
    memory = Path("/dev/shm")
    if not memory.is_dir() or memory.stat().st_dev == root.stat().st_dev:
        pytest.skip("there is one file system only")
    with TemporaryDirectory(dir=memory) as disk, served({"a.zip": ZIP}) as server:
        link = root / PICTURES.target
        link.parent.mkdir(parents=True)
        link.symlink_to(Path(disk, "pictures"))
        if there:
            Path(disk, "pictures").mkdir()
            for name in there:
                Path(disk, "pictures", name).write_bytes(SMALL[name])
        ensured(KONIQ, PICTURES, root, server.url("a.zip"))
        assert link.is_symlink()
        assert installed(root) == SMALL
        assert [path.name for path in Path(disk).iterdir()] == ["pictures"]


@pytest.mark.parametrize(
    ("name", "body"), [("koniq10k_512x384.zip", ZIP), ("koniq10k.tgz", TGZ), ("flat.zip", zipped(SMALL))]
)
def test_pictures_are_found_in_whatever_folder_they_lie(root, capsys, name, body):
    with served({name: body}) as server:
        ensured(KONIQ, PICTURES, root, server.url(name, "cut"))
    assert installed(root) == SMALL
    assert "koniq10k is RIGHT" in capsys.readouterr().out
    assert left_over(root) == ["koniq/images/512x384", *(f"koniq/images/512x384/{name}" for name in NAMES)]


def test_what_is_there_and_right_is_not_fetched_again(root, capsys):
    with served({"a.zip": ZIP}) as server:
        ensured(KONIQ, PICTURES, root, server.url("a.zip"))
        ensured(KONIQ, PICTURES, root, server.url("a.zip"))
        assert len(server.requests) == 1
    assert capsys.readouterr().out.count("koniq10k is RIGHT") == 2


def test_mirrors_are_tried_in_their_order_until_one_is_right(root, capsys):
    wrong = {
        "html.zip": PAGE,
        "cut.zip": ZIP[:-30],
        "part.zip": zipped({"512x384/1.jpg": SMALL["1.jpg"]}),
        "broken.zip": zipped(
            {**{f"512x384/{name}": SMALL[name] for name in NAMES[:2]}, "512x384/3.jpg": b"no picture"}
        ),
        "large.zip": zipped(LARGE),
        "evil.zip": zipped({**SMALL, "../../evil.txt": b"evil"}),
        "right.zip": ZIP,
        "never.zip": ZIP,
    }
    with served(wrong) as server:
        urls = [server.url("x.zip", "404"), "http://127.0.0.1:9/x.zip", *(server.url(name) for name in wrong)]
        ensured(KONIQ, PICTURES, root, *urls)
        assert [path for path, _ in server.requests] == ["/404/x.zip", *(f"/well/{name}" for name in list(wrong)[:-1])]
    said = capsys.readouterr().err
    for reason in (
        "answered 404 Not Found",
        "was not reached",
        "sent a web page in place of the file",
        "should be a whole zip or tar archive. Received: File is not a zip file",
        "koniq10k is NOT right: 2 of 3 absent. No other fault",
        "1 unreadable. No other fault",
        "should keep to the folder it is unpacked in",
    ):
        assert reason in said
    assert installed(root) == SMALL
    assert not list(root.rglob("evil.txt"))


def test_when_none_works_the_page_and_the_place_are_named_and_nothing_is_left(root):
    with served({}) as server, pytest.raises(RunStopped) as stopped:
        ensured(
            KONIQ, PICTURES, root, "http://127.0.0.1:9/a.zip", server.url("a.zip", "page"), server.url("a.zip", "503")
        )
    here = f"127.0.0.1:{server.server_port}"
    assert str(stopped.value) == (
        f"koniq10k/pictures could not be fetched: 127.0.0.1:9 was not reached; {here} sent a web page in place of the "
        f"file; {here} answered 503 Service Unavailable, 2 times in a row. Get it by hand at "
        "http://database.mmsp-kn.de/koniq-10k-database.html, put the archive, of whatever kind, in "
        f"{root}/datasets/downloads/koniq10k.zip, and give the same command again."
    )
    assert left_over(root) == []
    with pytest.raises(RunStopped, match=re.escape(f"osf.io/uznf8, put it in {root / ORIGINAL.target}, and give")):
        ensured(KONCEPT, ORIGINAL, root, "http://127.0.0.1:9/a.h5")


@pytest.mark.parametrize("switch", ["KONIQ_OFFLINE", "HF_HUB_OFFLINE", None])
def test_offline_nothing_is_asked_for_and_what_was_put_there_by_hand_serves(root, monkeypatch, switch):
    if switch:
        monkeypatch.setenv(switch, "1")
    with served({"a.zip": ZIP}) as server:
        with pytest.raises(RunStopped, match="the network is not to be used"):
            ensured(KONIQ, PICTURES, root, server.url("a.zip"), offline=not switch)
        (root / "datasets/downloads/koniq10k.zip").write_bytes(TGZ)
        ensured(KONIQ, PICTURES, root, server.url("a.zip"), offline=not switch)
        assert server.requests == []
    assert installed(root) == SMALL
    assert (root / "datasets/downloads/koniq10k.zip").exists()  # a person's own


def test_an_archive_that_lacks_pictures_is_refused_unless_it_is_allowed(root, tmp_path):
    archive = tmp_path / "part.zip"
    archive.write_bytes(zipped({"2.jpg": SMALL["2.jpg"]}))
    with pytest.raises(
        InputError, match=r"2 of 3 absent. No other fault. Give --allow-missing to take it all the same"
    ):
        ensured(KONIQ, PICTURES, root, archive=str(archive))
    assert installed(root) is None
    ensured(KONIQ, PICTURES, root, archive=str(archive), allow_missing=True)
    assert list(installed(root)) == ["2.jpg"]
    archive.write_bytes(zipped({"x.jpg": SMALL["2.jpg"]}))
    with pytest.raises(InputError, match=r"2 of 2 absent. No other fault.$"):
        ensured(KONIQ, PICTURES, root, archive=str(archive), allow_missing=True)


def test_pictures_that_are_there_stay_as_they_are_and_the_others_are_added(root):
    folder = root / PICTURES.target
    folder.mkdir(parents=True)
    own = picture((384, 512), 99)
    (folder / "1.JPG").write_bytes(own)
    with served({"a.zip": ZIP}) as server:
        ensured(KONIQ, PICTURES, root, server.url("a.zip"))
    assert installed(root) == {"1.JPG": own, "2.jpg": SMALL["2.jpg"], "3.jpg": SMALL["3.jpg"]}


def test_a_wrong_picture_in_place_is_named_and_left_to_the_user(root):
    folder = root / PICTURES.target
    folder.mkdir(parents=True)
    for name, content in SMALL.items():
        (folder / name).write_bytes(content)
    (folder / "3.jpg").write_bytes(b"no picture")
    with pytest.raises(RunStopped, match=r"1 unreadable. No other fault. Move what is wrong away"):
        ensured(KONIQ, PICTURES, root, "http://127.0.0.1:9/a.zip")
    assert (folder / "3.jpg").read_bytes() == b"no picture"


def test_pictures_put_there_by_hand_need_only_the_tables(root, tmp_path):
    pictures = {name: picture((500, 500), seed, "BMP") for seed, name in enumerate(LIVE_NAMES[7:])}
    folder = root / LIVE.parts[0].target
    folder.mkdir(parents=True)
    for name, content in pictures.items():
        (folder / name).write_bytes(content)
    (tmp_path / "tables.zip").write_bytes(zipped(live_tables(tmp_path / "made")))
    ensured(LIVE, LIVE.parts[0], root, archive=str(tmp_path / "tables.zip"))
    assert {table.name for table in (root / "koniq/metadata").glob("*.mat")} == {*RELEASES["live_itw"].tables}
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == pictures


def test_an_empty_folder_in_place_and_leftovers_of_a_killed_process(root):
    (root / PICTURES.target).mkdir(parents=True)
    killed = root / "koniq/images/.512x384-fetch-abc.tmp"
    killed.mkdir()
    (killed / "1.jpg").write_bytes(b"half")
    with served({"a.zip": ZIP}) as server:
        ensured(KONIQ, PICTURES, root, server.url("a.zip"))
    assert installed(root) == SMALL
    assert not killed.exists()


def test_a_fetched_archive_is_kept_if_asked_for_and_then_used_again(root):
    with served({"a.zip": ZIP}) as server:
        ensured(KONIQ, PICTURES, root, server.url("a.zip"), keep=True)
        (root / PICTURES.target / "1.jpg").unlink()
        ensured(KONIQ, PICTURES, root, server.url("a.zip"))
        assert len(server.requests) == 1
    assert installed(root) == SMALL


@pytest.mark.parametrize("prefix", ["live_challenge/ChallengeDB_release/", "ChallengeDB_release/", ""])
def test_live_brings_its_tables_and_its_raters_training_pictures(root, prefix, tmp_path, capsys):
    pictures = {name: picture((500, 500), seed, "BMP") for seed, name in enumerate(LIVE_NAMES)}
    tables = live_tables(tmp_path / "made")
    files = {f"{prefix}Data/{name}": content for name, content in tables.items()}
    for name, content in pictures.items():
        files[f"{prefix}Images/{'trainingImages/' if name.startswith('t') else ''}{name}"] = content
    (tmp_path / "live").write_bytes(tarred(files))
    ensured(LIVE, LIVE.parts[0], root, archive=str(tmp_path / "live"))
    assert {path.name: path.read_bytes() for path in (root / LIVE.parts[0].target).iterdir()} == pictures
    assert {path.name: path.read_bytes() for path in (root / "koniq/metadata").glob("*.mat")} == tables
    assert "live_itw is RIGHT" in capsys.readouterr().out


def test_the_notice_of_a_release_goes_where_its_pictures_go(root, tmp_path, capsys):
    files = {f"a/Data/{name}": content for name, content in live_tables(tmp_path / "made").items()}
    files |= {f"a/Images/{name}": picture((500, 500), seed, "BMP") for seed, name in enumerate(LIVE_NAMES)}
    (tmp_path / "live.zip").write_bytes(zipped(files | {"a/README.txt": b"the notice"}))
    ensured(LIVE, LIVE.parts[0], root, archive=str(tmp_path / "live.zip"))
    assert (root / "koniq/metadata/live_itw-README.txt").read_bytes() == b"the notice"
    said = capsys.readouterr().out
    assert LIVE.licence in said
    assert f"the notice lies in {root}/koniq/metadata/live_itw-README.txt" in said


BIQ_NAMES = ("ss01 (1).jpg", "ss02 (2).jpg", "ss03 (3).jpg")


@pytest.fixture
def biq(root, monkeypatch):
    """BIQ2021 as GitHub packs it, of three pictures, one of which is named in another case than in its table."""
    train, test = (
        f"Image Name,MOS,,\n{BIQ_NAMES[0]},0.25,,\n{BIQ_NAMES[1]},0.5,,\n".encode(),
        f"Image Name,MOS\n{BIQ_NAMES[2]},1\n".encode(),
    )
    release = RELEASES["biq2021"]
    hashes = [f"sha256:{hashlib.sha256(table).hexdigest()}" for table in (train, test)]
    monkeypatch.setitem(RELEASES, "biq2021", replace(release, tables=dict(zip(release.tables, hashes, strict=True))))
    names = BIQ_NAMES[0], BIQ_NAMES[1].replace("jpg", "JPG"), BIQ_NAMES[2]
    files = {f"Images/{name}": picture((512, 512), seed) for seed, name in enumerate(names)}
    files |= dict(zip(release.tables, (train, test), strict=True)) | {"Subset-01.png": picture((9, 9), 9)}
    return {f"BIQ2021-62c7/{name}": content for name, content in files.items()}


def content_of(files):
    """What sha256sum prints of the tables and the pictures, hashed: as `archives.content` says it is done."""
    meant = {Path(name).name.lower(): content for name, content in files.items() if "Subset" not in name}
    lines = [f"{hashlib.sha256(content).hexdigest()}  {name}\n" for name, content in sorted(meant.items())]
    return f"sha256:{hashlib.sha256(''.join(lines).encode()).hexdigest()}"


def fetched_by_content(item, root, url, content):
    part = replace(item.parts[0], sources=(Source(url, content=content),))
    ensure(item, part, settings(root))


def test_what_github_packs_is_known_by_its_content(root, biq, capsys):
    whole = zipped(biq)
    with served({"62c7.zip": whole}) as server:
        fetched_by_content(BIQ, root, server.url("62c7.zip", "cut"), content_of(biq))
    folder = root / BIQ.parts[0].target
    assert {path.name for path in folder.iterdir()} == {*BIQ_NAMES}
    assert (folder / BIQ_NAMES[1]).read_bytes() == biq[f"BIQ2021-62c7/Images/{BIQ_NAMES[1][:-3]}JPG"]
    assert {table.name for table in (root / "koniq/metadata").glob("T*.csv")} == {*RELEASES["biq2021"].tables}
    said = capsys.readouterr().out
    assert "biq2021 is RIGHT" in said
    assert "no licence file, so all rights are reserved" in said


@pytest.mark.parametrize(
    ("changed", "content", "reason"),
    [
        (f"Images/{BIQ_NAMES[0]}", picture((512, 512), 99), "should hold tables and pictures of sha256:"),
        ("Test (Images and MOS).csv", b"Image Name,MOS\nss03 (3).jpg,0\n", "should hold the official Test (Images"),
        (f"Images/{BIQ_NAMES[0]}", None, "1 of 3 absent"),
    ],
)
def test_other_content_than_the_release_is_refused_whole(root, biq, changed, content, reason):
    right = content_of(biq)
    if content is None:
        del biq[f"BIQ2021-62c7/{changed}"]
    else:
        biq[f"BIQ2021-62c7/{changed}"] = content
    with served({"62c7.zip": zipped(biq)}) as server, pytest.raises(RunStopped, match=re.escape(reason)):
        fetched_by_content(BIQ, root, server.url("62c7.zip"), right)
    assert left_over(root) == []


def test_the_content_of_files_is_known_whatever_their_case_and_order(tmp_path):
    for name, content in (("b.txt", b"2"), ("A.txt", b"1")):
        (tmp_path / name).write_bytes(content)
    files = [tmp_path / "b.txt", tmp_path / "A.txt"]
    assert archives.content(files) == archives.content(files[::-1]) == content_of({"a.TXT": b"1", "B.txt": b"2"})


def test_live_without_tables_or_with_broken_ones(root, tmp_path):
    (tmp_path / "a.zip").write_bytes(zipped({"Images/1.bmp": picture((500, 500), 1)}))
    with pytest.raises(InputError, match="The tables of LIVE In the Wild should lie in"):
        ensured(LIVE, LIVE.parts[0], root, archive=str(tmp_path / "a.zip"))
    broken = dict.fromkeys(
        (f"Data/{name}" for name in {*RELEASES["live_itw"].tables}), b"no table, and long enough for a header" * 9
    )
    (tmp_path / "a.zip").write_bytes(zipped(broken))
    with pytest.raises(InputError, match="should be those of the release"):
        ensured(LIVE, LIVE.parts[0], root, archive=str(tmp_path / "a.zip"))
    assert left_over(root) == ["a.zip"]


def test_real_pictures_in_both_layouts(root, test_data, tmp_path):
    koniq, live = test_data / "koniq10k", test_data / "live_itw"
    (root / TABLE.target).write_bytes((koniq / "koniq10k_distributions_sets.csv").read_bytes())
    real = {path.relative_to(koniq).as_posix(): path.read_bytes() for path in koniq.glob("*x*/*.jpg")}
    (tmp_path / "a").write_bytes(tarred({f"koniq10k/{name}": content for name, content in real.items()}))
    with pytest.raises(InputError, match=r"10,070 of 10,073 absent. No other fault"):
        ensured(KONIQ, PICTURES, root, archive=str(tmp_path / "a"))
    ensured(KONIQ, PICTURES, root, archive=str(tmp_path / "a"), allow_missing=True)
    assert installed(root) == {Path(name).name: content for name, content in real.items() if name.startswith("512x384")}
    some = [*(live / "Data").iterdir(), *sorted((live / "Images").iterdir())[:20]]
    (tmp_path / "b").write_bytes(zipped({path.relative_to(live).as_posix(): path.read_bytes() for path in some}))
    with pytest.raises(InputError, match="1,149 of 1,169 absent, 7 of which"):
        ensured(LIVE, LIVE.parts[0], root, archive=str(tmp_path / "b"))
    ensured(LIVE, LIVE.parts[0], root, archive=str(tmp_path / "b"), allow_missing=True)
    assert len(list((root / LIVE.parts[0].target).iterdir())) == 20


# Weights and tables


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    return koncept512(tmp_path_factory.mktemp("weights") / "weights.h5")


def test_weights_from_the_first_mirror_that_gives_weights(root, weights):
    with served({"cut.h5": weights[:-100], "right.h5": weights, "table.csv": b"a,b\n1,2\n"}) as server:
        urls = [
            server.url("cut.h5"),
            server.url("table.csv"),
            server.url("x", "page"),
            server.url("right.h5", "redirect"),
        ]
        ensured(KONCEPT, ORIGINAL, root, *urls)
        ensured(KONCEPT, ORIGINAL, root, *urls)
        assert [path for path, _ in server.requests[:3]] == ["/well/cut.h5", "/well/table.csv", "/page/x"]
    assert (root / ORIGINAL.target).read_bytes() == weights
    assert left_over(root) == ["trained_models", "trained_models/fetched_hashes.json", ORIGINAL.target]


@pytest.mark.parametrize("keras3", [False, True])
def test_an_hdf5_file_that_is_not_the_network_is_refused_layer_by_layer(tmp_path, keras3):
    path = tmp_path / "weights.h5"
    koncept512(path, keras3)
    installation.check_file("keras", "", path)
    koncept512(path, keras3, fc_4=((2048, 1000), (1000,)))
    with pytest.raises(InputError) as error:
        installation.check_file("keras", "", path)
    assert "should fit koncept512, and layer 451 of those with weights differs: expected 'fc.4'" in str(error.value)
    assert "(2048, 1024) (1024,). Received: " in str(error.value)
    assert str(error.value).endswith("(2048, 1000) (1000,)")
    koncept512(path, keras3, fc_12=None)
    with pytest.raises(InputError, match=r"expected 'fc.12' \(256, 1\) \(1,\). Received: nothing"):
        installation.check_file("keras", "", path)


def test_an_hdf5_file_of_anything_else_is_refused(tmp_path):
    path = tmp_path / "weights.h5"
    strange = {
        "an array": lambda file: file.create_dataset("layers", (3, 3)),
        "names of nothing": lambda file: file.attrs.update(layer_names=[b"a", b"b"]),
        "an array for a layer": lambda file: (file.create_dataset("a", 3), file.attrs.update(layer_names=[b"a"])),
        "names of no texts": lambda file: (file.create_group("7"), file.attrs.update(layer_names=[7])),
        "a layer with an array for its arrays": lambda file: file.create_dataset("layers/conv2d/vars", (4, 4)),
        "a group": lambda file: file.create_group("model_weights"),
        "another network": lambda file: file.create_dataset("model_weights/fc/kernel", (9, 9)),
    }
    for name, write in strange.items():
        with h5py.File(path, "w") as file:
            write(file)
        with pytest.raises(InputError) as error:
            installation.check_file("keras", "", path)
        assert str(path) in str(error.value), name


def test_a_file_of_pytorch_that_is_not_the_network_is_refused(tmp_path):
    torch = pytest.importorskip("torch")
    pytest.importorskip("safetensors")
    with torch.device("meta"):
        shapes = {key: tensor.shape for key, tensor in KONCEPT512.build_torch().state_dict().items()}
    state = {key: torch.ones(()).expand(shape) for key, shape in shapes.items()}  # which takes no room in the file
    for path in (tmp_path / "right.pth", tmp_path / ".right.pth.part"):  # as it is called before it is in place
        torch.save(state, path)
        installation.check_file("torch", "", path)
    torch.save(state | {"fc.4.weight": torch.ones(1000, 2048)}, path)
    with pytest.raises(InputError, match=r"expected 'fc.4' \(1024, 2048\) \(1024,\). Received: 'fc.4' \(1000, 2048\)"):
        installation.check_file("torch", "", path)


def test_another_file_than_the_one_first_seen_is_told(root, weights, tmp_path, capsys):
    other = koncept512(tmp_path / "other.h5", fill=b"of another training")
    target, hashes = root / ORIGINAL.target, root / "trained_models/fetched_hashes.json"
    with served({"a.h5": weights, "b.h5": other}) as server:
        ensured(KONCEPT, ORIGINAL, root, server.url("a.h5"))
        first = hashes.read_bytes()
        assert json.loads(first) == {target.name: f"sha256:{hashlib.sha256(weights).hexdigest()}"}
        target.write_bytes(other)  # as right, layer by layer
        capsys.readouterr()
        assert engines.decide(target, "keras").about["weights"] == hashlib.sha256(other).hexdigest()
        assert f"{target} is another file than the one that was fetched" in capsys.readouterr().out
        with pytest.raises(RunStopped, match=r"take its line out of .*fetched_hashes.json, and give the command again"):
            ensured(KONCEPT, ORIGINAL, root, server.url("a.h5"))
        assert target.read_bytes() == other
        target.unlink()
        with pytest.raises(
            RunStopped, match=r"sent another file .* \(the file first seen is the one of .*fetched_hashes.json\)"
        ):
            ensured(KONCEPT, ORIGINAL, root, server.url("b.h5"))
        assert not target.exists()
        ensured(KONCEPT, ORIGINAL, root, server.url("b.h5"), server.url("a.h5"))
        assert target.read_bytes() == weights
        assert hashes.read_bytes() == first
        hashes.write_text("{}")
        target.write_bytes(other)
        ensured(KONCEPT, ORIGINAL, root, server.url("a.h5"))  # right, and from now on the one that is known
        assert json.loads(hashes.read_text()) == {target.name: f"sha256:{hashlib.sha256(other).hexdigest()}"}
        hashes.write_text("[1]")
        with pytest.raises(InputError, match=r"fetched_hashes.json should hold the hashes .* Move it away"):
            ensured(KONCEPT, ORIGINAL, root, server.url("a.h5"))


def test_a_table_with_another_hash_is_refused_and_one_in_place_is_not_replaced(root):
    own = (root / TABLE.target).read_bytes()
    with pytest.raises(RunStopped, match=r"should have md5:df51.* Received: md5:.* Move it away"):
        ensure(KONIQ, TABLE, settings(root))
    assert (root / TABLE.target).read_bytes() == own
    (root / TABLE.target).unlink()
    with served({"t.csv": own}) as server:
        part = replace(TABLE, sources=(replace(TABLE.sources[0], url=server.url("t.csv")),))
        with pytest.raises(RunStopped, match="sent another file"):
            ensure(KONIQ, part, settings(root))
    assert left_over(root) == []


def test_what_is_a_whole_weights_file(tmp_path, weights, monkeypatch):
    whole, path = zipped({"data.pkl": b"x" * 100}), tmp_path / "file"
    monkeypatch.setattr(
        installation, "find_spec", lambda name: None
    )  # without PyTorch, the archive is all that is looked at
    for kind, content, right in (
        ("keras", weights, True),
        ("keras", weights[:-1], False),
        ("keras", PAGE, False),
        ("torch", whole, True),
        ("torch", whole.replace(b"xxx", b"xyx"), False),
        ("torch", whole[:-1], False),
    ):
        path.write_bytes(content)
        if right:
            installation.check_file(kind, "", path)
        else:
            with pytest.raises(InputError, match=r"should be a (whole weights file|weights file of Keras)"):
                installation.check_file(kind, "", path)


# The command


def command(root, *arguments):
    environment = os.environ | {"http_proxy": "http://127.0.0.1:9", "https_proxy": "http://127.0.0.1:9"}
    environment |= {"no_proxy": "127.0.0.1", "KERAS_HOME": str(root / "keras")}
    return subprocess.Popen(
        [sys.executable, "-m", "koniq", "fetch", *map(str, arguments), "--root", str(root), "--attempts", "2"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=environment,
    )


def test_two_processes_fetch_once_and_a_killed_one_is_gone_on_with(root, weights):
    name = Path(ORIGINAL.target).name
    with served({name: weights}) as server:
        arguments = (root, "koncept512/original", "--mirror", server.url("", "stall"))
        killed = command(*arguments)
        part = root / ORIGINAL.target.replace(name, f".{name}.part")
        waited = time.monotonic() + 20
        while not (part.exists() and part.stat().st_size >= transfer.BLOCK):
            assert time.monotonic() < waited
            time.sleep(0.02)
        second = command(*arguments)
        assert "Another process is fetching koncept512; waiting for it." in second.stderr.readline()
        killed.kill()
        killed.communicate()
        kept = part.stat().st_size
        assert not (root / ORIGINAL.target).exists()
        third = command(*arguments)
        for process in (second, third):
            _, errors = process.communicate(timeout=30)
            assert process.returncode == 0, errors
        assert server.requests == [(f"/stall/{name}", None), (f"/stall/{name}", f"bytes={kept}-")]
    assert (root / ORIGINAL.target).read_bytes() == weights


def test_every_host_out_of_reach(root):
    (root / TABLE.target).unlink()
    process = command(root, "koniq10k", "imagenet", "koncept512/mse-b8")
    out, errors = process.communicate(timeout=30)
    assert (process.returncode, out) == (1, "")
    assert "Traceback" not in errors
    assert errors.count("Get it by hand at http") == 5
    for place in (TABLE.target, "datasets/downloads/koniq10k.zip", "trained_models/study-mse-b8.h5"):
        assert f"in {root}/{place}, and give the same command again." in errors
    assert f"in {root}/keras/models/inception_resnet_v2_weights_tf_dim_ordering_tf_kernels_notop.h5, and" in errors


def test_the_command_with_the_real_table_from_an_own_mirror_and_an_archive_on_disk(root, test_data):
    folder = test_data / "koniq10k"
    (root / TABLE.target).unlink()
    table = (folder / "koniq10k_distributions_sets.csv").read_bytes()
    archive = root / "mine.dat"
    archive.write_bytes(zipped({path.name: path.read_bytes() for path in (folder / "512x384").iterdir()}))
    with served({Path(TABLE.target).name: table}) as server:
        arguments = (root, "koniq10k", "--mirror", server.url(""), "--archive", archive)
        for extra, code, said in (
            ((), 2, "10,070 of 10,073 absent"),
            (("--allow-missing",), 0, "3 pictures were put in"),
        ):
            process = command(*arguments, *extra)
            out, errors = process.communicate(timeout=30)
            assert process.returncode == code, errors
            assert said in out + errors
    assert (root / TABLE.target).read_bytes() == table
    assert len(installed(root)) == 3


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["koniq"], "should be one of koniq10k, live_itw, biq2021, imagenet, koncept512. Received: 'koniq'"),
        (["imagenet/tf"], "should be one of imagenet/keras, imagenet/pytorch. Received: 'imagenet/tf'"),
        (["koncept512", "--archive", "README.md"], "go with one part, such as koncept512/original"),
        (["live_itw", "--archive", "nowhere.zip"], "archive should be a file"),
        (["live_itw", "--archive", "README.md"], "should be a zip or tar archive. Received: another kind of file"),
        (["koncept512/original", "--archive", "README.md"], "should be a weights file of Keras"),
    ],
)
def test_wrong_arguments_are_one_sentence_and_exit_code_2(root, capsys, arguments, message):
    with pytest.raises(SystemExit) as end:
        cli.run(fetch.main, Settings, [*arguments, "--root", str(root)])
    assert end.value.code == 2
    assert message in capsys.readouterr().err


def test_list_names_every_source_and_what_is_there(root, capsys):
    fetch.main(settings(root, list=True))
    said = capsys.readouterr().out
    for item in ITEMS.values():
        assert item.licence in said
        for part in item.parts:
            assert part.page in said
            assert all(source.url in said for source in part.sources)
    assert f"{root / TABLE.target} (there)" in said
    assert said.count("(not there)") == sum(len(item.parts) for item in ITEMS.values()) - 1


def test_the_records_are_sound(monkeypatch):
    parts = [part for item in ITEMS.values() for part in item.parts]
    for source in (source for part in parts for source in part.sources):
        for digest in (source.digest, source.content):
            assert re.fullmatch(r"(md5:[0-9a-f]{32}|sha256:[0-9a-f]{64})?", digest)
        assert source.content or "/archive/" not in source.url  # which GitHub packs anew, with another hash
        assert "/blob/" not in source.url  # an HTML page
    assert len({part.target for part in parts}) == len(parts)
    monkeypatch.setenv("KERAS_HOME", "/elsewhere")
    assert sources.keras_models() == "/elsewhere/models"


def test_imagenet_is_the_file_that_keras_looks_for():
    part = ITEMS["imagenet"].parts[0]
    (source,) = part.sources
    of_keras = Path(find_spec("keras").origin).parent / "src/applications/inception_resnet_v2.py"
    said = of_keras.read_text().replace('"\n    "', "")
    assert f'file_hash="{source.digest.removeprefix("md5:")}"' in said
    assert f'BASE_WEIGHT_URL = (\n    "{source.url.removesuffix(source.file_name)}"' in said
    assert Path(part.target).name == source.file_name
