"""Drives wrapped apps in this process, and a real uvicorn in a thread, against a peer.

`Measured` wraps apps so that they report to its peer; `records(n)` ends the measuring and returns
what arrived, which must be n records and no more. `Clock` stands in for the clock of the wrappers:
apps under test move it themselves, so that durations are exact and nothing waits.
"""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import pytest
import uvicorn

from support.processes.peer import Peer, Seen, running_peer
from support.processes.servers import free_port, wait_for
from trimtab import Middleware, WSGIMiddleware
from trimtab.runtime import flush_all
from trimtab_core.messages import Bye

__all__ = ["Answer", "Measured", "call", "call_wsgi", "measuring", "request", "served"]

Message = dict[str, Any]
Headers = Iterable[tuple[bytes, bytes]]


class Measured:
    """Wraps apps so that they report to `peer`."""

    def __init__(self, peer: Peer) -> None:
        self.peer = peer
        self._settings = {
            "agent": peer.address, "service": "tested", "interval_ms": 20, "gauges": False,
        }  # fmt: skip

    def settings(self, **changes: Any) -> dict[str, Any]:
        """Return settings that lead to the peer."""
        return {**self._settings, **changes}

    def asgi(self, app: Any, **settings: Any) -> Middleware:
        """Wrap an ASGI app."""
        return Middleware(app, **self.settings(**settings))

    def wsgi(self, app: Any, **settings: Any) -> WSGIMiddleware:
        """Wrap a WSGI app."""
        return WSGIMiddleware(app, **self.settings(**settings))

    def records(self, n: int) -> list[Seen]:
        """End the measuring and return the records, of which there must be n."""
        self.peer.wait_records(n)
        byes = len(self.peer.messages(Bye))
        flush_all()
        self.peer.wait_for(Bye, byes + 1)
        found = self.peer.records()
        assert len(found) == n, found
        return found

    def one(self) -> Seen:
        """End the measuring and return the only record."""
        return self.records(1)[0]


@contextmanager
def measuring() -> Iterator[Measured]:
    """Yield a Measured with a running peer; everything is stopped at the end.

    Inside, only an hour after the last byte is work of its own: on a busy machine a thread may
    lose the processor for a millisecond anywhere, and tests count records exactly.
    """
    with pytest.MonkeyPatch.context() as patch, running_peer() as peer:
        patch.setattr("trimtab.endings.BACKGROUND_NS", 3600 * 10**9)
        try:
            yield Measured(peer)
        finally:
            flush_all()


# ---------------------------------------------------------------- ASGI


@dataclass
class Answer:
    """What an app sent, and the exception that left it."""

    messages: list[Message] = field(default_factory=list)
    error: BaseException | None = None
    scope: Message = field(default_factory=dict)

    @property
    def status(self) -> int:
        """The status of the start message, 0 without one."""
        return next((int(m["status"]) for m in self.messages if "status" in m), 0)

    @property
    def headers(self) -> list[tuple[bytes, bytes]]:
        """The headers of the start message, as they were sent."""
        return [tuple(h) for m in self.messages if "status" in m for h in m.get("headers", ())]

    @property
    def body(self) -> bytes:
        """All body bytes."""
        return b"".join(m.get("body", b"") for m in self.messages)

    def header(self, name: bytes) -> list[bytes]:
        """Return every value of a header."""
        return [value for key, value in self.headers if key == name]


async def request(
    app: Any,
    path: str = "/",
    method: str = "GET",
    *,
    headers: Headers = (),
    body: bytes = b"",
    root_path: str = "",
    on_send: Callable[[Message], Awaitable[None]] | None = None,
    events: Iterable[Message] | None = None,
    scope: Mapping[str, Any] | None = None,
) -> Answer:
    """Send one request into an ASGI app and return what came of it.

    events are what the app receives, and then that the client has left; without events it is one
    request with body, and a client that stays. on_send may raise in the app's send.
    """
    answer = Answer()
    answer.scope = {
        "type": "http", "asgi": {"version": "3.0", "spec_version": "2.3"}, "http_version": "1.1",
        "method": method, "scheme": "http", "path": root_path + path,
        "raw_path": (root_path + path).encode(), "query_string": b"", "root_path": root_path,
        "headers": list(headers), "client": ("127.0.0.1", 1), "server": ("127.0.0.1", 80),
        **(scope or {}),
    }  # fmt: skip
    whole = [{"type": "http.request", "body": body, "more_body": False}]
    ahead = iter(whole if events is None else events)

    async def receive() -> Message:
        event = next(ahead, None)
        if event is None and events is None:
            # A client that waits for its answer.
            await asyncio.Event().wait()
        return event or {"type": "http.disconnect"}

    async def send(message: Message) -> None:
        if on_send is not None:
            await on_send(message)
        answer.messages.append(message)

    try:
        await app(answer.scope, receive, send)
    except (Exception, asyncio.CancelledError) as error:
        answer.error = error
    return answer


def call(app: Any, path: str = "/", method: str = "GET", **options: Any) -> Answer:
    """Do `request` in a loop of its own."""
    return asyncio.run(request(app, path, method, **options))


@contextmanager
def served(app: Any, **config: Any) -> Iterator[str]:
    """Serve an app with uvicorn in a thread; yield its `127.0.0.1:port`."""
    port = free_port()
    options = {"host": "127.0.0.1", "port": port, "log_level": "error", **config}
    server = uvicorn.Server(uvicorn.Config(app, **options))
    thread = threading.Thread(target=server.run, name="uvicorn", daemon=True)
    thread.start()
    try:
        wait_for(lambda: server.started or not thread.is_alive(), "uvicorn to serve", 20)
        assert server.started
        yield f"127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive()


# ---------------------------------------------------------------- WSGI


@dataclass
class Started:
    """What an app handed to start_response, and the body it returned."""

    status: str = ""
    headers: list[tuple[str, str]] = field(default_factory=list)
    written: list[bytes] = field(default_factory=list)
    body: Any = None
    parts: list[bytes] = field(default_factory=list)


def call_wsgi(
    app: Any,
    path: str = "/",
    method: str = "GET",
    *,
    take: int | None = None,
    close: bool = True,
    environ: Mapping[str, Any] | None = None,
) -> Started:
    """Call a WSGI app as a server does: take its parts (at most `take`), then close the body."""
    started = Started()

    def start_response(
        status: str, headers: list[tuple[str, str]], exc_info: Any = None
    ) -> Callable[[bytes], None]:
        started.status, started.headers = status, headers
        return started.written.append

    base = {
        "REQUEST_METHOD": method, "SCRIPT_NAME": "", "PATH_INFO": path, "QUERY_STRING": "",
        "SERVER_NAME": "localhost", "SERVER_PORT": "80", "SERVER_PROTOCOL": "HTTP/1.1",
        "wsgi.version": (1, 0), "wsgi.url_scheme": "http", "wsgi.multithread": True,
        "wsgi.multiprocess": False, "wsgi.run_once": False,
    }  # fmt: skip
    body = started.body = app({**base, **(environ or {})}, start_response)
    try:
        for number, part in enumerate(body if take != 0 else ()):
            started.parts.append(part)
            if number + 1 == take:
                break
    finally:
        if close and hasattr(body, "close"):
            body.close()
    return started
