"""A reverse proxy that changes the heads of requests, as careless ones do; threads of the test."""

import socket
import threading
from contextlib import suppress
from types import TracebackType
from typing import Self

__all__ = ["HeadProxy"]

_HEAD_BYTES = 65_536


class HeadProxy:
    """Passes requests on to a port, one per connection; WebSockets as well, unless told.

    With `host` it names that one instead of the Host that the browser asked for; without `upgrades`
    it drops the header that asks for a WebSocket. Of paths below `without` it knows nothing.
    """

    def __init__(
        self, target_port: int, *, host: str = "", upgrades: bool = True, without: str = ""
    ) -> None:
        self._target_port = target_port
        self._host = host
        self._upgrades = upgrades
        self._without = without
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._open: set[socket.socket] = set()

    def __enter__(self) -> Self:
        threading.Thread(target=self._accept, daemon=True).start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        # A thread that waits in accept is woken by that alone.
        with suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for each in list(self._open):
            with suppress(OSError):
                each.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        data = b""
        with client, suppress(OSError):
            self._open.add(client)
            while b"\r\n\r\n" not in data:
                piece = client.recv(_HEAD_BYTES)
                if not piece or len(data) > _HEAD_BYTES:
                    return
                data += piece
            head, _, body = data.partition(b"\r\n\r\n")
            if self._without and head.split(b" ")[1].startswith(self._without.encode()):
                client.sendall(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")
                return
            with socket.create_connection(("127.0.0.1", self._target_port)) as target:
                self._open.add(target)
                target.sendall(self._changed(head) + body)
                back = threading.Thread(target=_pour, args=(target, client), daemon=True)
                back.start()
                _pour(client, target)
                back.join()
                self._open.discard(target)
        self._open.discard(client)

    def _changed(self, head: bytes) -> bytes:
        """Return a head as it is passed on, with its end."""
        first, *lines = head.decode("latin-1").split("\r\n")
        headers = [(name, text) for name, _, text in (line.partition(":") for line in lines)]
        asks = self._upgrades and any(name.lower() == "upgrade" for name, _ in headers)
        dropped = {"host"} if self._host else set()
        if not asks:
            dropped |= {"upgrade", "connection"}
        kept = [f"{name}:{text}" for name, text in headers if name.lower() not in dropped]
        if self._host:
            kept.append(f"Host: {self._host}")
        if not asks:
            kept.append("Connection: close")
        return "\r\n".join([first, *kept, "", ""]).encode("latin-1")


def _pour(source: socket.socket, sink: socket.socket) -> None:
    """Pass on until one of the two is closed."""
    with suppress(OSError):
        while piece := source.recv(65_536):
            sink.sendall(piece)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)
