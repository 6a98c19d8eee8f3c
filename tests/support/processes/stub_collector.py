"""A collector that answers what a test wants and notes what it was asked, when and how."""

import ssl
import threading
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Self

__all__ = ["Answer", "Asked", "StubCollector"]


@dataclass(frozen=True)
class Answer:
    """What to answer; trickle answers a byte a turn of that many seconds until the stub ends."""

    status: int = 202
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b'{"duplicate":false,"watchSeconds":0}'
    #: how often the body is sent, in one answer
    times: int = 1
    trickle_s: float = 0.0


@dataclass(frozen=True)
class Asked:
    """A request: when it had come whole (monotonic seconds), headers by lower-case name."""

    at: float
    method: str
    path: str
    headers: Mapping[str, str]
    body: bytes
    status: int


class StubCollector:
    """HTTP/1.1 on a port of its own, threads in the test's process.

    answer is called with the body of each request and the count of requests before it. With tls it
    speaks HTTPS.
    """

    def __init__(
        self, answer: Callable[[bytes, int], Answer], tls: ssl.SSLContext | None = None
    ) -> None:
        self.asked: list[Asked] = []
        self._lock = threading.Lock()
        self._ended = threading.Event()
        stub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def do_POST(self) -> None:
                self._serve()

            def do_GET(self) -> None:
                self._serve()

            def _serve(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", "0")))
                headers = {name.lower(): value for name, value in self.headers.items()}
                with stub._lock:
                    given = answer(body, len(stub.asked))
                    asked = (self.command, self.path, headers, body, given.status)
                    stub.asked.append(Asked(time.monotonic(), *asked))
                try:
                    self._send(given)
                except OSError:  # the sender had enough
                    self.close_connection = True

            def _send(self, given: Answer) -> None:
                length = 10**9 if given.trickle_s else len(given.body) * given.times
                self.send_response(given.status)
                for name, value in {"Content-Length": str(length), **given.headers}.items():
                    self.send_header(name, value)
                self.end_headers()
                for _ in range(given.times):
                    self.wfile.write(given.body)
                while given.trickle_s and not stub._ended.wait(given.trickle_s):
                    self.wfile.write(b" ")
                self.close_connection = bool(given.trickle_s)

            def log_message(self, *_: object) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.port = int(self._server.server_address[1])
        self.url = f"{'https' if tls else 'http'}://127.0.0.1:{self.port}"
        if tls is not None:
            self._server.socket = tls.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,))

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._ended.set()
        self._server.shutdown()
        self._thread.join(5)
        self._server.server_close()
