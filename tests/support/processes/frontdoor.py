"""The collector's own acceptor and protocol in front of a small application, for slow clients.

Limits are fractions of a second.
"""

import asyncio
import contextlib
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import uvicorn
import uvloop
from uvicorn.server import ServerState

from trimtab_collector.acceptor import Acceptor
from trimtab_collector.connections import ConnectionTable, Patience
from trimtab_collector.contract.callers import vouch
from trimtab_collector.serve import bind
from trimtab_collector.timedprotocol import TimedProtocol

__all__ = ["GET", "LARGE", "QUICK", "FrontDoor", "answer", "rest", "serving", "wait_by"]

QUICK = Patience(sweep_s=0.05, head_s=0.4, body_s=0.6, idle_s=0.8, linger_s=0.3, stalled_s=0.6)
LARGE = 32 * 1024 * 1024
GET = b"GET /quick HTTP/1.1\r\nhost: a\r\n\r\n"


class Application:
    """Answers /quick at once, /wait when told to, /large with much, and reads no body of /early.

    /wait/NAME is asked by a caller of that name.
    """

    def __init__(self) -> None:
        self.go = asyncio.Event()
        self.asked = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.asked += 1
        body = b"x" * LARGE if scope["path"] == "/large" else b"ok"
        if scope["path"].startswith("/wait"):
            if caller := scope["path"].removeprefix("/wait").lstrip("/"):
                vouch(scope, caller)
            await self.go.wait()
        elif scope["path"] != "/early":
            while (message := await receive())["type"] == "http.request" and message["more_body"]:
                pass
        length = (b"content-length", b"%d" % len(body))
        await send({"type": "http.response.start", "status": 200, "headers": [length]})
        await send({"type": "http.response.body", "body": body})


class FrontDoor:
    """A server in a thread of its own."""

    def __init__(self, table: ConnectionTable, context: ssl.SSLContext | None) -> None:
        self.table = table
        self._context = context
        self._listener = bind("127.0.0.1", 0)
        self.port = int(self._listener.getsockname()[1])
        self._ready = threading.Event()
        self._thread = threading.Thread(target=lambda: uvloop.run(self._run()))

    async def _run(self) -> None:
        self.app = Application()
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        config = uvicorn.Config(
            self.app, http="httptools", lifespan="off", log_config=None, timeout_keep_alive=75
        )
        config.load()
        self.state = ServerState()

        def made() -> TimedProtocol:
            return TimedProtocol(self.table, config=config, server_state=self.state, app_state={})

        acceptor = Acceptor(self._listener, made, self.table, self._context)
        self._ready.set()
        await self._end.wait()
        acceptor.close()
        await acceptor.wait_closed()
        self.table.stop()
        self.app.go.set()
        for each in list(self.state.connections):
            each.transport.abort()
        while self.state.connections or self.state.tasks or len(self.table):
            await asyncio.sleep(0)
        for _ in range(3):
            await asyncio.sleep(0)  # libuv closes the descriptors a turn later
        self._listener.close()

    def go(self) -> None:
        """Have /wait answer."""
        self._loop.call_soon_threadsafe(self.app.go.set)

    def __enter__(self) -> "FrontDoor":
        self._thread.start()
        assert self._ready.wait(5)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._end.set)
        self._thread.join(10)
        assert not self._thread.is_alive(), "connections are left that were told of no end"

    @contextmanager
    def client(self, sent: bytes = b"", source: str = "127.0.0.1") -> Iterator[socket.socket]:
        """Yield a connection that has sent something."""
        place = ("127.0.0.1", self.port)
        with socket.create_connection(place, timeout=5, source_address=(source, 0)) as opened:
            opened.sendall(sent)
            yield opened


@contextmanager
def serving(
    most: int = 100, patience: Patience = QUICK, context: ssl.SSLContext | None = None
) -> Iterator[FrontDoor]:
    with FrontDoor(ConnectionTable(most, patience), context) as server:
        yield server


def rest(opened: socket.socket) -> bytes:
    """Return all that comes until the other end closes."""
    found = b""
    with contextlib.suppress(ConnectionResetError):
        while piece := opened.recv(65536):
            found += piece
    return found


def answer(opened: socket.socket) -> bytes:
    """Return one answer of two bytes."""
    found = b""
    while not found.endswith(b"ok"):
        piece = opened.recv(65536)
        assert piece, f"the connection ended after {found!r}"
        found += piece
    return found


def wait_by(caller: str) -> bytes:
    """Return a request of a known caller that is answered when the test says so."""
    return f"GET /wait/{caller} HTTP/1.1\r\nhost: a\r\n\r\n".encode()
