"""Pictures in stores: the same rows as from a disk, each fetched once; a store that fails is no picture's fault."""

import json
import logging
import subprocess
import sys
import time
import uuid
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from mean import MeanPlan
from odd_files import dng, encoded, photograph
from served import served
from store import BUCKET, s3, silent

from koniq.ground import InputError, RunStopped, built
from koniq.pictures import faults, in_fsspec, inputs, store_faults, stores
from koniq.scoring import in_flight, merging, score_file
from koniq.scoring.scorer import Scorer

fsspec = pytest.importorskip("fsspec")
pytest.importorskip("moto")
URL = f"s3://{BUCKET}/life"


@pytest.fixture(scope="module")
def disk(tmp_path_factory):
    """A folder of pictures as they come: whole, broken, oddly named, hidden, in folders."""
    folder = tmp_path_factory.mktemp("disk") / "life"
    whole = {
        "2016/08/one.jpg": encoded(photograph(seed=1)),
        "2016/08/two.png": encoded(photograph(seed=2), "PNG"),
        "2016/09/three.JPG": encoded(photograph(seed=3)),
        "2016/09/raw.dng": dng(photograph(seed=4)),
        "a b ü #1 100%.jpg": encoded(photograph(seed=5)),
        "what?.jpg": encoded(photograph(seed=6)),
        "plus+and&.png": encoded(photograph(seed=7), "PNG"),
        "drafts/left_out.jpg": encoded(photograph(seed=8)),
        "drafts/deep/left_out.jpg": encoded(photograph(seed=8)),
        ".hidden.jpg": encoded(photograph(seed=9)),
        "@eaDir/thumbnail.jpg": encoded(photograph(seed=9)),
    }
    files = whole | {
        "2016/cut.jpg": whole["2016/08/one.jpg"][:2000],
        "2016/empty.jpg": b"",
        "2016/text.png": b"no picture",
        "notes.txt": b"of no matter",
    }
    for name, data in files.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(data)
    return folder


@pytest.fixture
def store(monkeypatch):
    with s3(monkeypatch) as store:
        yield store


@pytest.fixture
def fetched(monkeypatch):
    """The addresses that were fetched."""
    names, real = [], in_fsspec.fetch

    def fetch(place):
        names.append(str(place))
        return real(place)

    monkeypatch.setattr(in_fsspec, "fetch", fetch)
    return names


def table(*sources, exclude=(), images="", **plan):
    return Scorer(MeanPlan(**plan)).table(inputs.of([*map(str, sources)], images, exclude))


def same(found, expected):
    """The same rows, scores to 1e-3."""
    left, right = (rows.drop(columns="MOS").reset_index(drop=True) for rows in (found, expected))
    pd.testing.assert_frame_equal(left, right)
    np.testing.assert_allclose(found.MOS, expected.MOS, atol=1e-3)


# The same as from a disk


@pytest.mark.parametrize("exclude", [(), ("drafts",), ("2016/08", "*.png")])
def test_a_folder_gives_the_rows_that_it_gives_on_a_disk(store, disk, exclude):
    store.put_folder(disk, "life/")
    store.put("life of others/one.jpg", b"of another folder that begins alike")
    store.put("life/folder/", b"")  # as consoles mark an empty folder
    expected = table(disk, exclude=exclude)
    assert exclude or {*expected.status} == {"ok", "unreadable", "truncated"}
    same(table(URL, exclude=exclude), expected)
    same(table(f"{URL}/", exclude=exclude), expected)


def test_other_sources_beside_a_folder_a_glob_and_single_pictures(store, disk, monkeypatch):
    store.put_folder(disk, "life/")
    monkeypatch.chdir(disk.parent)
    sources = ("life", "life/2016/08/*.*g", "life/2016/08/one.jpg", "life/no such.jpg")
    expected = table(*sources)
    expected.image_path = f"s3://{BUCKET}/" + expected.image_path
    same(table(*(f"s3://{BUCKET}/{source}" for source in sources)), expected)
    found = table(f"{URL}/2016/08/one.jpg", disk / "2016/08/one.jpg")
    assert found.MOS[0] == pytest.approx(found.MOS[1])
    with pytest.raises(InputError, match="should match pictures"):
        table(f"{URL}/*.gif")
    with pytest.raises(InputError, match=r"should hold pictures\. Received: 1 files, none a picture by its ending"):
        table(f"{URL}/", exclude=("*.jpg", "*.png", "*.JPG", "*.dng"))
    with pytest.raises(InputError, match="should hold pictures"):
        table(f"s3://{BUCKET}/nothing")


def test_lists_here_and_there_of_names_and_of_whole_addresses(store, disk, tmp_path, monkeypatch):
    store.put_folder(disk, "life/")
    names = ["2016/08/one.jpg", "what?.jpg", "a b ü #1 100%.jpg", "no such.jpg", "2016/08/one.jpg"]
    lines = "\n".join(["image_path", *names]) + "\n"
    (disk / "list.csv").write_text(lines, encoding="utf-8")
    expected = table(disk / "list.csv")
    (disk / "list.csv").unlink()
    assert [*expected.status] == ["ok", "ok", "ok", "missing", "ok"]
    store.put("life/list.csv", lines.encode())
    store.put("lists/list.csv", lines.encode())
    same(table(f"{URL}/list.csv"), expected)
    same(table(f"s3://{BUCKET}/lists/list.csv", images=URL), expected)
    (tmp_path / "list.csv").write_text(lines, encoding="utf-8")
    same(table(tmp_path / "list.csv", images=URL), expected)
    (tmp_path / "list.csv.json").write_text(json.dumps({"roots": [URL]}))  # as a selection has it
    same(table(tmp_path / "list.csv"), expected)
    (tmp_path / "whole.csv").write_text("\n".join(["image_path", *(f"{URL}/{name}" for name in names)]))
    expected.image_path = URL + "/" + expected.image_path
    same(table(tmp_path / "whole.csv"), expected)
    with pytest.raises(InputError, match=r"no list\.csv should be a list, .* Received: no such file"):
        table(f"{URL}/no list.csv")


def test_any_file_system_of_fsspec(disk):
    root = f"memory://{uuid.uuid4()}"
    files = fsspec.filesystem("memory")
    for path in disk.rglob("*"):
        if path.is_file():
            files.pipe_file(f"{root}/{path.relative_to(disk)}", path.read_bytes())
    same(table(root), table(disk))
    same(table(f"file://{disk}"), table(disk))
    asynchronous = pytest.importorskip("fsspec.implementations.asyn_wrapper")

    class Later(asynchronous.AsyncFileSystemWrapper):  # as Google's is
        protocol = "later"

        def __init__(self, **how):
            super().__init__(files, **how)

        @classmethod
        def _strip_protocol(cls, path):
            return path.replace("later://", "/")

    fsspec.register_implementation("later", Later, clobber=True)
    same(table(root.replace("memory", "later")), table(disk))


def test_a_file_system_that_has_no_patience_of_its_own_is_given_some(monkeypatch):
    class Hangs(fsspec.AbstractFileSystem):
        protocol = "hangs"

        def info(self, path, **how):
            time.sleep(5)

    fsspec.register_implementation("hangs", Hangs, clobber=True)
    monkeypatch.setenv("KONIQ_STORE_TIMEOUT", "0.2")
    started = time.monotonic()
    with pytest.raises(RunStopped, match=r"no answer within 0\.2 seconds"):
        table("hangs://somewhere/one.jpg")
    assert time.monotonic() - started < 3


def test_http_gives_single_pictures_and_lists(disk, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    files = {path.relative_to(disk).as_posix().replace("?", "%3F"): path for path in disk.rglob("*") if path.is_file()}
    names = ["2016/08/one.jpg", "what?.jpg", "2016/cut.jpg", "no such.jpg", "../well/2016/09/three.JPG"]
    files = {name: path.read_bytes() for name, path in files.items()}
    files["list.csv"] = "\n".join(["image_path", *names]).encode()
    with served(files) as server:
        found = table(server.url("list.csv"))
        assert [*found.status] == ["ok", "ok", "truncated", "missing", "ok"]
        assert [*found.image_path] == names
        one = table(server.url("2016/08/one.jpg"))
        assert [*one.image_path] == [server.url("2016/08/one.jpg")]
        assert one.MOS[0] == pytest.approx(table(disk / "2016/08/one.jpg").MOS[0])
        asked = [path for path, _ in server.requests]
        assert len(asked) == len({*asked}) + 1  # one request a picture, and this one again
        score = Scorer(MeanPlan())(server.url("2016/08/one.jpg"))
        assert (score.status, score.name) == ("ok", server.url("2016/08/one.jpg"))


def test_lists_of_a_store_come_in_pages(store):
    for number in range(1100):
        store.put(f"many/{number:04}.jpg", b"x")
    found = inputs.of([f"s3://{BUCKET}/many"])
    assert [item.name for item in found.pictures] == [f"{number:04}.jpg" for number in range(1100)]
    assert found.roots == [f"s3://{BUCKET}/many"]
    store.put("no_ending", encoded(photograph()))
    assert [*table(f"s3://{BUCKET}/no_ending").status] == ["ok"]
    assert len(inputs.of([f"s3://{BUCKET}"])) == 1100  # a whole bucket, of which that has no ending


# Gone on with


def write(source, out, **plan):
    Scorer(MeanPlan(**plan)).write(inputs.of([str(source)]), out)
    return score_file.read(out)


def test_what_is_written_is_not_fetched_again_and_what_was_edited_is(store, disk, tmp_path, fetched):
    store.put_folder(disk, "life/")
    out = tmp_path / "out.csv"
    first = write(URL, out)
    assert json.loads((tmp_path / "out.csv.json").read_text())["roots"] == [URL]
    assert len(fetched) == len({*fetched}) == len(first)
    fetched.clear()
    pd.testing.assert_frame_equal(write(URL, out), first)
    assert fetched == []
    store.put("life/2016/08/one.jpg", encoded(photograph(seed=20)))
    store.put("life/2017/new.jpg", encoded(photograph(seed=21)))
    now = write(URL, out).set_index("image_path")
    assert {*fetched} == {f"{URL}/2016/08/one.jpg", f"{URL}/2017/new.jpg"}
    first = first.set_index("image_path")
    assert now.MOS["2016/08/one.jpg"] != pytest.approx(first.MOS["2016/08/one.jpg"])
    pd.testing.assert_frame_equal(now.loc[first.index].drop("2016/08/one.jpg"), first.drop("2016/08/one.jpg"))
    fetched.clear()
    write(f"{URL}/2016/08/one.jpg", out)  # by its whole address it is the same picture
    assert fetched == []


def test_shards_of_a_folder_merge_into_the_rows_of_the_whole(store, disk, tmp_path, fetched):
    store.put_folder(disk, "life/")
    write(URL, tmp_path / "whole.csv")
    fetched.clear()
    parts = [tmp_path / f"part_{number}.csv" for number in (1, 2, 3)]
    for number, out in enumerate(parts, 1):
        Scorer(MeanPlan()).write(inputs.of([URL], shard=f"{number}/3"), out)
    assert len(fetched) == len({*fetched}) == len(score_file.read(tmp_path / "whole.csv"))
    merging.merge(parts, tmp_path / "all.csv", inputs.of([URL]))
    assert (tmp_path / "all.csv").read_bytes() == (tmp_path / "whole.csv").read_bytes()
    fetched.clear()
    write(URL, tmp_path / "all.csv")
    assert not fetched


def test_a_missing_picture_that_is_there_now_is_scored(store, disk, tmp_path):
    store.put("life/list.csv", b"image_path\n1.jpg\n2.jpg\n")
    store.put("life/1.jpg", encoded(photograph()))
    assert [*write(f"{URL}/list.csv", tmp_path / "out.csv").status] == ["ok", "missing"]
    store.put("life/2.jpg", encoded(photograph()))
    assert [*write(f"{URL}/list.csv", tmp_path / "out.csv").status] == ["ok", "ok"]


def test_pictures_that_moved_from_a_disk_to_a_store_keep_their_rows(store, disk, tmp_path):
    out = tmp_path / "out.csv"
    first = write(disk, out)
    store.put_folder(disk, "life/")
    pd.testing.assert_frame_equal(write(URL, out), first)
    assert json.loads((tmp_path / "out.csv.json").read_text())["roots"][0] == URL
    for path in disk.rglob("*.*"):
        if path.is_file():
            store.put(f"others/{path.relative_to(disk).as_posix()}", encoded(photograph(seed=30)))
    with pytest.raises(InputError, match="should be gone on with for the pictures that it was begun for"):
        write(f"s3://{BUCKET}/others", out)


def test_what_a_killed_run_was_at_is_fetched_by_the_process_of_its_own(store, disk, tmp_path):
    store.put_folder(disk, "life/")
    first = write(URL, tmp_path / "first.csv")
    in_flight.path_of(tmp_path / "out.csv").write_text('"2016/08/one.jpg"\n"2016/cut.jpg"\n')
    pd.testing.assert_frame_equal(write(URL, tmp_path / "out.csv"), first)


# Whose fault it is


def many(store, count):
    for number in range(count):
        store.put(f"life/{number:02}.jpg", encoded(photograph((48, 64), number)))


def after(batches, work):
    counted = iter(range(1000))
    return lambda: work() if next(counted) == batches else None


@pytest.mark.parametrize("way", ["refuses", "is silent"])
def test_a_store_that_goes_away_makes_no_row_and_the_same_command_goes_on(store, tmp_path, monkeypatch, way):
    many(store, 70)
    whole = tmp_path / "whole.csv"
    assert len(write(URL, whole)) == 70

    def away():
        store.stop()
        monkeypatch.setenv("KONIQ_STORE_TIMEOUT", "1")

    with pytest.raises(RunStopped, match=r"jpg could not be read, and that is no fault of its own"):
        write(URL, tmp_path / "out.csv", then=after(5, away), pause=0.02)
    rows = score_file.read(tmp_path / "out.csv")
    assert 8 < len(rows) < 70
    assert {*rows.status} == {"ok"}
    started = time.monotonic()
    if way == "is silent":
        with silent(store.port), pytest.raises(RunStopped, match=r"pictures/life .* no answer within 1 sec"):
            write(URL, tmp_path / "out.csv")
    else:
        with pytest.raises(RunStopped, match=r"s3://pictures/life could not be read.*Could not connect"):
            write(URL, tmp_path / "out.csv")
    assert time.monotonic() - started < 8
    store.start()
    monkeypatch.delenv("KONIQ_STORE_TIMEOUT")
    write(URL, tmp_path / "out.csv")
    assert (tmp_path / "out.csv").read_bytes() == whole.read_bytes()


def test_a_silent_server_ends_the_run_in_a_bounded_time(tmp_path, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("KONIQ_STORE_TIMEOUT", "2")
    started = time.monotonic()
    with silent() as port, pytest.raises(RunStopped, match=r"no answer within 2 seconds \(KONIQ_STORE_TIMEOUT\)"):
        write(f"http://127.0.0.1:{port}/one.jpg", tmp_path / "out.csv")
    assert time.monotonic() - started < 6
    assert len(score_file.read(tmp_path / "out.csv")) == 0


def test_answers_of_http(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with served({"one.jpg": encoded(photograph())}) as server:
        assert [*table(server.url("one.jpg", "busy")).status] == ["ok"]  # asked again
        assert len(server.requests) == 2
        refused = table(server.url("one.jpg", "403"))
        assert (refused.status[0], refused.error[0]) == ("unreadable", "HTTP 403 Forbidden")
        assert [*table(server.url("one.jpg", "410")).status] == ["missing"]
        assert "HTTP 400" in table(server.url("one.jpg", "400")).error[0]
        monkeypatch.setenv("KONIQ_STORE_TIMEOUT", "1")
        with pytest.raises(RunStopped, match="HTTP 503"):
            table(server.url("one.jpg", "503"))
        with pytest.raises(RunStopped, match="what was sent broke off"):
            table(server.url("one.jpg", "long"))
        monkeypatch.delenv("KONIQ_STORE_TIMEOUT")
        monkeypatch.setenv("KONIQ_STORE_MEGABYTES", "0.001")
        large = table(server.url("one.jpg"))
        assert large.status[0] == "too_large"
        assert "above the 0 MB that KONIQ_STORE_MEGABYTES allows" in large.error[0]
    monkeypatch.setenv("KONIQ_STORE_MEGABYTES", "none")
    with pytest.raises(InputError, match="KONIQ_STORE_MEGABYTES should be a number above 0"):
        store_faults.setting(store_faults.LARGEST)


def test_a_picture_that_is_too_large_by_the_list_is_not_fetched(store, disk, monkeypatch):
    store.put("life/large.jpg", bytes(3000))
    monkeypatch.setenv("KONIQ_STORE_MEGABYTES", "0.001")
    monkeypatch.setattr(in_fsspec, "_of_s3", None)
    assert [*table(URL).status] == ["too_large"]


def test_one_that_is_refused_is_a_row_and_all_of_them_are_the_stores_fault(monkeypatch):
    place, refused = faults.Place(), PermissionError("Access Denied")
    picture, other = stores.Remote(f"{URL}/1.jpg"), stores.Remote(f"{URL}/2.jpg")
    assert isinstance(stores._told(picture, refused, place), stores.Unread)
    place.fetched = other
    monkeypatch.setattr(in_fsspec, "is_there", lambda place: True)
    assert isinstance(stores._told(picture, refused, place), stores.Unread)

    def refuses(place):
        raise refused

    monkeypatch.setattr(in_fsspec, "is_there", refuses)
    error = stores._told(picture, refused, place)
    assert isinstance(error, RunStopped)
    assert f"{URL}/2.jpg, which came before, does not any more (Access Denied)" in str(error)


def of_botocore(code, status):
    exceptions = pytest.importorskip("botocore.exceptions")
    answer = {"Error": {"Code": code, "Message": "as it says"}, "ResponseMetadata": {"HTTPStatusCode": status}}
    error = OSError("translated")
    error.__cause__ = exceptions.ClientError(answer, "GetObject")
    return error


@pytest.mark.parametrize(
    ("code", "status", "whose", "again"),
    [
        ("NoSuchKey", 404, "missing", False),
        ("NoSuchBucket", 404, "machine", False),
        ("AccessDenied", 403, "denied", False),
        ("InvalidAccessKeyId", 403, "machine", False),
        ("SignatureDoesNotMatch", 403, "machine", False),
        ("ExpiredToken", 400, "machine", False),
        ("RequestTimeTooSkewed", 403, "machine", False),
        ("SlowDown", 503, "machine", True),
        ("InternalError", 500, "machine", True),
        ("InvalidObjectState", 403, "picture", False),
        ("KeyTooLongError", 400, "picture", False),
    ],
)
def test_answers_of_s3(code, status, whose, again):
    found = store_faults.fault(of_botocore(code, status))
    assert (found.whose, found.again) == (whose, again)


@pytest.mark.parametrize(
    ("error", "whose"),
    [
        (FileNotFoundError("x"), "missing"),
        (IsADirectoryError("x"), "picture"),
        (PermissionError("x"), "denied"),
        (ConnectionResetError("x"), "machine"),
        (TimeoutError(), "machine"),
        (RuntimeError("what nobody expected"), "machine"),
    ],
)
def test_errors_of_file_systems(error, whose):
    assert store_faults.fault(error).whose == whose


def test_without_credentials_and_without_a_bucket_the_run_stops(store, monkeypatch):
    many(store, 2)
    with pytest.raises(RunStopped, match="NoSuchBucket"):
        table("s3://nowhere/1.jpg")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
        monkeypatch.delenv(name)
    in_fsspec._systems.clear()
    with pytest.raises(RunStopped, match="Unable to locate credentials"):
        table(URL)
    monkeypatch.setitem(fsspec.config.conf, "s3", {"anon": True})  # fsspec's own settings count
    in_fsspec._systems.clear()
    assert [*table(URL).status] == ["unreadable", "unreadable"]  # who is nobody may list the bucket, not read
    store.publish("life/01.jpg")
    found = table(URL)
    assert [*found.status] == ["unreadable", "ok"]
    assert found.error[0] == "HTTP 403 Forbidden"


# What opens a store is shown nowhere


def test_no_secret_is_written(tmp_path, monkeypatch, capsys, caplog):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    caplog.set_level(logging.DEBUG)
    picture = encoded(photograph())
    with served({"one.jpg": picture, "two.jpg": picture, "list.csv": b"image_path\none.jpg\nno such.jpg\n"}) as server:
        root = server.url("").replace("://", "://me:hush@")
        sign = "?X-Amz-Signature=hush&size=2&token=hush"
        (tmp_path / "list.csv").write_text(f"image_path\n{root}one.jpg{sign}\n{root}no.jpg{sign}\none.jpg\n")
        for number, source in enumerate((f"{root}one.jpg{sign}", f"{root}list.csv{sign}", tmp_path / "list.csv")):
            Scorer(MeanPlan()).write(
                inputs.of([str(source)], f"{root}{sign}" if number == 2 else ""), tmp_path / f"{number}.csv"
            )
        names = score_file.read(tmp_path / "0.csv").image_path
        assert [*names] == [server.url("one.jpg") + "?size=2"]
        assert all("hush" in path for path, _ in server.requests)
        monkeypatch.setenv("KONIQ_STORE_TIMEOUT", "0.5")
        with pytest.raises(RunStopped, match="503") as busy:
            table(f"{root.replace('well', '503')}one.jpg{sign}")
        assert "hush" not in table(f"{root.replace('well', '400')}one.jpg{sign}").error[0]
    with pytest.raises(RunStopped) as gone:
        table(f"{root}one.jpg{sign}")
    assert "hush" not in f"{busy.value}{gone.value}"
    told = capsys.readouterr()
    assert "hush" not in told.out + told.err
    assert "hush" not in "".join(record.getMessage() for record in caplog.records if record.name == "koniq")
    for path in tmp_path.iterdir():
        assert path.name == "list.csv" or b"hush" not in path.read_bytes(), path


# Optional


@pytest.mark.parametrize(
    ("package", "source", "file"),
    [
        ("fsspec", URL, "stores"),
        ("s3fs", URL, "stores"),
        ("aiohttp", "https://host/1.jpg", "stores"),
        ("gcsfs", "gs://bucket/folder", "gcs"),
    ],
)
def test_what_is_not_installed_is_named(monkeypatch, package, source, file):
    monkeypatch.setitem(sys.modules, package, None)
    for module in [name for name in sys.modules if name.startswith(("s3fs.", "fsspec.implementations.http"))]:
        monkeypatch.delitem(sys.modules, module)
    for name in ("s3", "https", "gs"):  # what fsspec has imported before
        monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, name, raising=False)
    in_fsspec._systems.clear()
    with pytest.raises(InputError, match=rf"pip install -r requirements-{file}\.txt"):
        table(source)
    monkeypatch.setattr(built, "IN_CLONE", False)
    with pytest.raises(InputError, match=rf'pip install "koniq\[{file}\]"'):
        table(source)


def test_an_unknown_protocol_is_one_sentence():
    with pytest.raises(InputError, match=r"should begin with s3://, gs://, https://, .*Received: store://"):
        table("store://bucket")
    with pytest.raises(InputError, match="should name one"):
        table("zip://a.jpg::s3://bucket/a.zip")


def test_who_scores_a_folder_imports_none_of_it(disk, tmp_path):
    code = f"""
import sys
sys.path.insert(0, "tests/helpers")
import lifelog_predict, koniq.commands.score
from mean import MeanPlan
from koniq.scoring.scorer import Scorer
Scorer(MeanPlan()).write({str(disk)!r}, {str(tmp_path / "out.csv")!r})
print({{"fsspec", "s3fs", "aiohttp", "botocore"}} & {{*sys.modules}} or "none")
"""
    root = Path(__file__).parents[2]
    done = subprocess.run([sys.executable, "-c", code], cwd=root, capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1:] == ["none"], done.stderr
