"""A page in headless Chromium that is used as a person does, by the DevTools protocol over a pipe.

with opened("http://127.0.0.1:8512/") as page: page.choose("#files", [path]); page.until("...", 10)
"""

import base64
import json
import os
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from browser import FLAGS, MODE, chromium

OFFLINE = "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1"  # but for a server of the tests


class Page:
    """A page, and what it fetched and complained of."""

    def __init__(self, given: int, answers: int):
        self.given, self.answers, self.number, self.rest = given, answers, 0, b""
        self.session, self.fetched, self.complaints = None, [], []

    def call(self, method: str, **how: object) -> dict:
        """What a method of the protocol gives."""
        self.number += 1
        about = {"sessionId": self.session} if self.session else {}
        message = json.dumps({"id": self.number, "method": method, "params": how, **about})
        os.write(self.given, message.encode() + b"\0")
        while True:
            said = self._next()
            if said.get("id") == self.number:
                assert "error" not in said, said
                return said["result"]
            self._note(said)

    def _next(self) -> dict:
        while b"\0" not in self.rest:
            more = os.read(self.answers, 1 << 16)
            assert more, "the browser is gone"
            self.rest += more
        message, _, self.rest = self.rest.partition(b"\0")
        return json.loads(message)

    def _note(self, said: dict) -> None:
        method, params = said.get("method"), said.get("params", {})
        if method == "Network.requestWillBeSent":
            self.fetched.append(params["request"]["url"])
        elif method == "Runtime.exceptionThrown":
            self.complaints.append(params["exceptionDetails"]["text"])
        elif method == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.complaints.append(params["entry"]["text"])

    def value(self, expression: str) -> object:
        """What an expression of JavaScript is on the page."""
        found = self.call("Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def until(self, expression: str, seconds: float = 30) -> object:
        """The value of an expression once that is true."""
        end = time.monotonic() + seconds
        while not (found := self.value(expression)):
            assert time.monotonic() < end, f"{expression} is not: {self.value('document.body.innerText')}"
            time.sleep(0.05)
        return found

    def photograph(self, png: Path) -> None:
        """Write the page as it is seen as PNG."""
        shot = self.call("Page.captureScreenshot", format="png", captureBeyondViewport=True)
        png.write_bytes(base64.b64decode(shot["data"]))

    def choose(self, selector: str, files: Sequence[Path]) -> None:
        """Put files into an <input type=file>, as a person chooses them."""
        root = self.call("DOM.getDocument")["root"]["nodeId"]
        node = self.call("DOM.querySelector", nodeId=root, selector=selector)["nodeId"]
        self.call("DOM.setFileInputFiles", nodeId=node, files=[str(path) for path in files])

    def drop(self, selector: str, files: Sequence[Path]) -> None:
        """Drop files onto an element."""
        box = f"(() => {{ const b = document.querySelector('{selector}').getBoundingClientRect();"
        x, y = self.value(f"{box} return [b.left + b.width / 2, b.top + 9]; }})()")
        data = {"items": [], "files": [str(path) for path in files], "dragOperationsMask": 1}
        for kind in ("dragEnter", "dragOver", "drop"):
            self.call("Input.dispatchDragEvent", type=kind, x=x, y=y, data=data)


@contextmanager
def opened(address: str, width: int = 390, dark: bool = False) -> Iterator[Page]:
    """A page at an address, in a browser as wide as a telephone."""
    (to_browser, given), (answers, from_browser) = os.pipe(), os.pipe()
    flags = [flag for flag in FLAGS if not flag.startswith("--host-resolver-rules")]
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        command = [chromium(), *flags, OFFLINE, MODE[dark], f"--user-data-dir={folder}", "--remote-debugging-pipe"]
        # The browser reads from 3 and writes to 4.
        shell = f'exec "$@" 3<&{to_browser} 4>&{from_browser}'
        process = subprocess.Popen(
            ["bash", "-c", shell, "browser", *command, "about:blank"],
            pass_fds=(to_browser, from_browser),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_browser)
        os.close(from_browser)
        try:
            page = Page(given, answers)
            target = page.call("Target.createTarget", url="about:blank")["targetId"]
            page.session = page.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
            for domain in ("Page", "Runtime", "DOM", "Network", "Log"):
                page.call(f"{domain}.enable")
            size = {"width": width, "height": 800, "deviceScaleFactor": 1, "mobile": False}
            page.call("Emulation.setDeviceMetricsOverride", **size)
            page.call("Page.navigate", url=address)
            here = json.dumps(address.partition("#")[0])
            page.until(f"location.href.startsWith({here}) && document.readyState == 'complete'")
            yield page
        finally:
            process.terminate()
            process.wait(20)
            os.close(given)
            os.close(answers)
