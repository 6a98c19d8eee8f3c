"""WebSockets as the collector's server runs them: small messages, no compressor, an end that works.

Closing a WebSocket waits until everything is sent, which a client that does not read prevents. So
each connection hands the app an end without a farewell.
"""

import asyncio
import logging
from typing import Any, Final

from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

__all__ = ["WEBSOCKETS", "QuietWebSockets"]

#: bytes of one message
_MESSAGE_BYTES: Final = 64 * 1024
#: bytes that a client may send within so many seconds: what is below messages, as pings and empty
#: fragments are, costs the loop as much as messages do
_BYTES: Final = 2 * _MESSAGE_BYTES
_WITHIN_S: Final = 10.0
#: how long a farewell may take
_FAREWELL_S: Final = 1.0


class CutWebSocket(WebSocketsSansIOProtocol):
    """A WebSocket that bounds what a client pours, with its end in the state of its scope.

    `trimtab.cut` ends the connection at once.
    """

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Note the transport that can be cut."""
        super().connection_made(transport)
        self._cut = getattr(transport, "abort", transport.close)
        self.app_state = {**self.app_state, "trimtab.cut": self._cut}
        self._since_s, self._received = self.loop.time(), 0

    def data_received(self, data: bytes) -> None:
        """Read what came, or end the connection of a client that pours."""
        now_s = self.loop.time()
        if now_s - self._since_s >= _WITHIN_S:
            self._since_s, self._received = now_s, 0
        self._received += len(data)
        if self._received > _BYTES:
            self._cut()
            return
        super().data_received(data)

    def shutdown(self) -> None:
        """Say farewell when the server stops, and wait a moment for it to be taken."""
        super().shutdown()
        # TLS waits half a minute for the other side to agree to the end.
        self.loop.call_later(_FAREWELL_S, self._cut)


#: what uvicorn is told of WebSockets; the protocol above them has pings of its own, and a
#: compressor takes memory for each client
WEBSOCKETS: Final[dict[str, Any]] = {
    "ws": CutWebSocket,
    "ws_max_size": _MESSAGE_BYTES,
    "ws_ping_interval": None,
    "ws_per_message_deflate": False,
}


class QuietWebSockets(logging.Filter):
    """For the log `uvicorn.error`: leaves out the lines about each WebSocket.

    Below info they are every header and every message, with the tokens in them.
    """

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether a line is about something else."""
        about = ('%s - "WebSocket', "connection ")
        return record.levelno >= logging.INFO and not str(record.msg).startswith(about)
