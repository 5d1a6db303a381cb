"""A page as a browser shows it: `shown(path)` opens it in headless Chromium, offline, as wide as a telephone.

python tests/helpers/browser.py demo/photos_mos_report/report.html results/lifelog_report.png
"""

import json
import os
import shutil
import subprocess
import sys
import tempfile
from functools import cache
from html import unescape
from pathlib import Path

import pytest
from PIL import Image

FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync"),
    *("--disable-background-networking", "--disable-component-update", "--host-resolver-rules=MAP * ~NOTFOUND"),
)
MODE = {dark: f"--blink-settings=preferredColorScheme={int(not dark)}" for dark in (False, True)}
# The page stands in a frame as wide as a telephone, which a window cannot be, and is measured from around it.
# A word is broken if it stands on two lines; names may break between their parts, and within one that is very long.
# Texts of charts that run out of them, or into each other, are cut; slanted ones stand in boxes that are not theirs.
FRAME = """<!DOCTYPE html><meta charset="utf-8"><iframe style="border: 0; width: WIDTHpx; height: 20000px"></iframe>
<pre></pre><script>
const brokenWords = page => {
  const found = [], walker = page.createTreeWalker(page.body, NodeFilter.SHOW_TEXT);
  for (let node = walker.nextNode(); node; node = walker.nextNode()) {
    const name = node.parentElement.closest(".name, h1");
    for (const word of node.data.matchAll(name ? /[^\\s\\/_=-]+/g : /[^\\s\\/-]+/g)) {
      const range = page.createRange();
      range.setStart(node, word.index);
      range.setEnd(node, word.index + word[0].length);
      const lines = new Set([...range.getClientRects()].map(box => Math.round(box.top)));
      if (lines.size > 1 && !(name && word[0].length > 16)) found.push(word[0]);
    }
  }
  return found;
};
const cutLabels = page => {
  const found = [];
  for (const chart of page.querySelectorAll("svg")) {
    const whole = chart.getBoundingClientRect(), texts = [...chart.querySelectorAll("text")];
    const boxes = texts.map(text => text.getBoundingClientRect());
    texts.forEach((text, n) => {
      const [a, straight] = [boxes[n], text => /rotate\\(-(0|90) /.test(text.getAttribute("transform"))];
      const meets = (b, other) => straight(text) && straight(texts[n + 1 + other])
        && Math.min(a.right, b.right) - Math.max(a.left, b.left) > 1
        && Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top) > 1;
      const out = a.left < whole.left - 1 || a.right > whole.right + 1 || a.bottom > whole.bottom + 1;
      if (out || boxes.slice(n + 1).some(meets)) found.push(text.textContent);
    });
  }
  return found;
};
const light = colour => colour.match(/[\\d.]+/g).slice(0, 3).map(part => part / 255)
  .map(part => part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4)
  .reduce((sum, part, n) => sum + part * [0.2126, 0.7152, 0.0722][n], 0);
const contrast = (...colours) => {
  const [faint, bright] = colours.map(light).sort((a, b) => a - b);
  return (bright + 0.05) / (faint + 0.05);
};
const ground = element => {
  const colour = getComputedStyle(element).backgroundColor;
  return colour === "rgba(0, 0, 0, 0)" ? ground(element.parentElement) : colour;
};
const LETTERS = "h1, h2, h3, p, a, th, td, li, figcaption, .faint, .name, text";
const faintest = page => Math.min(...[...page.body.querySelectorAll(LETTERS)]
  .map(element => contrast(getComputedStyle(element)[element.tagName === "text" ? "fill" : "color"], ground(element))));
const drawn = page => [...new Set([...page.querySelectorAll("svg use, svg path")]
  .flatMap(shape => ["fill", "stroke"].map(name => getComputedStyle(shape)[name])))].filter(paint => paint !== "none");
const frame = document.querySelector("iframe");
frame.onload = async () => {
  const page = frame.contentDocument;
  for (const part of page.querySelectorAll("details")) part.open = true;
  for (const image of page.images) image.loading = "eager";
  const ended = image => image.complete || new Promise(end => (image.onload = image.onerror = end));
  await Promise.all([...page.images].map(ended));
  document.querySelector("pre").textContent = JSON.stringify({
    text: page.body.innerText,
    title: page.title,
    names: [...page.querySelectorAll(".name")].map(name => name.textContent),
    cells: [...page.querySelectorAll(".sheet li")].map(cell => cell.innerText),
    rows: [...page.querySelectorAll("tr")].map(row => [...row.children].map(cell => cell.innerText)),
    headings: [...page.querySelectorAll("h1, h2, h3")].map(heading => [heading.tagName, heading.innerText]),
    links: [...page.querySelectorAll("a")].map(link => link.getAttribute("href")),
    broken: brokenWords(page),
    cut: cutLabels(page),
    scrolled: [...page.querySelectorAll(".wide")].filter(part => part.scrollWidth > part.clientWidth).length,
    ink: getComputedStyle(page.body).color,
    paper: getComputedStyle(page.body).backgroundColor,
    letters: [...new Set([...page.querySelectorAll("svg text")].map(text => getComputedStyle(text).fill))],
    paints: drawn(page).map(paint => [paint, contrast(paint, getComputedStyle(page.body).backgroundColor)]),
    contrast: faintest(page),
    decorated: [...page.querySelectorAll("a")].filter(link => getComputedStyle(link).textDecorationLine !== "none"
      || getComputedStyle(link).color !== getComputedStyle(link.parentElement).color).length,
    cuttable: [...page.querySelectorAll("figure, .sheet, .sheet li, tr")]
      .filter(part => getComputedStyle(part).breakInside !== "avoid").length,
    stretched: [...page.images].filter(image => image.naturalWidth && Math.abs(
      image.width / image.height / (image.naturalWidth / image.naturalHeight) - 1) > 0.05).map(image => image.alt),
    images: [...page.images].map(image => image.naturalWidth),
    width: page.documentElement.scrollWidth,
    scripts: page.scripts.length,
    fetched: frame.contentWindow.performance.getEntriesByType("resource").map(entry => entry.name),
    body_children: [...page.body.children].map(element => element.tagName),
  });
};
frame.srcdoc = PAGE;
</script>"""


@cache
def chromium() -> str:
    """The browser's command; installed on Debian if it is not there, else the test is skipped."""
    names = ("chromium", "chromium-browser", "google-chrome")
    if not any(map(shutil.which, names)) and shutil.which("apt-get") and os.geteuid() == 0:
        subprocess.run(["apt-get", "install", "-y", "-qq", "chromium"], capture_output=True, check=False, timeout=300)
    found = next(filter(None, map(shutil.which, names)), None)
    return found or pytest.skip(f"no browser: none of {', '.join(names)} is there, nor could be installed")


def shown(page: Path, width: int = 390, dark: bool = False) -> dict:
    """What a browser `width` pixels wide, light or dark, makes of a page: see FRAME."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        html = json.dumps(page.read_text(encoding="utf-8")).replace("<", "\\u003c")
        frame = Path(folder, "frame.html")
        frame.write_text(FRAME.replace("WIDTH", str(width)).replace("PAGE", html), encoding="utf-8")
        flags = (*FLAGS, f"--user-data-dir={folder}/profile", "--virtual-time-budget=20000", "--dump-dom", MODE[dark])
        done = subprocess.run(
            [chromium(), *flags, frame.as_uri()], capture_output=True, text=True, check=False, timeout=120
        )
    found = done.stdout.partition("<pre>")[2].partition("</pre>")[0]
    assert found, f"the browser measured nothing: {done.stderr[-500:]}"
    return json.loads(unescape(found))


def photograph(page: Path, png: Path, width: int = 1200, height: int = 1530) -> None:
    """Write the upper part of a page, as a window of `width` x `height` pixels shows it, as PNG of 256 colours."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        shot = Path(folder, "shot.png")
        flags = (*FLAGS, f"--user-data-dir={folder}/profile", f"--window-size={width},{height}", f"--screenshot={shot}")
        command = [chromium(), *flags, "--hide-scrollbars", "--virtual-time-budget=20000", page.resolve().as_uri()]
        subprocess.run(command, capture_output=True, check=True, timeout=120)
        Image.open(shot).convert("RGB").quantize(256, dither=Image.Dither.NONE).save(png, optimize=True)


def printed(page: Path, dark: bool = False) -> bytes:
    """A page as a browser in that mode prints it: PDF."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        flags = (*FLAGS, f"--user-data-dir={folder}/profile", "--no-pdf-header-footer", MODE[dark])
        command = [chromium(), *flags, f"--print-to-pdf={folder}/page.pdf", page.resolve().as_uri()]
        subprocess.run(command, capture_output=True, check=True, timeout=120)
        return Path(folder, "page.pdf").read_bytes()


if __name__ == "__main__":
    photograph(*map(Path, sys.argv[1:3]))
