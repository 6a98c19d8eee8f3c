"""Takes the connections of listening sockets: with TLS or without, as many as there may be.

asyncio's own server knows of a connection only when its TLS handshake is over. This one knows it
from the start, so that a handshake that does not go on counts and ends like any other waiting.
"""

import asyncio
import errno
import functools
import logging
import socket
import ssl
from collections.abc import Callable
from http import HTTPStatus
from typing import Final

from trimtab_collector.connections import ConnectionTable, Phase
from trimtab_collector.timedprotocol import TimedProtocol, answer_of
from trimtab_core.addresses import network_of
from trimtab_core.logs import RateLimited

__all__ = ["Acceptor"]

logger = logging.getLogger("trimtab.connections")

#: no more descriptors or memory: it may have more in a moment
_SHORT: Final = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
_SHORT_S: Final = 0.1
#: time for a client's part in the end of TLS
_GOODBYE_S: Final = 2.0
#: connections taken in one turn of the loop
_BATCH: Final = 64
#: the first byte of every TLS connection (RFC 8446, 5.1)
_HANDSHAKE: Final = b"\x16"
_PLAIN: Final = answer_of(
    HTTPStatus.UPGRADE_REQUIRED,
    "this port speaks TLS: use https",
    "upgrade: TLS/1.2, HTTP/1.1\r\n",
)


class Acceptor:
    """Serves one listening socket, as asyncio's Server does for uvicorn; loop only."""

    def __init__(
        self,
        listener: socket.socket,
        made: Callable[[], TimedProtocol],
        table: ConnectionTable,
        context: ssl.SSLContext | None,
        handshake_s: float = 10.0,
    ) -> None:
        self._listener = listener
        self._made = made
        self._table = table
        self._context = context
        self._handshake_s = handshake_s
        self._log = RateLimited(logger)
        self._tasks: dict[asyncio.Task[None], TimedProtocol] = {}
        self._loop = asyncio.get_running_loop()
        self._pause: asyncio.TimerHandle | None = None
        self._loop.add_reader(listener, self._accept)

    def close(self) -> None:
        """Take no more connections; those that are open stay."""
        if self._pause is not None:
            self._pause.cancel()
        self._loop.remove_reader(self._listener)
        for protocol in self._tasks.values():
            if protocol.phase is Phase.SHAKING:
                protocol.cut()

    async def wait_closed(self) -> None:
        """Wait until nothing is left of what close ended."""
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def _accept(self) -> None:
        """Take what waits, but let others have their turn."""
        for _ in range(_BATCH):
            try:
                opened, address = self._listener.accept()
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno in _SHORT:
                    self._log.warning("accept", "cannot take a connection: %s", error.strerror)
                    self._table.make_room()
                    self._loop.remove_reader(self._listener)
                    self._pause = self._loop.call_later(_SHORT_S, self._resume)
                return
            opened.setblocking(False)
            protocol = self._made()
            protocol.peer = network_of(address[0]) if address else ""
            if not self._table.admit(protocol):
                opened.close()
                continue
            task = self._loop.create_task(self._take(opened, protocol))
            protocol.shaking = task if self._context is not None else None
            self._tasks[task] = protocol
            task.add_done_callback(functools.partial(self._taken, opened))

    def _taken(self, opened: socket.socket, task: asyncio.Task[None]) -> None:
        protocol = self._tasks.pop(task)
        # Here, since a task that is cancelled before its first turn does nothing by itself.
        error = None if task.cancelled() else task.exception()
        if task.cancelled() or error is not None:
            opened.close()
            self._table.left(protocol)
        if error is not None:
            self._table.failed_handshakes += self._context is not None
            self._log.warning("handshake", "no connection was made: %s", error)

    def _resume(self) -> None:
        self._pause = None
        self._loop.add_reader(self._listener, self._accept)

    async def _take(self, opened: socket.socket, protocol: TimedProtocol) -> None:
        if opened.family != socket.AF_UNIX:
            opened.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if self._context is None:
            await self._loop.connect_accepted_socket(lambda: protocol, opened)
            return
        if await _first_byte(opened) != _HANDSHAKE:
            await _say_plainly(opened)
            raise ConnectionError("its first byte is none of TLS")
        await self._loop.connect_accepted_socket(
            lambda: protocol,
            opened,
            ssl=self._context,
            ssl_handshake_timeout=self._handshake_s,
            ssl_shutdown_timeout=_GOODBYE_S,
        )


async def _first_byte(opened: socket.socket) -> bytes:
    """Return the first byte that a client sends, and leave it there; empty when it left."""
    loop = asyncio.get_running_loop()
    readable = loop.create_future()

    def arrived() -> None:
        if not readable.done():
            readable.set_result(None)

    loop.add_reader(opened, arrived)
    try:
        await readable
    finally:
        loop.remove_reader(opened)
    return opened.recv(1, socket.MSG_PEEK)


async def _say_plainly(opened: socket.socket) -> None:
    """Tell a client without TLS what is wrong; what it sent is read, else it would be reset."""
    loop = asyncio.get_running_loop()
    await loop.sock_recv(opened, 65536)
    await loop.sock_sendall(opened, _PLAIN)
