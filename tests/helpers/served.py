"""A web server on the loopback that misbehaves as told: `with served(files) as server: server.url("a.zip", "cut")`."""

import threading
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit
from urllib.request import ProxyHandler, build_opener

PAGE = b"<!DOCTYPE html>\n<html><body>Please sign in</body></html>"


class Server(ThreadingHTTPServer):
    """`files`: name to bytes. `requests`: (path, Range) of each request. Paths are /MANNER/NAME."""

    def __init__(self, files):
        self.files, self.requests, self.released = files, [], threading.Event()
        super().__init__(("127.0.0.1", 0), Handler)

    def url(self, name, manner="well"):
        return f"http://127.0.0.1:{self.server_port}/{manner}/{name}"


class Handler(BaseHTTPRequestHandler):
    def log_message(self, *arguments):
        pass

    def do_GET(self):
        if self.path.startswith("http"):
            return self.forward()
        _, manner, name = urlsplit(self.path).path.split("/", 2)
        wanted = self.headers.get("Range")
        self.server.requests.append((self.path, wanted))
        count = sum(path == self.path for path, _ in self.server.requests)
        if manner.isdigit():
            return self.answer(int(manner), b"sorry")
        if manner == "busy" and count == 1:
            return self.answer(503, b"sorry")
        if manner == "redirect":
            return self.answer(302, b"", Location=self.server.url(name, "cut"))
        if manner == "loop":
            return self.answer(302, b"", Location=self.path)
        if manner == "page":
            return self.answer(200, PAGE)
        body = self.server.files.get(name)
        if body is None:
            return self.answer(404, b"")
        if manner == "other":
            return self.answer(200, bytes(reversed(body)))
        if manner == "hangup" and count == 1:
            return self.close()
        if manner == "stall" and count == 1:  # half of it, and then silence
            self.answer(200, body[: len(body) // 2], length=len(body), ETag='"v1"')
            self.wfile.flush()
            return self.server.released.wait(20)
        if manner == "short":  # says that less is to come than there is
            return self.answer(200, body[:-10])
        if manner == "long":  # says that more is to come than there is
            return self.answer(200, body, length=len(body) + 10)
        if manner == "endless":
            return self.answer(200, body + bytes(2 * len(body)))
        status, start, facts = 200, 0, {}
        if manner != "norange":
            tag = f'"{count}"' if manner == "changing" else '"v1"'
            facts = {} if manner == "untagged" else {"ETag": tag}
            if wanted and self.headers.get("If-Range") in (None, tag):
                start, status = int(wanted.removeprefix("bytes=").removesuffix("-")), 206
                facts["Content-Range"] = f"bytes {start}-{len(body) - 1}/{len(body)}"
                if start >= len(body):
                    return self.answer(416, b"", **{"Content-Range": f"bytes */{len(body)}"})
        cuts = ("cut", "changing", "untagged")
        stop = start + (len(body) - start + 1) // 2 if manner in cuts and count < 4 else len(body)
        stop = len(body) // 2 if manner == "norange" and not name.startswith("whole") else stop
        return self.answer(status, body[start:stop], length=len(body) - start, **facts)

    do_CONNECT = do_GET

    def forward(self):
        """As a proxy: fetch what is asked for and hand it on."""
        self.server.requests.append((self.path, "by proxy"))
        with build_opener(ProxyHandler({})).open(self.path) as response:
            self.answer(200, response.read())

    def answer(self, status, body, length=None, **facts):
        self.send_response(status)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        for name, value in facts.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)
        if length is not None and length > len(body):
            self.close()

    def close(self):
        self.close_connection = True


@contextmanager
def served(files):
    with Server(files) as server:
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield server
        server.released.set()
        server.shutdown()
