"""What pages look like in a real browser: narrow and wide, light and dark, on paper."""

import re
import zlib

import numpy as np
import pytest
from browser import printed, shown
from PIL import Image
from scored import write_scores

from koniq.commands import compare, report
from koniq.reports import page

FACTS = {"network": "koncept512", "input_size": [384, 512], "record": {"loss": "plcc", "trained_on": "KonIQ-10k"}}


def scores(folder, name, noise):
    """A CSV of 600 pictures over 25 days, one in ten of which is gone since; two have no score."""
    rng = np.random.default_rng(noise)
    rows = []
    for n in range(600):
        path = f"2015-03-{n % 25 + 1:02}/b{n:08}_21i6bq_201503{n % 25 + 1:02}_{n % 15 + 7:02}0647e.jpg"
        rows.append((path, float(np.clip(20 + 10 * np.log2(n + 1) * 0.8 + rng.normal(0, noise), 0, 100))))
        if n % 10:
            (folder / "pictures" / path).parent.mkdir(parents=True, exist_ok=True)
            Image.new("RGB", (400, 300) if n % 2 else (200, 300), (n % 256, 90, 150)).save(folder / "pictures" / path)
    rows += [("gone.jpg", "missing", "no such file"), ("half.jpg", "truncated", "19 bytes at the end are missing")]
    roots = [str(folder / "pictures")]
    return write_scores(folder / f"{name}.csv", rows, model=f"{name}-mse-b8-384x512-s1", roots=roots, **FACTS)


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """The folders of a report and of a comparison."""
    folder = tmp_path_factory.mktemp("looks")
    a, b = scores(folder, "koniq-10k", 1), scores(folder, "another", 8)
    report.main(report.Settings(a, sheet=12))
    compare.main(compare.Settings(a, b, sheet=12))
    return {"report": folder / "koniq-10k_report", "compare": folder / "koniq-10k_and_another"}


@pytest.fixture(scope="module", params=["report", "compare"])
def folder(made, request):
    return made[request.param]


@pytest.fixture(scope="module")
def modes(folder):
    return {dark: shown(folder / page.PAGE, dark=dark) for dark in (False, True)}


@pytest.mark.parametrize("width", [390, 1280])
def test_no_label_breaks_inside_a_word_and_nothing_runs_out(folder, modes, width):
    seen = modes[False] if width == 390 else shown(folder / page.PAGE, width)
    assert seen["width"] == width
    assert seen["broken"] == []
    assert seen["cut"] == []
    assert seen["stretched"] == []
    assert seen["scrolled"] == 0
    assert len(seen["letters"]) == 1


def test_charts_are_light_or_dark_with_the_page(modes):
    light, dark = modes[False], modes[True]
    assert light["paper"] == "rgb(255, 255, 255)"
    assert light["letters"] == [light["ink"]]
    assert dark["letters"] == [dark["ink"]]
    assert light["text"] == dark["text"]
    for key in ("ink", "paper", "letters"):
        assert light[key] != dark[key]
    for seen in modes.values():
        assert seen["contrast"] >= 4.5
        paints = dict(seen["paints"])
        assert seen["ink"] in paints  # the axes
        assert sum(ratio >= 3 for ratio in paints.values()) >= 3  # and what is drawn on them
    assert {paint for paint, _ in light["paints"]}.isdisjoint(paint for paint, _ in dark["paints"])


def test_links_lead_to_files(folder, modes):
    links = [link for link in modes[False]["links"] if not link.startswith("#")]
    assert links
    assert all((folder / link).is_file() for link in links)


def test_a_comparison_without_thumbnails_has_no_picture(made, tmp_path):
    csvs = [made["report"].with_name(name) for name in ("koniq-10k.csv", "another.csv")]
    compare.main(compare.Settings(*csvs, out=tmp_path / "c", thumbnails=False))
    html = (tmp_path / "c/report.html").read_text()
    assert "<img" not in html
    assert "<a " not in html
    assert {path.name for path in (tmp_path / "c").glob("*.png")} == {
        *("histogram.png", "scatter.png", "bland_altman.png")
    }


def test_pictures_of_a_page_have_words(folder):
    html = (folder / page.PAGE).read_text()
    assert html.count("<svg") == html.count('class="chart" role="img" aria-label="') == 3
    assert all(re.findall(r'<img [^>]*alt="([^"]*)"', html))
    ids = re.findall(r' id="([^"]+)"', html)
    assert len(ids) == len({*ids})
    assert {*re.findall(r'(?:href="|url\()#([^")]+)', html)} <= {*ids}


def test_paper_is_light_in_either_mode(folder):
    light, dark = (drawn(printed(folder / page.PAGE, dark)) for dark in (False, True))
    assert any(b" rg\n" in stream for stream in light)  # a fill colour of a page
    assert light == dark


def test_paper_cuts_no_figure_and_decorates_no_link(folder, modes, tmp_path):
    copy = tmp_path / page.PAGE
    copy.write_text((folder / page.PAGE).read_text().replace("@media print", "@media all"))
    seen = shown(copy, 750)
    assert (seen["decorated"], seen["cuttable"], seen["width"], seen["broken"]) == (0, 0, 750, [])
    assert modes[False]["cuttable"] > 0  # a sheet on a screen


def drawn(pdf):
    """What the pages of a PDF draw."""
    assert pdf.startswith(b"%PDF")
    streams = re.findall(rb"FlateDecode[^>]*>>\s*stream\r?\n(.*?)\r?\nendstream", pdf, re.DOTALL)
    return sorted(zlib.decompress(stream) for stream in streams)
