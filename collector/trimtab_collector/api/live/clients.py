"""The clients of the live stream: who may come, how they are reached, and when they must go."""

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable, Iterable
from typing import Any, Final

from socketio.async_server import AsyncServer
from socketio.exceptions import ConnectionRefusedError as Refused

from trimtab_collector.api.live.gate import CONNECTION, LiveGate, LiveLoad
from trimtab_collector.api.live.sessions import LiveLimits, LiveSession, PacketQueue
from trimtab_collector.contract.callers import Caller, Role, vouch
from trimtab_collector.contract.errors import ApiError
from trimtab_core.logs import RateLimited, Seldom

__all__ = ["Identify", "LiveClients"]

#: Returns who has a token, and when it ends (epoch seconds, None: never); raises ApiError.
Identify = Callable[[str], tuple[Caller, float | None]]

_LONGEST_TOKEN: Final = 8192
#: packet types of events and acknowledgements with binary parts
_BINARY: Final = ("5", "6")

logger = logging.getLogger("trimtab.live")
_engine_logger: Final = logging.getLogger("trimtab.live.engine")
# Below errors it logs every packet, tokens among them; and what anybody sends makes an error.
_engine_logger.setLevel(logging.ERROR)
_engine_logger.addFilter(Seldom())


class LiveClients:
    """Everybody who is connected; loop only."""

    def __init__(self, identify: Identify, origins: Iterable[str], limits: LiveLimits) -> None:
        self._identify = identify
        self._limits = limits
        self._gate = LiveGate(limits, origins, time.monotonic)
        #: name of a connection in Engine.IO -> who it is
        self._sessions: dict[str, LiveSession] = {}
        #: name of a connection that has not said who it is -> since when
        self._pending: dict[str, float] = {}
        self._stopping = False
        self._log = RateLimited(logger)
        self.sent = 0
        self.dropped = 0
        self._refused = 0
        self.server = self._server()

    @property
    def refused(self) -> int:
        """How many connections, tokens and origins were refused."""
        return self._refused + self._gate.refused

    @property
    def connections(self) -> int:
        """How many connections there are."""
        return max(len(self._sockets), len(self._gate.connections))

    def all(self) -> list[LiveSession]:
        """Return the clients that have shown a token."""
        return list(self._sessions.values())

    def find(self, sid: str) -> LiveSession | None:
        """Return the client of a Socket.IO session."""
        return self._sessions.get(self.server.manager.eio_sid_from_sid(sid, "/") or "")

    async def serve(self, scope: Any, receive: Any, send: Any) -> None:
        """Serve one request or WebSocket."""
        load = LiveLoad(self.connections, self._sessions)
        await self._gate(scope, receive, send, self.server.handle_request, load)

    async def send(self, session: LiveSession, packet: str) -> None:
        """Put a packet in a client's queue; nothing waits for the client."""
        socket = self._sockets.get(session.connection)
        if socket is not None and not socket.closed:
            await self.server.eio.send(session.connection, packet)
            self.sent += 1

    def reads(self, session: LiveSession) -> bool:
        """Return whether a client has taken everything that was sent to it."""
        socket = self._sockets.get(session.connection)
        return socket is None or not socket.queue.qsize()

    async def sweep(self) -> None:
        """Send those away who are gone, do not read, or may not stay."""
        now_s = time.monotonic()
        for connection in list(self._gate.connections):
            if not connection.known and now_s - connection.since_s > self._limits.connect_s:
                connection.cut()
                self._note_dropped("did not say who it is")
        self._pending = {
            sid: self._pending.get(sid, now_s) for sid in self._sockets if sid not in self._sessions
        }
        for sid, socket in list(self._sockets.items()):
            session = self._sessions.get(sid)
            was_closed = socket.closed
            if was_closed or not await socket.check_ping_timeout():
                # Its WebSocket may hang in a write that the client never reads.
                if self._gate.cut(sid) or not was_closed:
                    self._note_dropped("did not answer")
                self._sockets.pop(sid, None)
            elif socket.queue.overflowed or socket.queue.waited_s > self._limits.unread_s:
                await self._drop(sid, "did not read")
            elif session is None:
                if now_s - self._pending.get(sid, now_s) > self._limits.connect_s:
                    await self._drop(sid, "did not say who it is")
            elif session.ended(time.time()) or now_s - session.checked_s > self._limits.check_s:
                await self._check(session)

    async def close_all(self) -> None:
        """Take nobody new, ask everybody to go, and end what is still connected a moment later."""
        self._stopping = True
        for sid in list(self._sockets):
            await self._close(sid)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._gate.empty.wait(), self._limits.stop_s)
        for connection in list(self._gate.connections):
            connection.cut()

    @property
    def _sockets(self) -> Any:
        return self.server.eio.sockets

    def _server(self) -> Any:
        """Return the protocol's server, with our bounds, origins and queues."""
        limits = self._limits
        server = AsyncServer(
            async_mode="asgi",
            # In order, and never more than one: the client waits, and no work piles up here.
            async_handlers=False,
            cors_allowed_origins=lambda origin, environ: self._gate.allows(
                origin, environ["asgi.scope"]
            ),
            cors_credentials=False,
            http_compression=False,
            # Our own sweep looks at each connection every second.
            monitor_clients=False,
            max_http_buffer_size=limits.packet_bytes,
            ping_interval=limits.ping_interval_s,
            ping_timeout=limits.ping_timeout_s,
            logger=_engine_logger,
            engineio_logger=_engine_logger,
        )
        server.eio.create_queue = lambda *_: PacketQueue(limits)
        take = server.eio.handlers["message"]

        async def take_text(sid: str, data: Any) -> None:
            # Parts of a binary event would be kept until all that it announces have come.
            if isinstance(data, str) and data[:1] not in _BINARY:
                try:
                    await take(sid, data)
                except (ValueError, RecursionError):
                    # Broken JSON, or a number of more digits than it reads.
                    await self._drop(sid, "sent what cannot be read")
            else:
                await self._drop(sid, "sent binary data")

        server.eio.on("message", take_text)
        server.on("connect", self._connected)
        server.on("disconnect", self._disconnected)
        return server

    async def _connected(self, sid: str, environ: Any, auth: Any = None) -> None:
        try:
            session = self._session(sid, auth)
        except ApiError as error:
            self._refused += 1
            details = {"code": error.code, "message": error.message, "details": error.details}
            # With one argument a client gets the text of a Python object.
            raise Refused(error.code, details) from error
        self._sessions[session.connection] = session
        vouch(environ["asgi.scope"], session.caller.id)
        connection = environ["asgi.scope"].get(CONNECTION)
        if connection is not None:
            connection.sid = session.connection
        self._note_known(session.connection, known=True)

    def _session(self, sid: str, auth: Any) -> LiveSession:
        """Return a client that may stay; raises ApiError."""
        token = auth.get("token") if isinstance(auth, dict) else None
        if not isinstance(token, str) or not 0 < len(token) <= _LONGEST_TOKEN:
            raise ApiError(
                401, "unauthorized", 'expected a token in the payload, auth: {token: "..."}'
            )
        caller, expires_s = self._caller(token)
        same = sum(each.caller.name == caller.name for each in self._sessions.values())
        if self._stopping or same >= self._limits.per_caller:
            raise ApiError(
                503, "busy", f"{same} connections of this caller are open: try again later"
            )
        connection = self.server.manager.eio_sid_from_sid(sid, "/")
        return LiveSession(sid, connection, caller, token, expires_s, time.monotonic())

    def _caller(self, token: str) -> tuple[Caller, float | None]:
        caller, expires_s = self._identify(token)
        if caller.role.rank < Role.PLANNER.rank:
            raise ApiError(403, "forbidden", f"expected the role planner, got {caller.role.value}")
        if expires_s is not None and expires_s <= time.time():
            raise ApiError(401, "unauthorized", "the token has ended: get another")
        return caller, expires_s

    async def _check(self, session: LiveSession) -> None:
        """Look at a token again, and send its owner away when it is no longer good."""
        try:
            session.caller, session.expires_s = self._caller(session.token)
            session.checked_s = time.monotonic()
        except ApiError:
            # Below Socket.IO: clients then connect again by themselves, with a new token.
            await self._close(session.connection)

    async def _disconnected(self, sid: str, reason: str = "") -> None:
        for connection, session in list(self._sessions.items()):
            if session.sid == sid:
                del self._sessions[connection]
                self._note_known(connection, known=False)

    def _note_known(self, sid: str, *, known: bool) -> None:
        for connection in self._gate.connections:
            if connection.sid == sid:
                connection.known = known
                connection.since_s = time.monotonic()

    def _note_dropped(self, why: str) -> None:
        self.dropped += 1
        self._log.warning(why, "a client of the live stream was cut off: it %s", why)

    async def _drop(self, sid: str, why: str) -> None:
        await self._close(sid)
        self._gate.cut(sid)
        self._note_dropped(why)

    async def _close(self, sid: str) -> None:
        """Ask a connection to end; what waits for it still goes first."""
        socket = self._sockets.get(sid)
        if socket is not None:
            # Waiting for the queue to be empty would be waiting for the client.
            await socket.close(wait=False)
