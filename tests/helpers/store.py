"""A store of S3 on the loopback (moto's server), and a server that takes connections and never answers.

`with s3(monkeypatch) as store: store.put("a.jpg", b"...")`: s3://pictures/a.jpg, found by the usual environment.
"""

import logging
import socket
import threading
from contextlib import contextmanager

BUCKET = "pictures"


class Store:
    """One bucket; what is put into it goes past the network. `stop` and `start`: the server, at the same port."""

    def __init__(self):
        from moto.core import DEFAULT_ACCOUNT_ID
        from moto.s3.models import s3_backends

        logging.getLogger("werkzeug").setLevel(logging.ERROR)
        self.backend = s3_backends[DEFAULT_ACCOUNT_ID]["aws"]
        self.server, self.port = None, 0
        self.clear()

    def clear(self):
        self.start()
        self.backend.reset()
        self.backend.create_bucket(BUCKET, "us-east-1")

    def start(self):
        from moto.server import ThreadedMotoServer

        if self.server:
            return
        self.server = ThreadedMotoServer("127.0.0.1", self.port, verbose=False)
        self.server.start()
        self.port = self.server.get_host_and_port()[1]

    def stop(self):
        if self.server:
            self.server.stop()
        self.server = None

    def put(self, key, data, bucket=BUCKET):
        if bucket not in self.backend.buckets:
            self.backend.create_bucket(bucket, "us-east-1")
        self.backend.put_object(bucket, key, data)

    def get(self, key):
        return self.backend.get_object(BUCKET, key).value

    def keys(self):
        return sorted(self.backend.get_bucket(BUCKET).keys)

    def remove(self, key):
        self.backend.delete_object(BUCKET, key)

    def publish(self, key):
        """Let everybody read it."""
        from moto.s3.models import get_canned_acl

        self.backend.put_object_acl(BUCKET, key, get_canned_acl("public-read"))

    def put_folder(self, folder, prefix="", bucket=BUCKET):
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                self.put(prefix + path.relative_to(folder).as_posix(), path.read_bytes(), bucket)


def environment(port):
    """What the environment of a process says to find the store."""
    return {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{port}",
        "AWS_ACCESS_KEY_ID": "somebody",
        "AWS_SECRET_ACCESS_KEY": "something",
        "AWS_DEFAULT_REGION": "us-east-1",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_SHARED_CREDENTIALS_FILE": "/nonexistent",
        "AWS_CONFIG_FILE": "/nonexistent",
        "no_proxy": "127.0.0.1",
    }


_store = None  # one a process: a server takes half a second to stop


@contextmanager
def s3(monkeypatch):
    """The store, empty, where the environment says that it is."""
    from koniq.pictures import in_fsspec

    global _store
    _store = _store or Store()
    _store.clear()
    for name, value in environment(_store.port).items():
        monkeypatch.setenv(name, value)
    in_fsspec._systems.clear()
    try:
        yield _store
    finally:
        in_fsspec._systems.clear()


@contextmanager
def silent(port=0):
    """The port of a server on the loopback that takes connections and says nothing."""
    taken = []
    with socket.create_server(("127.0.0.1", port)) as server:

        def take():
            try:
                while True:
                    taken.append(server.accept()[0])
            except OSError:  # it was closed
                return

        threading.Thread(target=take, daemon=True).start()
        yield server.getsockname()[1]
        server.shutdown(socket.SHUT_RDWR)
        for connection in taken:
            connection.close()
