"""The server, asked by HTTP: scores as the CSV's, and a reason wherever there is none."""

import json
import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import pandas as pd
import pytest
from asking import Client, answering, form
from odd_files import encoded, photograph
from PIL import Image

import koniq
from koniq.ground import RunStopped
from koniq.pictures.apart import Apart
from koniq.pictures.faults import Place
from koniq.serving import Table
from koniq.serving.standing import KNOWN

SMALL = {"engine": "openvino", "precision": "float32", "input_size": (96, 128), "batch_size": 4, "workers": 2}
TOKEN = "a-token-of-the-tests"
# As a broken decoder does: a picture whose decoding ends the process.
HOOK = """
import os, signal
from PIL import ImageFile
load = ImageFile.ImageFile.load
def loaded(self, *more):
    if self.size == (31, 37):
        os.kill(os.getpid(), signal.SIGKILL)
    return load(self, *more)
ImageFile.ImageFile.load = loaded
"""
HEAD = b"POST /v1/score HTTP/1.1\r\nHost: localhost\r\nContent-Type: image/jpeg\r\nContent-Length: 9999\r\n\r\n"


@pytest.fixture(scope="module")
def scorer():
    return koniq.load("koncept_lite", **SMALL, max_megapixels=2)


@pytest.fixture(scope="module")
def client(scorer):
    with answering(scorer, table=Table("KonIQ-10k", KNOWN["KonIQ-10k"]), max_mb=2, max_pictures=4) as client:
        yield client


@pytest.fixture(scope="module")
def files():
    """Three photographs, by name."""
    kinds = {"a.jpg": "JPEG", "b.png": "PNG", "c.tga": "TGA"}  # the last is told by its ending alone
    return {name: encoded(photograph(seed=number), kind) for number, (name, kind) in enumerate(kinds.items())}


@pytest.fixture(scope="module")
def table(scorer, files, tmp_path_factory):
    """The rows of the CSV of the same pictures."""
    folder = tmp_path_factory.mktemp("served")
    for name, data in files.items():
        (folder / name).write_bytes(data)
    scorer.write(folder, folder / "scores.csv")
    return pd.read_csv(folder / "scores.csv").set_index("image_path")


def test_a_form_of_pictures_has_the_scores_of_the_csv_and_says_where_they_stand(client, files, table):
    answer = client.score(files)
    assert (answer.status, answer.headers["content-type"]) == (200, "application/json")
    pictures = answer.json["pictures"]
    assert [one["name"] for one in pictures] == [*files]
    for one in pictures:
        row = table.loc[one["name"]]
        assert one["score"] == pytest.approx(row.MOS, abs=1e-3)
        assert (one["status"], one["width"], one["height"]) == ("ok", row.width, row.height)
        assert one["stands"]["table"] == "KonIQ-10k"
        assert 0 <= one["stands"]["percentile"] <= 100
        assert (one["low"], one["high"]) == (None, None)


def test_a_body_is_one_picture(client, files, table):
    for kind in ("image/jpeg", "application/octet-stream", "image/whatever"):
        (one,) = client.raw(files["a.jpg"], kind).json["pictures"]
        assert one["score"] == pytest.approx(table.MOS["a.jpg"], abs=1e-3)
        assert one["name"] == ""


def test_one_picture_without_a_score_does_not_keep_the_others_from_theirs(client, files):
    answer = client.score({"a.jpg": files["a.jpg"], "text.jpg": b"no picture"})
    assert answer.status == 200
    one, other = answer.json["pictures"]
    assert (one["status"], other["status"], other["score"], other["stands"]) == ("ok", "unreadable", None, None)
    assert "not a picture" in other["reason"]


def test_what_is_no_picture_is_the_clients_fault(client, files):
    cases = {
        "text": (b"no picture", 422, "not a picture"),
        "nothing": (b"", 422, "an empty file"),
        "half": (files["a.jpg"][: len(files["a.jpg"]) // 2], 422, "ends before"),
        "megapixels": (encoded(Image.new("RGB", (2000, 1500)), "PNG"), 413, "megapixels"),
    }
    for name, (data, status, reason) in cases.items():
        for answer in (client.raw(data), client.score({name: data})):
            assert (answer.status, answer.json["pictures"][0]["score"]) == (status, None), name
            assert reason in answer.json["detail"], name


def test_what_cannot_be_a_request_is_told_why(client, files):
    picture = files["a.jpg"]
    body, kind = form({"a.jpg": picture})

    def sent(body, kind):
        return client.ask("POST", "/v1/score", body, Content_Type=kind)

    end = body[body.rindex(b"--" + kind.partition("boundary=")[2].encode()) :]
    field = end[: -len(b"--\r\n")] + b'\r\nContent-Disposition: form-data; name="x"\r\n\r\n\r\n'
    answers = {
        "urlencoded": (client.raw(picture, "application/x-www-form-urlencoded"), 415),
        "gzip": (client.raw(picture, Content_Encoding="gzip"), 415),
        "too many": (client.score({f"{n}.jpg": picture for n in range(5)}), 413),
        "too long": (client.raw(bytes(2_000_001)), 413),
        "far too long": (client.raw(bytes(3_900_000)), 413),
        "no files": (client.score({}), 422),
        "a field alone": (
            sent(body.replace(b'; filename="a.jpg"', b""), kind),
            422,
        ),
        "no boundary": (sent(body, "multipart/form-data"), 400),
        "an empty boundary": (
            sent(body, "multipart/form-data; boundary="),
            400,
        ),
        "another boundary": (sent(body, f"{kind}x"), 400),
        "cut off": (sent(body[:-30], kind), 400),
        "no name": (sent(body.replace(b'name="files"; ', b""), kind), 400),
        "many fields": (sent(b"".join(field for _ in range(17)) + end, kind), 400),
        "a long field": (sent(field[:-2] + bytes(1_100_000) + b"\r\n" + end, kind), 400),
        "another method": (client.get("/v1/score"), 405),
        "another address": (client.get("/../etc/passwd"), 404),
    }
    for name, (answer, status) in answers.items():
        assert answer.status == status, (name, answer.body)
        assert len(answer.json["detail"]) > 5, name


@pytest.mark.parametrize(
    "charset", ["undefined", "idna", "punycode", "unicode_escape", "utf-16", "rot13", "zlib", "nosuch"]
)
def test_no_charset_of_a_form_is_the_servers_fault(client, files, charset):
    body, kind = form({"a\\ud800.jpg": files["a.jpg"]}, charset)
    answer = client.ask("POST", "/v1/score", body, Content_Type=kind)
    assert answer.status in (200, 400, 422), answer.body
    assert answer.json


def test_names_are_given_back_and_nothing_else_is_made_of_them(client, files):
    names = ["../../etc/passwd", "<script>alert(1)</script>.jpg", "\N{GRINNING FACE}.jpg", "x" * 900 + ".jpg"]
    pictures = client.score(dict.fromkeys(names, files["a.jpg"])).json["pictures"]
    assert [one["name"] for one in pictures[:3]] == names[:3]
    assert len(pictures[3]["name"]) == 255
    assert {one["status"] for one in pictures} == {"ok"}
    assert client.score({"bytes \udcff.jpg": files["a.jpg"]}).status == 200


def test_a_body_without_a_length_is_counted_as_it_comes(client):
    def chunks():
        for _ in range(30):
            yield bytes(100_000)

    answer = client.ask("POST", "/v1/score", chunks(), Content_Type="image/jpeg")
    assert (answer.status, "2,000,000 bytes" in answer.json["detail"]) == (413, True)


def test_a_client_that_goes_leaves_nothing_behind(client, files):
    for sent in (b"", files["a.jpg"][:100]):
        with socket.create_connection(("127.0.0.1", client.port)) as gone:
            gone.sendall(HEAD + sent)
    assert client.raw(files["a.jpg"]).status == 200
    assert client.batches.inside == 0


def test_who_is_slow_is_told_so(scorer):
    with answering(scorer, patience=0.2) as client, socket.create_connection(("127.0.0.1", client.port)) as slow:
        slow.settimeout(20)
        slow.sendall(HEAD + b"x")
        assert slow.recv(1000).startswith(b"HTTP/1.1 408")


def test_many_at_a_time_share_batches_and_beyond_the_queue_they_are_told_to_come_later(scorer, files):
    with answering(scorer, queue=4, max_pictures=2, wait_ms=200) as client, ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: client.raw(files["a.jpg"]), range(32)))
        assert {answer.status for answer in answers} <= {200, 429}
        scored = sum(answer.status == 200 for answer in answers)
        assert scored >= 4
        assert client.batches.scored == scored
        assert client.batches.batches < scored
        refused = [answer for answer in answers if answer.status == 429]
        assert refused
        assert all(int(answer.headers["retry-after"]) > 0 and "room" in answer.json["detail"] for answer in refused)
        assert client.batches.inside == 0


def test_with_a_token_nobody_asks_without_it(scorer, files):
    with answering(scorer, TOKEN) as client:
        stranger = Client(client.port)
        for brought in (
            {},
            {"Authorization": TOKEN},
            {"Authorization": "Bearer "},
            {"Authorization": f"Bearer {TOKEN}x"},
        ):
            for answer in (stranger.raw(files["a.jpg"], **brought), stranger.get("/metrics", **brought)):
                assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")
                assert TOKEN not in answer.body.decode()
        assert client.raw(files["a.jpg"], Host="photos.example:443", Origin="https://elsewhere.example").status == 200
        assert stranger.get("/healthz").status == 200
        assert stranger.get("/").status == 200


def test_without_a_token_no_page_of_anybody_else_asks(client, files):
    picture, here = files["a.jpg"], f"127.0.0.1:{client.port}"
    assert client.raw(picture, Host="evil.example").status == 403
    assert client.raw(picture, Origin="http://evil.example").status == 403
    assert client.raw(picture, Origin="null").status == 403
    assert client.raw(picture, Origin=f"http://{here}").status == 200
    asked = client.ask("OPTIONS", "/v1/score", Origin="http://evil.example", Access_Control_Request_Method="POST")
    assert not [name for name in asked.headers if name.lower().startswith("access-control")]


def test_openapi_says_what_there_is(client):
    said = client.get("/openapi.json").json
    assert {*said["paths"]} == {"/v1/score", "/v1/model", "/healthz", "/metrics"}
    post = said["paths"]["/v1/score"]["post"]
    assert {"200", "400", "401", "413", "415", "422", "429"} <= {*post["responses"]}
    assert "multipart/form-data" in post["requestBody"]["content"]
    assert "4 at most" in post["requestBody"]["description"]
    assert client.get("/docs").status == 404  # its scripts would come from another host
    model = client.get("/v1/model").json
    assert (model["table"], model["pictures"], len(model["counts"])) == ("KonIQ-10k", 10073, 50)
    assert (model["scale"], model["max_pictures"], model["max_megapixels"]) == ([0, 100], 4, 2)


def test_health_and_metrics(scorer, files):
    with answering(scorer) as client:
        client.score({"a.jpg": files["a.jpg"], "text": b"no picture"})
        client.raw(b"no picture")
        assert client.get("/healthz").json == {"status": "ok"}
        answer = client.get("/metrics")
        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
        lines = answer.body.decode().splitlines()
        assert 'koniq_requests_total{code="422"} 1' in lines
        assert 'koniq_pictures_total{status="ok"} 1' in lines
        assert 'koniq_pictures_total{status="unreadable"} 2' in lines
        assert "koniq_batched_pictures_total 1" in lines
        assert "koniq_request_seconds_count 2" in lines


def test_where_the_machine_fails_no_picture_is_blamed(scorer, files, monkeypatch):
    with answering(scorer) as client:

        def fails(*_):
            raise RuntimeError("no device")

        monkeypatch.setattr(scorer, "score", fails)
        answer = client.raw(files["a.jpg"])
        assert (answer.status, "no device" in answer.json["detail"]) == (503, False)
        assert client.get("/healthz").status == 503
        monkeypatch.undo()
        assert client.raw(files["a.jpg"]).status == 200
        assert client.get("/healthz").status == 200

    def stops(*_):
        raise RunStopped("a drive went away")

    with answering(scorer, opened=stops) as client:
        assert client.raw(files["a.jpg"]).status == 503


@pytest.mark.slow
def test_decoded_apart_a_picture_that_ends_the_process_does_not_end_the_server(scorer, files, tmp_path, monkeypatch):
    (tmp_path / "sitecustomize.py").write_text(HOOK)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    killer = encoded(Image.new("RGB", (31, 37)), "PNG")
    with Apart(scorer.network, Place()) as apart, answering(scorer, opened=apart.decode) as client:
        first, last = (client.score({"c.tga": files["c.tga"]}).json["pictures"][0]["score"] for _ in range(2))
        answer = client.raw(killer)
        assert (answer.status, "ended the process (signal 9)" in answer.json["detail"]) == (422, True)
        assert client.score({"c.tga": files["c.tga"]}).json["pictures"][0]["score"] == first == last
        assert first == pytest.approx(scorer(encoded(photograph(seed=2), "PNG")).mos, abs=1e-3)


def test_what_a_browser_gets_has_nothing_from_elsewhere(client):
    for path in ("/", "/page.js"):
        answer = client.get(path)
        assert answer.status == 200
        assert b"http://" not in answer.body.replace(b"http://www.w3.org/2000/svg", b"")
        assert b"https://" not in answer.body
        assert "default-src 'none'" in answer.headers["content-security-policy"]
        assert answer.headers["x-content-type-options"] == "nosniff"


def test_intervals_are_those_of_the_csv(files):
    scorer = koniq.load("koncept_lite", intervals=True, **SMALL | {"input_size": None})
    expected = scorer(files["a.jpg"])
    with answering(scorer) as client:
        (one,) = client.raw(files["a.jpg"]).json["pictures"]
        assert [one["low"], one["high"]] == pytest.approx([expected.low, expected.high], abs=1e-3)
        model = client.get("/v1/model").json
        assert (model["level"], "LIVE In the Wild" in model["intervals"]) == (0.9, True)


def test_ended_while_it_answers_it_finishes(scorer, files):
    with answering(scorer, wait_ms=300) as client:
        found = []
        asking = threading.Thread(target=lambda: found.append(client.raw(files["a.jpg"])))
        asking.start()
        while not client.batches.inside and not found:
            pass
    asking.join(20)
    assert json.loads(found[0].body)["pictures"][0]["status"] == "ok"
