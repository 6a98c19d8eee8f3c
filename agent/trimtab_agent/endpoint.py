"""The agent's own HTTP endpoint: /healthz, /readyz and /metrics.

A small HTTP/1.1 server (RFC 9112) that knows GET and HEAD, reads no bodies and closes every
connection after one answer. Bounds: 8 KiB of header, 64 connections (a sixteenth of all files, if
that is less), 5 seconds per request. A connection beyond them takes the place of the oldest one.

A page in a browser can be made to ask an address of this machine by a name of its own (DNS
rebinding), and reads what it gets. So a request must name this machine: by address, as localhost,
by its host name, or by a name of the setting http_hosts; with the token, it may name anything.
"""

import asyncio
import errno
import hmac
import ipaddress
import logging
import os
import socket
from collections.abc import Callable, Iterable
from http import HTTPStatus
from typing import Final, NamedTuple

from trimtab_agent.sockets import ACCEPT, BACKLOG, share_of
from trimtab_core.addresses import bare, host_and_port, is_loopback, joined
from trimtab_core.errors import SettingsError, StartupError
from trimtab_core.exposition import CONTENT_TYPE, MetricFamily, lines
from trimtab_core.logs import RateLimited

__all__ = ["MAX_CONNECTIONS", "MAX_HEADER", "Endpoint"]

MAX_HEADER: Final = 8192
MAX_CONNECTIONS: Final = 64
TIMEOUT_S: Final = 5.0
#: Lines of /metrics between two turns of the event loop: about a millisecond.
_SLICE: Final = 500
_TEXT: Final = "text/plain; charset=utf-8"
#: Headers that decide who may ask; two that differ are no request.
_ONCE: Final = ("host", "authorization")


class _Answer(NamedTuple):
    status: HTTPStatus
    text: str
    content_type: str = _TEXT
    headers: tuple[str, ...] = ()


class Endpoint:
    """Serves `host:port` in the event loop that called `start`.

    `/healthz` answers 200 as long as that loop turns. `/readyz` answers 200 when `ready()` returns
    None, else 503 with the sentence it returns. `/metrics` shows `families()`. When a token is set,
    the request must bear it; without a token `/metrics` is shown on loopback only.
    """

    def __init__(
        self,
        address: str,
        *,
        ready: Callable[[], str | None],
        families: Callable[[], Iterable[MetricFamily]],
        token: str = "",
        hosts: Iterable[str] = (),
    ) -> None:
        self._host, self._port = _parse(address)
        self._ready = ready
        self._families = families
        self.use(token, hosts)
        self._server: asyncio.Server | None = None
        #: the oldest first
        self._tasks: dict[asyncio.Task[None], None] = {}
        self._log = RateLimited(logging.getLogger("trimtab.endpoint"))
        #: connections closed for others because there were too many
        self.displaced = 0

    def use(self, token: str, hosts: Iterable[str]) -> None:
        """Ask for another bearer token (empty for none), and answer to other names."""
        self._token = token
        self._open = is_loopback(self._host) and not token
        self._hosts = frozenset(map(str.lower, hosts))

    @property
    def port(self) -> int:
        """The port listened on; for an address with port 0 it is known after `start`."""
        if self._server is None:
            return self._port
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def start(self) -> None:
        """Listen; raises StartupError when the address cannot be had."""
        try:
            self._server = await asyncio.start_server(
                self._connected, self._host, self._port, limit=MAX_HEADER, backlog=ACCEPT
            )
            for each in self._server.sockets:
                # asyncio takes one number for this and for accepting.
                with socket.socket(fileno=os.dup(each.fileno())) as again:
                    again.listen(BACKLOG)
        except OSError as error:
            busy = error.errno == errno.EADDRINUSE
            cause = "another process listens there" if busy else error.strerror or str(error)
            raise StartupError(
                f"expected to serve HTTP on {joined(self._host, self._port)}, but {cause}; stop "
                f"that process or set another address (http, TRIMTAB_AGENT_HTTP)"
            ) from error

    async def stop(self) -> None:
        """Stop listening and close every connection. May be called twice."""
        if self._server is None:
            return
        self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        self._server = None

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101 - a callback of the server runs as a task
        if len(self._tasks) >= share_of(MAX_CONNECTIONS, 16):
            oldest = next(iter(self._tasks))
            del self._tasks[oldest]
            oldest.cancel()
            self.displaced += 1
            sentence = "connections=%d are as many as may be: the oldest is closed for the next"
            self._log.warning("displaced", sentence, len(self._tasks) + 1)
        self._tasks[task] = None
        try:
            async with asyncio.timeout(TIMEOUT_S):
                await self._serve(reader, writer)
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.CancelledError):
            # The client left, was too slow, or the agent stops: all of them end the task.
            pass
        finally:
            self._tasks.pop(task, None)
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        method = ""
        try:
            head = await reader.readuntil(b"\r\n\r\n")
        except asyncio.LimitOverrunError:
            answer = _Answer(
                HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE,
                f"expected at most {MAX_HEADER} bytes of request header\n",
            )
        else:
            method, target, headers = _parse_head(head)
            answer = await self._answer(method, target, headers)
        body = answer.text.encode()
        head_lines = (
            f"HTTP/1.1 {answer.status.value} {answer.status.phrase}",
            f"Content-Type: {answer.content_type}",
            f"Content-Length: {len(body)}",
            "Cache-Control: no-store",
            "X-Content-Type-Options: nosniff",
            "Connection: close",
            *answer.headers,
        )
        writer.write("\r\n".join(head_lines).encode() + b"\r\n\r\n")
        if method != "HEAD":
            writer.write(body)
        await writer.drain()
        writer.write_eof()
        # Closing with bytes unread resets the connection, and the answer with it.
        while await reader.read(MAX_HEADER):
            pass

    async def _answer(self, method: str, target: str, headers: dict[str, str]) -> _Answer:
        if not method:
            return _Answer(HTTPStatus.BAD_REQUEST, "expected an HTTP/1.1 request\n")
        if method not in ("GET", "HEAD"):
            return _Answer(
                HTTPStatus.METHOD_NOT_ALLOWED,
                "expected GET or HEAD\n",
                headers=("Allow: GET, HEAD",),
            )
        if not self._is_own(headers.get("host", "")) and not self._bears_token(headers):
            return _Answer(
                HTTPStatus.MISDIRECTED_REQUEST,
                f"expected a request for this machine, got one for {headers['host']!r:.80}: ask by "
                "address, or name it in the agent's setting http_hosts\n",
            )
        path = target.partition("?")[0]
        if path == "/healthz":
            return _Answer(HTTPStatus.OK, "ok\n")
        try:
            if path == "/readyz":
                why = self._ready()
                if why is None:
                    return _Answer(HTTPStatus.OK, "ready\n")
                return _Answer(HTTPStatus.SERVICE_UNAVAILABLE, f"{why}\n")
            if path == "/metrics":
                return await self._metrics(headers)
        except Exception as error:  # noqa: BLE001 - one bad answer must not end the endpoint
            self._log.warning(path, "%s failed: %r", path, error)
            return _Answer(HTTPStatus.INTERNAL_SERVER_ERROR, "failed, see the agent's log\n")
        return _Answer(HTTPStatus.NOT_FOUND, "expected /healthz, /readyz or /metrics\n")

    def _is_own(self, host: str) -> bool:
        """Tell whether the header Host names this machine; none is of no browser."""
        parts = host_and_port(host)
        name = bare(parts[0] if parts else host).lower().rstrip(".")
        own = ("", "localhost", self._host.lower(), os.uname().nodename.lower())
        if name in own or name.endswith(".localhost") or name in self._hosts:
            return True
        try:
            ipaddress.ip_address(name)
        except ValueError:
            return False
        return True

    def _bears_token(self, headers: dict[str, str]) -> bool:
        scheme, _, given = headers.get("authorization", "").partition(" ")
        right = hmac.compare_digest(given.strip().encode(), self._token.encode())
        return bool(self._token) and scheme.lower() == "bearer" and right

    async def _metrics(self, headers: dict[str, str]) -> _Answer:
        if not self._open and not self._bears_token(headers):
            return _Answer(
                HTTPStatus.UNAUTHORIZED,
                "expected the agent's HTTP token as a bearer token; off loopback one must be set\n",
                headers=("WWW-Authenticate: Bearer",),
            )
        shown = []
        for number, line in enumerate(lines(self._families()), 1):
            shown.append(line)
            if not number % _SLICE:
                await asyncio.sleep(0)
        shown.append("")
        return _Answer(HTTPStatus.OK, "\n".join(shown), CONTENT_TYPE)


def _parse(address: str) -> tuple[str, int]:
    found = host_and_port(address)
    if found is None:
        raise SettingsError(
            f"expected an HTTP address as host:port or [IPv6]:port, got {address!r}"
        )
    return found


def _parse_head(head: bytes) -> tuple[str, str, dict[str, str]]:
    """Return method, target and headers by lower-case name; an empty method when malformed."""
    request, *fields = head.decode("latin-1").split("\r\n")
    parts = request.split(" ")
    if len(parts) != 3 or not parts[0].isalpha() or not parts[2].startswith("HTTP/1."):
        return "", "", {}
    headers: dict[str, str] = {}
    for line in fields:
        name, _, value = line.partition(":")
        if (
            headers.setdefault(name.lower(), value.strip()) != value.strip()
            and name.lower() in _ONCE
        ):
            return "", "", {}
    return parts[0], parts[1], headers
