"""Connections to the collector: how many there may be, and how long each may keep it waiting.

uvicorn's protocol waits for ever for a request to begin, for its headers to end and for a client to
read, and keeps headers of any length. Here each of these has a limit, checked once a second. When
all places are taken, the connections that have been silent the longest make room, so that those who
open many and say nothing keep nobody out.
"""

import array
import asyncio
import contextlib
import enum
import fcntl
import logging
import resource
import termios
import time
from collections.abc import Callable
from http import HTTPStatus
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from trimtab_collector.contract.callers import Caller
from trimtab_collector.contract.errors import ApiError, failure
from trimtab_collector.contract.health import ConnectionHealth, HealthPart
from trimtab_core.logs import RateLimited

__all__ = [
    "MOST_HEAD",
    "MOST_TARGET",
    "ConnectionTable",
    "Patience",
    "Phase",
    "TimedProtocol",
    "answer_of",
    "most_connections",
]

logger = logging.getLogger("trimtab.connections")

#: bytes of a request line and its headers, and of the target in it
MOST_HEAD: Final = 32 * 1024
MOST_TARGET: Final = 8 * 1024
#: time for the last bytes of an idle connection when the collector stops
_GOODBYE_S: Final = 0.5
#: when all places are taken, this share of them is made free at once
_ROOM: Final = 64
#: descriptors kept for everything but connections: the store's files, logs, channels
_RESERVE: Final = 512


class Phase(enum.Enum):
    """What a connection is waiting for."""

    SHAKING = "the end of the TLS handshake"
    HEAD = "a request and the end of its headers"
    BODY = "the end of a request's body"
    ANSWERING = "the answer to a request"
    IDLE = "the next request"
    LINGERING = "the rest of a body that was answered already"
    CLOSING = "the client to take the last answer"
    UPGRADED = "nothing: it speaks another protocol"


class Patience:
    """How long a connection may stay in each phase, in seconds; None: for ever."""

    def __init__(
        self,
        *,
        sweep_s: float = 1.0,
        head_s: float = 10.0,
        body_s: float = 40.0,
        idle_s: float = 75.0,
        linger_s: float = 5.0,
        stalled_s: float = 30.0,
    ) -> None:
        #: time between two looks at all connections
        self.sweep_s = sweep_s
        self.of: dict[Phase, float | None] = {
            Phase.SHAKING: head_s,
            Phase.HEAD: head_s,
            Phase.BODY: body_s,
            Phase.ANSWERING: None,
            Phase.IDLE: idle_s,
            Phase.LINGERING: linger_s,
            Phase.CLOSING: linger_s,
            Phase.UPGRADED: None,
        }
        #: without the client taking a byte of what is sent
        self.stalled_s = stalled_s


#: who makes room first
_RANKS: Final = {
    Phase.SHAKING: 0,
    Phase.HEAD: 0,
    Phase.CLOSING: 0,
    Phase.LINGERING: 1,
    Phase.IDLE: 2,
}


def most_connections(wanted: int) -> int:
    """Return how many connections there are descriptors for, at most wanted.

    Raises the soft limit of this process for them, as far as the hard limit allows.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    enough = wanted + _RESERVE
    if soft == resource.RLIM_INFINITY or soft >= enough:
        return wanted
    soft = enough if hard == resource.RLIM_INFINITY else min(enough, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    found = max(16, min(wanted, soft - _RESERVE))
    if found < wanted:
        logger.warning(
            "only %s of max_connections=%s can be open: this process may open %s files; raise that "
            "limit (ulimit -n, LimitNOFILE=)",
            found, wanted, soft,
        )  # fmt: skip
    return found


class ConnectionTable:
    """The connections of a collector; loop only, but for the counts."""

    def __init__(
        self,
        most: int,
        patience: Patience | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        #: may be changed at any time
        self.most = most
        self.patience = patience or Patience()
        self.clock = clock
        self._held: set[TimedProtocol] = set()
        self._timer: asyncio.TimerHandle | None = None
        self._log = RateLimited(logger)
        #: closed because they kept the collector waiting
        self.timed_out = 0
        #: closed to make room for others
        self.displaced = 0
        #: closed at once because there was no room
        self.refused = 0
        #: whose TLS handshake failed
        self.failed_handshakes = 0

    def __len__(self) -> int:
        return len(self._held)

    def admit(self, protocol: "TimedProtocol") -> bool:
        """Give a new connection a place; False when all are taken by requests being answered."""
        if len(self._held) >= self.most and not self.make_room():
            self.refused += 1
            self._log.warning("full", "connections=%d: no room for another", len(self._held))
            return False
        self._held.add(protocol)
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self.patience.sweep_s, self._sweep)
        return True

    def left(self, protocol: "TimedProtocol") -> None:
        """Forget a connection that has ended."""
        self._held.discard(protocol)

    def make_room(self) -> int:
        """Close some connections that wait for their client; returns how many."""
        waiting = [each for each in self._held if each.phase in _RANKS]
        waiting.sort(key=lambda each: (_RANKS[each.phase], each.since_s))
        gone = waiting[: max(1, self.most // _ROOM)]
        for each in gone:
            each.cut()
            self.left(each)
        self.displaced += len(gone)
        if gone:
            self._log.warning(
                "displaced",
                "connections=%d are as many as may be: the silent ones are closed",
                self.most,
            )
        return len(gone)

    def health(self, _caller: Caller) -> HealthPart:
        """Return how many there are and were; any thread."""
        body = ConnectionHealth(
            open=len(self._held),
            most=self.most,
            timed_out=self.timed_out,
            displaced=self.displaced,
            refused=self.refused,
            failed_handshakes=self.failed_handshakes,
        )
        return HealthPart(body)

    def stop(self) -> None:
        """End the checks; what is open stays open."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _sweep(self) -> None:
        now_s = self.clock()
        for each in list(self._held):
            if each.phase is Phase.UPGRADED and each.transport.is_closing():
                # Its other protocol is told of its end, not this one.
                self.left(each)
            elif each.is_overdue(now_s, self.patience):
                self.timed_out += each.phase is not Phase.CLOSING
                each.give_up()
        loop = asyncio.get_running_loop()
        self._timer = loop.call_later(self.patience.sweep_s, self._sweep) if self._held else None


class TimedProtocol(HttpToolsProtocol):
    """uvicorn's protocol that knows since when it waits for its client, and bounds headers."""

    def __init__(self, table: ConnectionTable, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._table = table
        self.phase = Phase.SHAKING
        #: when that phase began
        self.since_s = table.clock()
        #: the TLS handshake, cancelled if it is given up. Without TLS there is none: uvloop closes
        #: a connection that is cancelled while it is made, and tells nobody
        self.shaking: asyncio.Task[None] | None = None
        self._unwanted = False
        self._head_bytes = 0
        #: whether the parser is within a head, maybe of a request that waits for the one before it
        self._in_head = True
        self._may_be_long = False
        self._refusal: HTTPStatus | None = None
        #: how much was left to send at the last check, and since when
        self._unsent = (0, 0.0)

    # ------------------------------------------------------------ for the table

    def is_overdue(self, now_s: float, patience: Patience) -> bool:
        """Tell whether the client has been waited for long enough."""
        if self.phase not in (Phase.SHAKING, Phase.UPGRADED):
            unsent = _unsent(self.transport)
            if unsent != self._unsent[0]:
                self._unsent = (unsent, now_s)
            if unsent:
                # It is still reading what it asked for, or not.
                return now_s - self._unsent[1] > patience.stalled_s
        limit_s = patience.of[self.phase]
        if self.phase is Phase.BODY and self.flow.read_paused:
            limit_s = None  # it is the app that does not read
        return limit_s is not None and now_s - self.since_s > limit_s

    def give_up(self) -> None:
        """Close a connection that is overdue; say why where a request had begun."""
        if self.phase is Phase.HEAD and self._head_bytes and self._free():
            self._refuse(HTTPStatus.REQUEST_TIMEOUT)
        else:
            self.cut()

    def cut(self) -> None:
        """Close the connection at once."""
        if self.transport is not None:
            self.transport.abort()
            return
        self._unwanted = True
        if self.shaking is not None:
            self.shaking.cancel()

    # ------------------------------------------------------------ for the transport

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._enter(Phase.HEAD)
        if self._unwanted:
            transport.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._table.left(self)

    def data_received(self, data: bytes) -> None:
        if self.phase is Phase.CLOSING:
            return
        self._may_be_long = self._head_bytes + len(data) > MOST_TARGET
        super().data_received(data)
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > MOST_HEAD and self._refusal is None:
                self._refusal = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
        if self._refusal is not None:
            if self._free():
                self._refuse(self._refusal)
            else:
                self.cut()

    def shutdown(self) -> None:
        super().shutdown()
        if self.transport.is_closing():
            # Over TLS it would wait for the client to say goodbye, too.
            self._enter(Phase.CLOSING)
            self.loop.call_later(_GOODBYE_S, self.cut)

    def handle_websocket_upgrade(self) -> None:
        self._enter(Phase.UPGRADED)
        super().handle_websocket_upgrade()

    # ------------------------------------------------------------ for the parser

    def on_message_begin(self) -> None:
        super().on_message_begin()
        if self.phase is Phase.IDLE:
            self._enter(Phase.HEAD)
        self._in_head, self._head_bytes = True, 0

    def on_headers_complete(self) -> None:
        self._in_head = False
        if not self._may_be_long:
            pass
        elif len(self.url) > MOST_TARGET:
            self._refusal = HTTPStatus.REQUEST_URI_TOO_LONG
        elif sum(len(name) + len(value) for name, value in self.headers) > MOST_HEAD:
            self._refusal = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
        if self._refusal is not None:
            return
        super().on_headers_complete()
        self._enter(Phase.ANSWERING if self.pipeline else Phase.BODY)

    def on_body(self, body: bytes) -> None:
        if self._refusal is None:
            super().on_body(body)

    def on_message_complete(self) -> None:
        if self._refusal is not None:
            return
        super().on_message_complete()
        if self.phase is Phase.LINGERING:
            self._enter(Phase.IDLE)
        elif self.phase is Phase.BODY:
            self._enter(Phase.ANSWERING)

    def on_response_complete(self) -> None:
        queued = bool(self.pipeline)
        super().on_response_complete()
        if queued:
            self._enter(Phase.BODY if self.cycle.more_body else Phase.ANSWERING)
        elif self.phase is Phase.ANSWERING:
            self._enter(Phase.HEAD if self._in_head else Phase.IDLE)
        elif self.phase is Phase.BODY:
            self._enter(Phase.LINGERING)

    # ------------------------------------------------------------ within

    def _enter(self, phase: Phase) -> None:
        self.phase = phase
        self.since_s = self._table.clock()

    def _free(self) -> bool:
        """Whether no answer is under way, which another one would break."""
        return self.cycle is None or self.cycle.response_complete

    def _refuse(self, status: HTTPStatus) -> None:
        self._enter(Phase.CLOSING)
        if not self.transport.is_closing():
            self.transport.write(answer_of(status))
            self.transport.close()


def _unsent(transport: asyncio.Transport) -> int:
    """Return the bytes of a transport that the client has not taken yet; 0 if all are sent.

    Those in the system's buffer count while there are others: it is so large that a slow reader
    seems to stand still without them.
    """
    waiting = transport.get_write_buffer_size()
    opened = transport.get_extra_info("socket") if waiting else None
    if opened is not None:
        queued = array.array("i", [0])
        with contextlib.suppress(OSError):
            fcntl.ioctl(opened.fileno(), termios.TIOCOUTQ, queued)
        waiting += queued[0]
    return waiting


def answer_of(status: HTTPStatus, sentence: str = "", headers: str = "") -> bytes:
    """Return a whole answer of HTTP/1.1 that ends its connection, in the API's envelope."""
    message = sentence or _SENTENCES.get(status, status.phrase)
    body = failure(ApiError(status.value, status.name.lower(), message))
    head = (
        f"HTTP/1.1 {status.value} {status.phrase}",
        "content-type: application/json",
        "cache-control: no-store",
        f"content-length: {len(body)}",
        f"{headers}connection: close",
    )
    return "\r\n".join(head).encode() + b"\r\n\r\n" + body


_SENTENCES: Final = {
    HTTPStatus.REQUEST_TIMEOUT: "expected a whole request, its headers did not end in time",
    HTTPStatus.REQUEST_URI_TOO_LONG: f"expected at most {MOST_TARGET} bytes of path and query",
    HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE: f"expected at most {MOST_HEAD} bytes of headers",
}
