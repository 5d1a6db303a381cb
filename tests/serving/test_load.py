"""The command itself, under load: many clients at a time, pictures and what is none, and the scores of the CSV."""

import itertools
import re
import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import pandas as pd
import pytest
from asking import Client, form
from commands import ended
from odd_files import cmyk_profile, encoded, photograph
from PIL import Image

ROOT = Path(__file__).resolve().parents[2]
AT_A_TIME = 16
HOW = ("--weights", "koncept_lite", "--engine", "openvino", "--precision", "float32", "--input-size", "96", "128")
HOW += ("--batch-size", "4", "--max-megapixels", "20")
MEBIBYTE = 1 << 20
GROWTH = 48 * MEBIBYTE  # what a process's memory may move by, of which decoded pictures are in a few pieces


@contextmanager
def command(*words, port=0, ending=signal.SIGINT):
    """`koniq serve` in a process of its own, and who asks it."""
    line = [sys.executable, "-m", "koniq", "serve", "--port", str(port), *words]
    process = subprocess.Popen(line, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    try:
        said = []
        for text in process.stdout:
            said.append(text)
            if found := re.search(r"To open: http://[\d.]+:(\d+)/(?:#(\S+))?", text):
                break
        else:
            pytest.fail(process.stderr.read())
        client = Client(int(found[1]), found[2] or "")
        client.said = "".join(said)
        yield client
    finally:
        process.send_signal(ending)
        _, errors = process.communicate(timeout=30)
    assert (process.returncode, errors) == (0, "")


def made() -> dict[str, bytes]:
    """Pictures and accidents that need no data."""
    whole = encoded(photograph((240, 320)))
    files = {f"{seed}.jpg": encoded(photograph((120 + seed, 160), seed)) for seed in range(12)}
    files |= {f"{seed}.png": encoded(photograph(seed=seed), "PNG") for seed in range(4)}
    files |= {f"half_{part}.jpg": whole[: len(whole) * part // 10] for part in range(10)}
    files["cmyk.jpg"] = encoded(photograph().convert("CMYK"), icc_profile=cmyk_profile())
    files["turned.jpg"] = encoded(photograph(), exif=Image.Exif())
    files["large.png"] = encoded(Image.new("L", (6000, 4000)), "PNG")  # more megapixels than may be
    files |= {"text.jpg": b"no picture", "zeros.png": bytes(5000), "name.tga": encoded(photograph(), "TGA")}
    return files


def resident(client: Client) -> int:
    text = client.get("/metrics").body.decode()
    return int(re.search(r"^process_resident_memory_bytes (\d+)", text, re.MULTILINE)[1])


def scored(files: dict[str, bytes], folder: Path) -> pd.DataFrame:
    """What the CSV says of files, by name."""
    (folder / "pictures").mkdir()
    for name, data in files.items():
        (folder / "pictures" / name).write_bytes(data)
    rows = pd.DataFrame({"image_path": [*files]})
    rows.to_csv(folder / "list.csv", index=False)
    ended("score", folder / "list.csv", "--images", folder / "pictures", *HOW, "--out", folder / "scores.csv")
    return pd.read_csv(folder / "scores.csv", dtype={"error": str}).set_index("image_path")


def requests(files: dict[str, bytes], count: int):
    """So many requests: most are of one picture, as a form or as a body, some of several, some are none at all."""
    names = itertools.cycle(sorted(files))
    for number in range(count):
        if number % 10 == 7:
            few = list(itertools.islice(names, 4))
            yield "form", few, form({name: files[name] for name in few})
        elif number % 10 == 8:
            yield "wrong", [], (b"{}", "application/json")
        elif number % 10 == 9:
            name = next(names)
            body, kind = form({name: files[name]})
            yield "wrong", [], (body[: len(body) // 2], kind)
        elif number % 10 == 3 and (name := next(names)).endswith((".jpg", ".png")):  # told by what is in them
            yield "body", [name], (files[name], "image/jpeg")
        else:
            name = next(names)
            yield "form", [name], form({name: files[name]})


def check(client: Client, table: pd.DataFrame, kind: str, names: list[str], body: bytes, said: str) -> int:
    """Ask, and compare with the table. Returns the status."""
    answer = client.ask("POST", "/v1/score", body, Content_Type=said)
    assert answer.status in (200, 400, 413, 415, 422), (answer.status, answer.body)
    if kind == "wrong":
        assert answer.status in (400, 415), answer.body
    if answer.status != 200:
        assert answer.json["detail"], names
    pictures = answer.json["pictures"]
    assert len(pictures) == len(names)
    for name, one in zip(names, pictures, strict=True):
        row = table.loc[name]
        assert one["status"] == row.status, (name, one, row.error)
        if row.status == "ok":
            assert one["score"] == pytest.approx(row.MOS, abs=1e-3), name
        else:
            assert one["score"] is None
            assert one["reason"]
    any_scored = any(one["status"] == "ok" for one in pictures)
    assert (answer.status == 200) == any_scored
    return answer.status


def loaded(client: Client, table: pd.DataFrame, files: dict[str, bytes], count: int) -> list[int]:
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        return list(pool.map(lambda one: check(client, table, one[0], one[1], *one[2]), requests(files, count)))


@pytest.mark.slow
def test_a_hundred_requests(tmp_path):
    files = made()
    table = scored(files, tmp_path)
    with command(*HOW) as client:
        assert "koncept_lite at 96 x 128" in client.said
        statuses = loaded(client, table, files, 100)
        assert {200, 400, 413, 415, 422} == {*statuses}
        text = client.get("/metrics").body.decode()
        assert "koniq_pictures_waiting 0" in text
        assert 'code="5' not in text
        batches, pictures = (int(re.search(rf"^{name} (\d+)", text, re.M)[1]) for name in NAMES)
        assert batches < pictures


NAMES = ("koniq_batches_total", "koniq_batched_pictures_total")


@pytest.mark.long
def test_a_thousand_requests_of_the_torture_chamber_and_of_real_pictures(test_data, tmp_path):
    odd = sorted(path for path in (test_data / "torture").rglob("*.*") if path.is_file() and path.suffix != ".csv")
    real = sorted((test_data / "live_itw/Images").glob("*.[jJ][pP][gG]"))[:60]
    files = {f"{number}_{path.name}": path.read_bytes() for number, path in enumerate([*odd[::3], *real])}
    files = {name: data for name, data in files.items() if len(data) < 8_000_000} | made()
    table = scored(files, tmp_path)
    assert {"ok", "unreadable", "truncated", "too_large"} <= {*table.status}
    with command(*HOW) as client:
        statuses = loaded(client, table, files, 300)
        early = resident(client)
        statuses += loaded(client, table, files, 700)
        late = resident(client)
        print(f"{early / MEBIBYTE:.0f} MiB after 300 requests, {late / MEBIBYTE:.0f} after 1,000")
        assert len(statuses) == 1000
        assert {200, 400, 413, 415, 422} == {*statuses}
        assert late < early + GROWTH
        assert client.get("/healthz").status == 200


@pytest.mark.slow
def test_for_others_a_token_is_printed_and_no_picture_is_scored_without_it():
    with command("--weights", "koncept_lite", *HOW[2:], "--host", "0.0.0.0") as client:
        assert f"Authorization: Bearer {client.token}" in client.said
        assert len(client.token) >= 32
        picture = encoded(photograph())
        assert client.raw(picture).status == 200
        assert Client(client.port).raw(picture).status == 401
