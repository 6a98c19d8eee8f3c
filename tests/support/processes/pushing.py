"""A Pushgateway of the standard library, which reads pushes with Prometheus's own parser."""

import base64
import threading
import urllib.parse
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from prometheus_client.parser import text_string_to_metric_families

from support.processes.servers import free_port

__all__ = ["Pushgateway", "serving"]


class Pushgateway(ThreadingHTTPServer):
    """Keeps groups as the real one does: PUT replaces one, what Prometheus cannot read is a 400."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", free_port()), _Handler)
        self.groups: dict[tuple[tuple[str, str], ...], dict[tuple[str, ...], float]] = {}
        self.pushes = 0
        self.headers: list[dict[str, str]] = []
        self.answer = 200

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    server: Pushgateway

    def do_PUT(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"])).decode()
        self.server.headers.append(dict(self.headers))
        try:
            found = {
                (sample.name, *sample.labels.values()): float(sample.value)
                for family in text_string_to_metric_families(body)
                for sample in family.samples
            }
        except ValueError as error:
            self.send_error(400, str(error))
            return
        if self.server.answer == 200:
            self.server.groups[group_of(self.path)] = found
        self.server.pushes += 1
        self.send_response(self.server.answer)
        self.end_headers()
        if self.server.answer != 200:
            self.wfile.write(b"not today")

    def do_DELETE(self) -> None:
        self.server.groups.pop(group_of(self.path), None)
        self.send_response(202)
        self.end_headers()

    def log_message(self, *_: object) -> None: ...


def group_of(path: str) -> tuple[tuple[str, str], ...]:
    """Return the labels of a path, read as the Pushgateway's documentation says."""
    _, metrics, *parts = path.split("/")
    assert metrics == "metrics"
    assert not {"", ".", ".."} & set(parts), "what servers and proxies clean away"
    pairs = []
    for label, value in zip(parts[::2], parts[1::2], strict=True):
        if label.endswith("@base64"):
            padded = value.rstrip("=") + "=" * (-len(value.rstrip("=")) % 4)
            text = base64.urlsafe_b64decode(padded).decode()
        else:
            text = urllib.parse.unquote(value)
        pairs.append((label.removesuffix("@base64"), text))
    return tuple(pairs)


@contextmanager
def serving() -> Iterator[Pushgateway]:
    server = Pushgateway()
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join(10)
