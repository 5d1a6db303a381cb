"""The page, in a real browser: pictures chosen and dropped, their scores, and where these stand."""

import re

import pytest
from asking import answering
from devtools import opened
from odd_files import encoded, photograph

import koniq
from koniq.serving import Table
from koniq.serving.standing import KNOWN

TOKEN = "a-token-of-the-tests"
SMALL = {"engine": "openvino", "precision": "float32", "input_size": (96, 128), "batch_size": 4, "workers": 2}
ODD = "<img src=x onerror=alert(1)> & 'more'.png"
CARDS = "[...document.querySelectorAll('#scored li')].map(item => item.innerText)"
DONE = "document.querySelector('#progress').textContent === '{0} of {0}'"
WIDE = "document.documentElement.scrollWidth === document.documentElement.clientWidth"
PAPER = "getComputedStyle(document.body).backgroundColor"


@pytest.fixture(scope="module")
def scorer():
    return koniq.load("koncept_lite", intervals=True, engine="openvino", precision="float32", batch_size=4)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dropped")
    for number, name in enumerate(("one.jpg", "two.jpg", ODD)):
        kind = "PNG" if name.endswith("png") else "JPEG"
        (folder / name).write_bytes(encoded(photograph(seed=number), kind))
    (folder / "notes.txt").write_text("no picture")
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("dark", [False, True])
def test_pictures_are_chosen_and_dropped_and_each_says_how_it_stands(scorer, folder, dark):
    table = Table("LIVE In the Wild", KNOWN["LIVE In the Wild"])
    with answering(scorer, table=table) as client, opened(f"http://127.0.0.1:{client.port}/", dark=dark) as page:
        page.until("document.querySelector('#table').textContent")
        page.choose("#files", [folder / "one.jpg", folder / ODD, folder / "notes.txt"])
        page.until(DONE.format(3))
        page.drop("#drop", [folder / "two.jpg"])
        page.until(DONE.format(4))
        cards = page.value(CARDS)
        expected = {name: scorer(str(folder / name)) for name in ("one.jpg", "two.jpg", ODD)}
        for name, score in expected.items():
            (card,) = (card for card in cards if name in card)
            shown = float(re.search(r"^(-?\d+\.\d)$", card, re.MULTILINE)[1])
            assert shown == pytest.approx(score.mos, abs=0.06)
            ends = [float(end) for end in re.search(r"90 % interval: (-?\d+\.\d) to (-?\d+\.\d)", card).groups()]
            assert ends == pytest.approx([score.low, score.high], abs=0.06)
            above = int(re.search(r"above (\d+) % of LIVE In the Wild", card)[1])
            assert above == pytest.approx(table.percentile(score.mos), abs=0.6)
        (card,) = (card for card in cards if "notes.txt" in card)
        assert "no score: unreadable" in card
        assert "not a picture" in card
        assert "1,162 pictures" in page.value("document.querySelector('#table').textContent")
        assert page.value("document.querySelectorAll('#scored svg').length") == 3
        assert page.value("document.querySelectorAll('#scored svg .bin').length") == 150
        page.value("document.querySelector('#sort').click()")
        cards = page.value(CARDS)
        numbers = [float(found[1]) for card in cards if (found := re.search(r"^(-?\d+\.\d)$", card, re.MULTILINE))]
        assert numbers == sorted(numbers, reverse=True)
        assert page.value("document.querySelectorAll('#scored img[src=x]').length") == 0
        assert page.value(WIDE)
        assert page.value(PAPER) == ("rgb(21, 23, 27)" if dark else "rgb(255, 255, 255)")
        here = (f"http://127.0.0.1:{client.port}/", "blob:")
        assert [address for address in page.fetched if not address.startswith(here)] == []
        refused = [text for text in page.complaints if "422" not in text and "blob:" not in text]
        assert refused == []


@pytest.mark.slow
def test_what_finds_no_room_is_sent_again(folder):
    small = koniq.load("koncept_lite", **SMALL)
    with answering(small, queue=1, max_pictures=1, wait_ms=150) as client:
        with opened(f"http://127.0.0.1:{client.port}/") as page:
            page.until("document.querySelector('#table').textContent")
            page.choose("#files", [folder / "one.jpg", folder / "two.jpg", folder / ODD])
            page.until(DONE.format(3))
            assert page.value("document.querySelectorAll('#scored svg').length") == 3
        assert 'koniq_requests_total{code="429"}' in client.get("/metrics").body.decode()


@pytest.mark.slow
def test_a_token_is_asked_for_once_and_is_in_no_address(folder):
    small = koniq.load("koncept_lite", **SMALL)
    with answering(small, TOKEN, Table(reason="Where it stands is not known.")) as client:
        address = f"http://127.0.0.1:{client.port}/"
        with opened(f"{address}#{TOKEN}") as page:
            page.until("document.querySelector('#table').textContent")
            assert page.value("location.href") == address
            page.choose("#files", [folder / "one.jpg"])
            page.until(DONE.format(1))
            (card,) = page.value(CARDS)
            assert re.search(r"^\d+\.\d$", card, re.MULTILINE)
            assert "Where it stands is not known." in page.value("document.body.innerText")
        with opened(address) as page:
            page.until("!document.querySelector('#ask').hidden")
            assert page.value("document.querySelector('#drop').hidden")
            page.value("document.querySelector('#token').value = 'another'; document.querySelector('#enter').click()")
            page.until("document.querySelector('#problem').textContent.includes('not the server')")
            page.value(f"document.querySelector('#token').value = '{TOKEN}'; document.querySelector('#enter').click()")
            page.until("!document.querySelector('#drop').hidden")
