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
# The page stands in a frame as wide as a telephone, which a window cannot be, and is measured from around it.
FRAME = """<!DOCTYPE html><meta charset="utf-8"><iframe style="border: 0; width: WIDTHpx; height: 20000px"></iframe>
<pre></pre><script>
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


def shown(page: Path, width: int = 390) -> dict:
    """What a browser `width` pixels wide makes of a page: see FRAME."""
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        html = json.dumps(page.read_text(encoding="utf-8")).replace("<", "\\u003c")
        frame = Path(folder, "frame.html")
        frame.write_text(FRAME.replace("WIDTH", str(width)).replace("PAGE", html), encoding="utf-8")
        flags = (*FLAGS, f"--user-data-dir={folder}/profile", "--virtual-time-budget=20000", "--dump-dom")
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


if __name__ == "__main__":
    photograph(*map(Path, sys.argv[1:3]))
