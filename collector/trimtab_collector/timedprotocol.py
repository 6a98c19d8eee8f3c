"""HTTP as uvicorn speaks it, with limits on headers, and with what it waits for and since when."""

import array
import asyncio
import contextlib
import fcntl
import termios
from http import HTTPStatus
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from trimtab_collector.connections import ConnectionTable, Patience, Phase
from trimtab_collector.contract.callers import VOUCH
from trimtab_collector.contract.errors import ApiError, failure

__all__ = ["MOST_HEAD", "MOST_TARGET", "TimedProtocol", "answer_of"]

#: bytes of a request line and its headers, and of the target in it
MOST_HEAD: Final = 32 * 1024
MOST_TARGET: Final = 8 * 1024
#: bytes that a client must take, or all of them, within the time after which it counts as stalled
_LEAST_TAKEN: Final = 16 * 1024
#: bytes of framing that a byte of a chunked body may have: one of a byte has five
_LOOSE: Final = 8
#: time for the last bytes of an idle connection when the collector stops
_GOODBYE_S: Final = 0.5


class TimedProtocol(HttpToolsProtocol):
    """uvicorn's protocol that knows since when it waits for its client, and bounds headers."""

    def __init__(self, table: ConnectionTable, **arguments: Any) -> None:
        super().__init__(**arguments)
        self._table = table
        #: the network it comes from, and who was found to speak on it; empty for nobody yet
        self.peer = self.caller = ""
        self.app_state = {**self.app_state, VOUCH: self._vouched}
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
        #: whether a request began in what was received last; bytes of its body, and of its body's
        #: framing and trailers
        self._begun = False
        self._body_bytes = self._loose_bytes = 0
        self._refusal: HTTPStatus | None = None
        #: requests of a client that did not wait for their answers before it sent the next
        self._ahead: list[RequestResponseCycle] = []
        #: how much was left to send when the client last made headway, and when that was
        self._unsent = (0, 0.0)

    # ------------------------------------------------------------ for the table

    @property
    def is_closing(self) -> bool:
        """Whether it is as good as closed."""
        return self.transport.is_closing()

    def is_overdue(self, now_s: float, patience: Patience) -> bool:
        """Tell whether the client has been waited for long enough."""
        if self.phase not in (Phase.SHAKING, Phase.UPGRADED):
            unsent = _unsent(self.transport)
            before = self._unsent[0]
            # More than before is progress, too: the app goes on only when the client has read.
            if not unsent or unsent > before or unsent <= before - _LEAST_TAKEN:
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
        for cycle in self._ahead:
            # Those of which uvicorn knows no more: they would write to what is closed.
            cycle.disconnected = True
            cycle.message_event.set()
        self._table.left(self)

    def data_received(self, data: bytes) -> None:
        if self.phase is Phase.CLOSING:
            return
        self._may_be_long = self._head_bytes + len(data) > MOST_TARGET
        was_in_head, self._begun, before = self._in_head, False, self._body_bytes
        super().data_received(data)
        if not was_in_head and not self._begun:
            # Sizes of chunks, what is said with them, and headers that follow the body.
            self._loose_bytes += len(data) - (self._body_bytes - before)
            if self._loose_bytes > MOST_HEAD + _LOOSE * self._body_bytes and self._refusal is None:
                self._refusal = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
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
        self._begun, self._body_bytes, self._loose_bytes = True, 0, 0

    def on_header(self, name: bytes, value: bytes) -> None:
        # Nobody asks for what follows the body, and it would be kept without a bound.
        if self._in_head:
            super().on_header(name, value)

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
        before = self.cycle
        super().on_headers_complete()
        if self.pipeline:
            self._ahead.append(before)
        elif self._ahead:
            self._ahead.clear()
        self._enter(Phase.ANSWERING if self.pipeline else Phase.BODY)

    def on_body(self, body: bytes) -> None:
        self._body_bytes += len(body)
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

    def _vouched(self, caller: str) -> None:
        self.caller = caller

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
