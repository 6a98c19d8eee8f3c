"""The way into the live stream: who may open a connection, and how it is ended.

Engine.IO knows no bound on connections, and no end for a client that does not read. Both are here,
in front of it, on the level of ASGI.
"""

import asyncio
import logging
import math
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from typing import Any, Final, NamedTuple
from urllib.parse import parse_qs, urlsplit

from trimtab_collector.api.live.sessions import LiveConnection, LiveLimits, LiveSession
from trimtab_collector.contract.callers import vouch
from trimtab_collector.contract.errors import JSON_HEADERS, ApiError, failure
from trimtab_core.addresses import network_of
from trimtab_core.logs import RateLimited

__all__ = ["CONNECTION", "CUT", "LiveGate", "LiveLoad"]

logger = logging.getLogger("trimtab.live")

_LiveScope = dict[str, Any]
_LiveReceive = Callable[[], Awaitable[dict[str, Any]]]
_LiveSend = Callable[[dict[str, Any]], Awaitable[None]]
_LiveHandle = Callable[[_LiveScope, _LiveReceive, _LiveSend], Awaitable[Any]]

#: the server's own end of a connection, in the state of a scope
CUT: Final = "trimtab.cut"
#: where the scope of a WebSocket keeps its LiveConnection
CONNECTION: Final = "trimtab.connection"
#: requests of one polling client at a time: one that waits, one that it replaces, one that sends
_POLLS: Final = 3
#: addresses that are counted at a time
_ADDRESSES: Final = 10_000
_FORBIDDEN: Final = "forbidden_origin"
#: characters of a stranger's header in a line of the log
_SAID: Final = 120
_HEADERS: Final = [pair for pair in JSON_HEADERS if pair[0] != b"content-type"]


class LiveLoad(NamedTuple):
    """How many connections there are, and by name those that have said who they are."""

    connections: int
    known: Mapping[str, LiveSession]


class LiveGate:
    """Lets connections in and knows how many there are; loop only."""

    def __init__(
        self, limits: LiveLimits, origins: Iterable[str], clock: Callable[[], float]
    ) -> None:
        """Allow pages of the collector's own origin, and those of origins (scheme://host:port)."""
        self._limits = limits
        self._origins = frozenset(filter(None, map(_origin, origins)))
        self._clock = clock
        self.connections: set[LiveConnection] = set()
        self.empty = asyncio.Event()
        self.empty.set()
        self._polls: Counter[str] = Counter()
        #: client, by its network -> new connections since `_since_s`
        self._handshakes: Counter[str] = Counter()
        self._since_s = 0.0
        self.refused = 0
        self._log = RateLimited(logger)

    async def __call__(
        self,
        scope: _LiveScope,
        receive: _LiveReceive,
        send: _LiveSend,
        handle: _LiveHandle,
        load: LiveLoad,
    ) -> None:
        """Hand a request or a connection on to handle, or refuse it."""
        sid = _sid(scope)
        try:
            self._check(scope, sid, load)
        except ApiError as error:
            self.refused += 1
            if error.code == _FORBIDDEN:
                self._say_forbidden(scope)
            await _refuse(scope, receive, send, error)
            return
        session = load.known.get(sid)
        if session is not None:
            vouch(scope, session.caller.id)
        if scope["type"] == "websocket":
            await self._socket(scope, receive, send, handle, sid, known=sid in load.known)
        else:
            await self._poll(scope, receive, send, handle, sid)

    def allows(self, origin: str, scope: _LiveScope) -> bool:
        """Return whether a page of an origin may use the stream."""
        scheme = {"ws": "http", "wss": "https"}.get(scope["scheme"], scope["scheme"])
        host = _header(scope, b"host")
        page = _origin(origin)
        return page in self._origins or (page != "" and page == _origin(f"{scheme}://{host}"))

    def cut(self, sid: str) -> bool:
        """End the WebSocket of a connection at once; return whether it has one."""
        found = [each for each in self.connections if each.sid == sid]
        for connection in found:
            connection.cut()
        return bool(found)

    def _check(self, scope: _LiveScope, sid: str, load: LiveLoad) -> None:
        origin = _header(scope, b"origin")
        if origin and not self.allows(origin, scope):
            raise ApiError(
                403,
                _FORBIDDEN,
                f"expected a page of this collector, got one of {origin!r:.120}: name it in the "
                "setting allowed_origins",
            )
        if sid:
            if self._polls[sid] >= _POLLS:
                raise ApiError(
                    429, "too_many_tries", "expected one request after the other, got several"
                )
            return
        self._note_handshake(scope)
        pending = load.connections - len(load.known)
        if load.connections >= self._limits.connections or pending >= self._limits.pending:
            raise ApiError(
                503,
                "busy",
                f"{load.connections} clients are connected already: try again later",
                headers={"Retry-After": "5"},
            )

    def _say_forbidden(self, scope: _LiveScope) -> None:
        """Log once a minute what keeps a page from the stream: mostly a proxy that names itself."""
        self._log.warning(
            _FORBIDDEN,
            "refused the live stream to a page of %r, whose request names the host %r: let the "
            "proxy in front pass the Host header on unchanged (if it ends TLS, name it in "
            "trusted_proxies), or name the page's origin in the setting allowed_origins",
            _header(scope, b"origin")[:_SAID],
            _header(scope, b"host")[:_SAID],
        )

    def _note_handshake(self, scope: _LiveScope) -> None:
        """Count a new connection; raises ApiError 429 for too many of one address."""
        now_s = self._clock()
        if now_s - self._since_s > self._limits.connect_s:
            self._since_s = now_s
            self._handshakes.clear()
        client: tuple[str, ...] = scope.get("client") or ("",)
        address = network_of(client[0])
        count = self._handshakes[address]
        if count >= self._limits.handshakes or len(self._handshakes) > _ADDRESSES:
            raise ApiError(
                429,
                "too_many_tries",
                "expected fewer new connections of one address: try again later",
                headers={"Retry-After": str(math.ceil(self._limits.connect_s))},
            )
        self._handshakes[address] = count + 1

    async def _poll(
        self,
        scope: _LiveScope,
        receive: _LiveReceive,
        send: _LiveSend,
        handle: _LiveHandle,
        sid: str,
    ) -> None:
        started = False

        async def sending(message: dict[str, Any]) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message = {**message, "headers": [*message.get("headers", ()), *_HEADERS]}
            await send(message)

        self._polls[sid] += 1
        try:
            async with asyncio.timeout(self._limits.ping_interval_s + self._limits.ping_timeout_s):
                await handle(scope, receive, sending)
        except TimeoutError:
            if not started:
                late = ApiError(
                    408, "request_timeout", "expected a whole request in time, got a part"
                )
                await _refuse(scope, receive, send, late)
        finally:
            self._polls[sid] -= 1
            if not self._polls[sid]:
                del self._polls[sid]

    async def _socket(
        self,
        scope: _LiveScope,
        receive: _LiveReceive,
        send: _LiveSend,
        handle: _LiveHandle,
        sid: str,
        *,
        known: bool,
    ) -> None:
        task = asyncio.current_task()
        # A server that hands over no end of its own: then the task ends.
        own: Callable[[], object] | None = scope.get("state", {}).get(CUT)
        connection = LiveConnection(
            own or (task.cancel if task else lambda: None), self._clock(), sid, known=known
        )
        scope[CONNECTION] = connection

        async def receiving() -> dict[str, Any]:
            message = await receive()
            if not connection.known and message["type"] == "websocket.receive":
                connection.packets += 1
                if connection.packets > self._limits.pending_packets:
                    connection.cut()
            return message

        self.connections.add(connection)
        self.empty.clear()
        try:
            await handle(scope, receiving, send)
        finally:
            self.connections.discard(connection)
            if not self.connections:
                self.empty.set()


def _origin(url: str) -> str:
    """Return scheme, host and port of an address as browsers state them, empty for none."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return ""
    if parts.scheme not in ("http", "https") or not parts.hostname:
        return ""
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    usual = {"http": 80, "https": 443}[parts.scheme]
    return f"{parts.scheme}://{host}" + (f":{port}" if port and port != usual else "")


def _header(scope: _LiveScope, name: bytes) -> str:
    headers: Iterable[tuple[bytes, bytes]] = scope["headers"]
    return next((value.decode("latin-1") for key, value in headers if key == name), "")


def _sid(scope: _LiveScope) -> str:
    text: bytes = scope.get("query_string", b"")
    query = parse_qs(text.decode("latin-1"))
    return query.get("sid", [""])[0]


async def _refuse(
    scope: _LiveScope, receive: _LiveReceive, send: _LiveSend, error: ApiError
) -> None:
    """Answer with a refusal as the API has it."""
    headers = [
        *JSON_HEADERS,
        *((name.lower().encode(), text.encode()) for name, text in error.headers.items()),
    ]
    kind = "http.response"
    if scope["type"] == "websocket":
        await receive()
        if "websocket.http.response" not in scope.get("extensions", {}):
            await send({"type": "websocket.close", "code": 1013})
            return
        kind = "websocket.http.response"
    await send({"type": f"{kind}.start", "status": error.status, "headers": headers})
    await send({"type": f"{kind}.body", "body": failure(error)})
