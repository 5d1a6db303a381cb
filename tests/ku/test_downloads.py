"""Archives from a server of this machine."""

import io
import tarfile
import threading
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import pytest

from ku.downloads import download_archive

pytestmark = pytest.mark.any_backend


def make_archive(path, members: dict[str, bytes]):
    if path.suffix == ".zip":
        with zipfile.ZipFile(path, "w") as file:
            for name, data in members.items():
                file.writestr(name, data)
    else:
        with tarfile.open(path, f"w:{path.suffix.lstrip('.').replace('tgz', 'gz').replace('tar', '')}") as file:
            for name, data in members.items():
                member = tarfile.TarInfo(name)
                member.size = len(data)
                file.addfile(member, io.BytesIO(data))


class Handler(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass

    def send_header(self, keyword, value):
        short = keyword == "Content-Length" and "short" in self.path
        super().send_header(keyword, str(int(value) + 1) if short else value)


@pytest.fixture
def server(tmp_path):
    """A folder, and the address under which its files are served."""
    folder = tmp_path / "served"
    folder.mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Handler, directory=folder)) as http:
        thread = threading.Thread(target=http.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield folder, f"http://127.0.0.1:{http.server_port}"
        http.shutdown()
        thread.join()


@pytest.mark.parametrize("name", ["a.zip", "a.tar", "a.tar.gz", "a.tgz", "a.tar.xz", "a%20b.zip?download=1"])
def test_download_archive(server, tmp_path, name):
    folder, url = server
    make_archive(folder / name.replace("%20", " ").removesuffix("?download=1"), {"in/x.txt": b"x", "y.txt": b"y"})
    data = download_archive(f"{url}/{name}", tmp_path / "data")
    assert sorted(str(p.relative_to(data)) for p in data.rglob("*") if p.is_file()) == ["in/x.txt", "y.txt"]
    assert (data / "in" / "x.txt").read_bytes() == b"x"


def test_download_archive_keeps_and_uses_its_cache(server, tmp_path):
    folder, url = server
    make_archive(folder / "served", {"x": b"1"})
    download = partial(download_archive, f"{url}/served", cache_root=tmp_path / "cache", archive_type="tar")
    download(tmp_path / "one", delete_archive=False)
    (folder / "served").unlink()
    assert (download(tmp_path / "two") / "x").read_bytes() == b"1"
    assert not list((tmp_path / "cache").iterdir())
    with pytest.raises(OSError, match="404"):
        download(tmp_path / "three")


@pytest.mark.parametrize("name", ["a.zip", "a.tar"])
def test_download_archive_refuses_to_leave_its_folder(server, tmp_path, name):
    folder, url = server
    make_archive(folder / name, {"../escaped.txt": b"x"})
    with pytest.raises(ValueError, match=r"Received: member='\.\./escaped\.txt'"):
        download_archive(f"{url}/{name}", tmp_path / "data")
    assert not (tmp_path / "escaped.txt").exists()


def test_download_archive_refuses_what_is_short_or_no_archive(server, tmp_path):
    folder, url = server
    make_archive(folder / "short.zip", {"x": b"1"})
    (folder / "page.zip").write_text("<html>sorry</html>")
    with pytest.raises(OSError, match="should have"):
        download_archive(f"{url}/short.zip", tmp_path / "data")
    with pytest.raises(ValueError, match="should lead to a zip or tar archive"):
        download_archive(f"{url}/page.zip", tmp_path / "data")
    assert not list((tmp_path / "data").iterdir())
    with pytest.raises(ValueError, match="archive_type=None"):
        download_archive(f"{url}/page.html", tmp_path / "data")
