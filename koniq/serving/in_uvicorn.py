"""The application at its address, by uvicorn, until it is told to end."""

import contextlib
from collections.abc import Callable
from socket import socket

import uvicorn
from starlette.types import ASGIApp

GRACE = 10  # seconds for what is going on when the server ends


class Running(uvicorn.Server):
    """uvicorn on the socket `taken`. ready: called once it answers."""

    def __init__(self, app: ASGIApp, taken: socket, ready: Callable[[], None] = lambda: None):
        config = uvicorn.Config(
            *(app,),
            log_config=None,
            log_level="error",
            access_log=False,  # names of pictures are nobody's but their owner's
            server_header=False,
            proxy_headers=False,
            lifespan="off",
            timeout_graceful_shutdown=GRACE,
        )
        super().__init__(config)
        self.taken, self.ready = taken, ready

    async def startup(self, sockets: list[socket] | None = None) -> None:
        """As uvicorn's own, and then say so."""
        await super().startup(sockets)
        self.ready()

    def serve_there(self) -> None:
        """Answer until `end`, or a signal; Ctrl-C is the usual end of it."""
        with self.taken, contextlib.suppress(KeyboardInterrupt):
            self.run([self.taken])

    def end(self) -> None:
        """Have `serve_there`, in another thread, finish what it is at and return."""
        self.should_exit = True
