"""A TCP link that a test can slow down, cut, hang or fold double; threads in the test's process.

It knows just enough of HTTP/1.1 to tell a request that brings a batch (POST, with Content-Length,
no pipelining) from a poll (GET): cuts and replays are for batches, the rest hits every byte.
"""

import http.client
import select
import socket
import struct
import threading
import time
from types import TracebackType
from typing import Final, Self

from support.processes.servers import free_port

__all__ = ["LinkProxy"]

_TURN_S: Final = 0.05


class _Lane:
    """One direction of the link, shared by all connections: bytes a second and bytes a piece."""

    def __init__(self) -> None:
        #: None for as fast as it goes
        self.rate: float | None = None
        self.chunk = 65536
        self._lock = threading.Lock()
        self._free_at = 0.0

    def pass_on(self, data: bytes, to: socket.socket, stopped: threading.Event) -> None:
        """Send data in pieces, each when its turn on the link has come."""
        while data and not stopped.is_set():
            piece, data = data[: self.chunk], data[self.chunk :]
            if (rate := self.rate) is not None:
                with self._lock:
                    now = time.monotonic()
                    self._free_at = min(max(now, self._free_at), now + 5) + len(piece) / rate
                    until = self._free_at
                while self.rate is not None and (left := until - time.monotonic()) > 0:
                    if stopped.wait(min(left, _TURN_S)):
                        return
            to.sendall(piece)


class LinkProxy:
    """Listens on a port of its own and passes on to another; every attribute may change while it
    runs. The counts tell what it has done so far.
    """

    def __init__(self, target_port: int) -> None:
        self.target_port = target_port
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        #: to the target, and back
        self.up, self.down = _Lane(), _Lane()
        #: batches that are passed on whole while their answer meets a reset connection
        self.cut_answers = 0
        #: batches that are answered between two cuts
        self.spared = 0
        #: batches of which only a part is passed on before the connection is reset
        self.cut_requests = 0
        #: hold every byte, also of new connections, and tell nobody
        self.blackhole = False
        #: pass on each batch twice, on connections of their own; the second answer goes back
        self.replay = False
        self.answers_cut = self.requests_cut = self.replayed = self.connections = 0
        self._since_cut = 0
        self._lock = threading.Lock()
        self._stopped = threading.Event()
        self._threads: list[threading.Thread] = []
        self._listener: socket.socket | None = None

    def listen(self) -> None:
        """Take connections, for the first time or again after `refuse`."""
        listener = socket.create_server(("127.0.0.1", self.port), backlog=64)
        listener.settimeout(_TURN_S)
        self._listener = listener
        self._run(self._accept, listener)

    def refuse(self) -> None:
        """Refuse new connections from now on, and reset those that stand."""
        listener, self._listener = self._listener, None
        if listener is not None:
            listener.close()

    def __enter__(self) -> Self:
        self.listen()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopped.set()
        self.refuse()
        for thread in self._threads:
            thread.join(5)
            assert not thread.is_alive(), "a thread of the link did not end"

    def _run(self, function: object, *arguments: object) -> None:
        assert callable(function)
        thread = threading.Thread(target=function, args=arguments, daemon=True)
        self._threads = [each for each in self._threads if each.is_alive()] + [thread]
        thread.start()

    def _accept(self, listener: socket.socket) -> None:
        while listener is self._listener:
            try:
                client, _ = listener.accept()
            except TimeoutError:
                continue
            except OSError:
                return
            self.connections += 1
            self._run(self._connection, client)

    def _connection(self, client: socket.socket) -> None:
        client.settimeout(20)
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with client:
            try:
                with socket.create_connection(("127.0.0.1", self.target_port), 5) as server:
                    self._pump(client, server)
            except (OSError, http.client.HTTPException):
                _reset(client)

    def _pump(self, client: socket.socket, server: socket.socket) -> None:
        """Pass on in both directions until one side ends."""
        request = b""
        while not self._stopped.is_set():
            if self._listener is None:
                _reset(client)
                return
            if self.blackhole:
                self._stopped.wait(_TURN_S)
                continue
            readable, _, _ = select.select([client, server], [], [], _TURN_S)
            if self.blackhole:
                continue
            if server in readable:
                data = server.recv(65536)
                if not data:
                    return
                if request.startswith(b"POST "):
                    self._since_cut += 1
                    if self._since_cut > self.spared and self._take("cut_answers", "answers_cut"):
                        self._since_cut = 0
                        _reset(client)
                        return
                request = b""
                self.down.pass_on(data, client, self._stopped)
            if client in readable:
                data = client.recv(65536)
                if not data:
                    return
                if data.startswith((b"POST ", b"GET ")):
                    request = b""
                request += data
                is_batch = request.startswith(b"POST ")
                if is_batch and self.replay:
                    self._twice(_whole(request, client), client)
                    continue
                _, _, body = request.partition(b"\r\n\r\n")
                if is_batch and body and self._take("cut_requests", "requests_cut"):
                    self.up.pass_on(data[:-1], server, self._stopped)
                    _reset(client)
                    _reset(server)
                    return
                self.up.pass_on(data, server, self._stopped)

    def _take(self, wanted: str, done: str) -> bool:
        with self._lock:
            if getattr(self, wanted) <= 0:
                return False
            setattr(self, wanted, getattr(self, wanted) - 1)
            setattr(self, done, getattr(self, done) + 1)
            return True

    def _twice(self, request: bytes, client: socket.socket) -> None:
        for _ in range(2):
            with socket.create_connection(("127.0.0.1", self.target_port), 5) as server:
                server.settimeout(20)
                server.sendall(request)
                with http.client.HTTPResponse(server) as answer:
                    answer.begin()
                    body = answer.read()
                    head = [f"HTTP/1.1 {answer.status} {answer.reason}"]
                    head += [f"{name}: {value}" for name, value in answer.getheaders()]
        with self._lock:
            self.replayed += 1
        client.sendall("\r\n".join([*head, "", ""]).encode("latin-1") + body)


def _whole(request: bytes, client: socket.socket) -> bytes:
    """Return a request that has begun with the rest of its head and body."""
    while b"\r\n\r\n" not in request:
        request += client.recv(65536)
    head, _, body = request.partition(b"\r\n\r\n")
    (length,) = [
        int(line.split(b":")[1])
        for line in head.split(b"\r\n")
        if line.lower().startswith(b"content-length:")
    ]
    while len(body) < length:
        more = client.recv(65536)
        if not more:
            raise ConnectionResetError("the request ended in its body")
        body += more
    return head + b"\r\n\r\n" + body


def _reset(end: socket.socket) -> None:
    """End a connection by a reset: nothing that was sent on it is sure to arrive."""
    end.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    end.close()
